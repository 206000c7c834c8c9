// reactor: tasks at a time.
#pragma once

#include "eplb/clock.hpp"
#include "eplb/export.hpp"
#include "eplb/list_hook.hpp"

#include <cstdint>

namespace eplb {

class Reactor;
class Task;
class TimerWheel;

/// Runs a task at a time. Never early by the reactor's now(), which stands still while a turn lasts:
/// what is started late in a long turn has that much less time. Late by less than two milliseconds
/// (deadlines and waits are both rounded up to whole ones) plus the turn in progress. What is due when
/// it is started is not rounded: it fires in the next turn.
/// Starting and cancelling are O(1), so one timer may be moved for every event of a connection;
/// cheaper still is to let it fire and start it again with what remains.
///
/// Belongs to the thread of its reactor, which outlives it.
class EPLB_API Timer : public ListHook<Timer> {
public:
    /// Runs `task`, which outlives it. Not started yet.
    Timer(Reactor& reactor, Task& task) noexcept : reactor_{reactor}, task_{task} {}
    ~Timer() { cancel(); }

    /// (Re)starts: fires once, `delay` from the reactor's now(). A delay of zero or less fires in
    /// the next turn.
    void start(Duration delay) noexcept;
    /// (Re)starts: fires once, at `deadline`; in the next turn if that is not after the reactor's
    /// now().
    void start_at(TimePoint deadline) noexcept;
    /// Stops it, and forgets that it fired.
    void cancel() noexcept;

    /// Started, and neither fired nor cancelled.
    [[nodiscard]] bool armed() const noexcept { return linked(); }
    /// Whether it fired since the last call or start.
    [[nodiscard]] bool take_fired() noexcept {
        const bool fired = fired_;
        fired_ = false;
        return fired;
    }

private:
    friend class Reactor;
    friend class TimerWheel;

    Reactor& reactor_;
    Task& task_;
    std::uint64_t tick_ = 0;  // when, in the wheel's milliseconds
    std::uint8_t level_ = 0;  // where it is in the wheel
    std::uint8_t slot_ = 0;
    bool fired_ = false;
};

}  // namespace eplb
