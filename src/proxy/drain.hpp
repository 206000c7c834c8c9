#pragma once

#include "eplb/clock.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <cstddef>
#include <functional>

namespace eplb {

class Reactor;

/// Waits for the sessions to end, tells how many are left while it does, and resets them when time
/// is up.
class Drain final : public Task {
public:
    struct Hooks {
        std::function<std::size_t()> sessions_left;
        std::function<void()> reset_sessions;
        /// Called once, in a turn of its own; may destroy the drain, and may throw.
        std::function<void(std::size_t reset_sessions)> on_drained;
    };

    /// `deadline`: TimePoint::max() for never.
    Drain(Reactor& reactor, ProxyObserver& observer, TimePoint deadline, Hooks hooks);

    void on_session_gone() noexcept;

    Next run() override;
    void retire() override;

private:
    void tell(std::size_t left) noexcept;
    void tell_reset(std::size_t left) noexcept;

    Reactor& reactor_;
    ProxyObserver& observer_;
    Hooks hooks_;
    TimePoint deadline_;
    Timer timeout_;
    Timer message_;
    std::size_t reset_ = 0;
};

}  // namespace eplb
