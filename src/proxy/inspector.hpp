#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "proxy/session_lists.hpp"
#include "proxy/worker_catalog.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace eplb {

class Reactor;

/// Looks at every settled session of a worker, again and again, a few a turn: whether its peers are
/// gone, how long its backend takes, and whether it is one to be moved.
///
/// Belongs to the thread of its reactor, which outlives it, as do the sessions' lists and the catalog.
class Inspector final : public Task {
public:
    Inspector(Reactor& reactor, SessionLists& sessions, WorkerCatalog& catalog) noexcept
        : reactor_{reactor}, sessions_{sessions}, catalog_{catalog}, timer_{reactor, *this} {}

    /// From the beginning of a round to that of the next, at least. Zero: not at all.
    void set_interval(Duration interval) noexcept;
    /// How many workers the proxy has.
    void set_workers(std::size_t count) noexcept { workers_ = std::max(count, std::size_t{1}); }
    /// A session has settled.
    void expect_a_session() noexcept {
        if (interval_ > Duration{0} && !timer_.armed()) timer_.start(interval_);
    }

    Next run() noexcept override;

private:
    Reactor& reactor_;
    SessionLists& sessions_;
    WorkerCatalog& catalog_;
    Timer timer_;
    Duration interval_{0};
    std::size_t workers_ = 1;
    std::uint8_t round_ = 1;
    bool in_round_ = false;
};

}  // namespace eplb
