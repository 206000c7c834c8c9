#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "proxy/inspector.hpp"
#include "proxy/session_lists.hpp"

#include <chrono>

namespace eplb {

class Reactor;

/// Lets young sessions settle, a second after they began, in the order in which they did: what a
/// short one does not need is done then, a few of them a turn.
///
/// Belongs to the thread of its reactor, which outlives it, as do the sessions' lists and the inspector.
class Settler final : public Task {
public:
    static constexpr Duration settling_age = std::chrono::seconds{1};

    /// `inspector` is told of whom there is to look at.
    Settler(Reactor& reactor, SessionLists& sessions, Inspector& inspector) noexcept
        : sessions_{sessions}, inspector_{inspector}, timer_{reactor, *this} {}

    /// There is a young one.
    void expect_a_session() noexcept {
        if (!timer_.armed()) timer_.start(settling_age);
    }

    Next run() noexcept override;

private:
    SessionLists& sessions_;
    Inspector& inspector_;
    Timer timer_;
};

}  // namespace eplb
