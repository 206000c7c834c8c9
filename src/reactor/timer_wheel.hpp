#pragma once

#include "eplb/clock.hpp"
#include "eplb/list_hook.hpp"
#include "eplb/timer.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace eplb {

/// A hierarchical timing wheel with a resolution of a millisecond: insert, remove and expire are
/// O(1), and so is finding the next one, whatever the number of timers.
///
/// A tick is a number of 11 digits in base 64. A timer hangs at the highest digit in which it
/// differs from the current tick; when the wheel turns to that digit, the timer moves down to the
/// next one that differs. So whatever hangs on a lower level is due before anything on a higher
/// one, and nothing ever wraps.
class TimerWheel {
public:
    explicit TimerWheel(TimePoint start) noexcept : tick_{floor_tick(start)} {}

    /// `timer` must not be in a wheel.
    void insert(Timer& timer, TimePoint deadline) noexcept;
    /// As insert(), for a deadline that is over: the next advance() to that time or a later one takes
    /// it out, though the millisecond is not over.
    void insert_due(Timer& timer, TimePoint deadline) noexcept;
    /// `timer` must be in this wheel.
    void remove(Timer& timer) noexcept;

    /// Whether advance() would take any out. If not, it has nothing to do any more. Asked in every turn:
    /// a few instructions while the next timer is far.
    [[nodiscard]] bool has_due(TimePoint now) noexcept;

    /// Takes out every timer that is due at `now` and calls `expired(timer)`, earliest millisecond
    /// first. The callback may insert and remove timers.
    template <class Callback>
    void advance(TimePoint now, Callback expired);

    /// When advance() has something to do next: never after the earliest deadline (rounded up to
    /// the millisecond), but it may be before, to move timers down a level.
    [[nodiscard]] std::optional<TimePoint> next() const noexcept;

private:
    static constexpr unsigned digit_bits = 6;
    static constexpr unsigned slots = 1U << digit_bits;
    static constexpr unsigned levels = 11;  // 66 bits: every tick there is

    struct Level {
        std::uint64_t occupied = 0;  // bit n: slot n is not empty
        std::array<IntrusiveList<Timer>, slots> slot;
    };

    [[nodiscard]] static std::uint64_t floor_tick(TimePoint time) noexcept;
    [[nodiscard]] static std::uint64_t ceil_tick(TimePoint time) noexcept;
    [[nodiscard]] std::optional<std::uint64_t> next_tick() const noexcept;
    void place(Timer& timer) noexcept;
    void turn_to(std::uint64_t tick) noexcept;

    std::uint64_t tick_;
    // No slot of a level has its turn before: at most next_tick(), and less once timers were removed.
    std::uint64_t not_before_ = 0;
    IntrusiveList<Timer> due_;
    std::array<Level, levels> levels_;
};

template <class Callback>
void TimerWheel::advance(TimePoint now, Callback expired) {
    const std::uint64_t target = floor_tick(now);
    for (;;) {
        while (!due_.empty()) expired(due_.pop_front());
        const std::optional<std::uint64_t> next = next_tick();
        if (!next || *next > target) break;
        turn_to(*next);
    }
    if (target > tick_) tick_ = target;
}

}  // namespace eplb
