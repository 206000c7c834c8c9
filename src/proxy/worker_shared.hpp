#pragma once

#include "eplb/descriptor_budget.hpp"
#include "eplb/proxy.hpp"
#include "proxy/shortage_report.hpp"

#include <functional>
#include <string>

namespace eplb {

/// What the workers of a proxy share, and what they tell it. All of it may be used by any thread, and
/// outlives the workers.
struct WorkerShared {
    ProxyObserver& observer;
    DescriptorBudget& budget;
    ShortageReport& shortages;
    /// Told the errno when splice(2) is refused.
    std::function<void(int error)> on_splice_refused;
    /// A session ended, on the calling worker's thread.
    std::function<void()> on_session_gone;
    /// The answer to Ears::Wish::look_at_sessions, on the called worker's thread.
    std::function<void()> on_sessions_gone;
    /// The answer to Ears::Wish::look_at_answers: those of workers to a rollout.
    std::function<void()> on_answers;
    /// Clients could not connect to a backend, as many in a row as its service allows; or one
    /// could, after others had not. On the calling worker's thread.
    std::function<void(const Backend&)> on_backend_failing;
    std::function<void(const Backend&)> on_backend_answering;
    /// What could not be done on a listener that stays, for people.
    std::function<void(const std::string&)> on_listener_trouble;
    /// Descriptors that sessions need are in pipes, maybe idle ones of other workers.
    std::function<void()> on_pipes_in_the_way;
};

}  // namespace eplb
