#include "reactor/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace eplb {
namespace {

constexpr std::uint64_t tick_ns = 1'000'000;
constexpr std::uint8_t due_level = 0xff;

std::uint64_t nanoseconds(TimePoint time) noexcept {
    const auto count = time.time_since_epoch().count();
    return count > 0 ? static_cast<std::uint64_t>(count) : 0;
}

}  // namespace

std::uint64_t TimerWheel::floor_tick(TimePoint time) noexcept {
    return nanoseconds(time) / tick_ns;
}

// A timer is never early by the clock of the reactor, so its deadline is rounded up and the time of day down.
std::uint64_t TimerWheel::ceil_tick(TimePoint time) noexcept {
    return (nanoseconds(time) + tick_ns - 1) / tick_ns;
}

void TimerWheel::insert(Timer& timer, TimePoint deadline) noexcept {
    timer.tick_ = ceil_tick(deadline);
    place(timer);
}

// It cannot be early any more. Rounded up, it could be in a tick to come, and next() would have the
// reactor sleep until then.
void TimerWheel::insert_due(Timer& timer, TimePoint deadline) noexcept {
    timer.tick_ = floor_tick(deadline);
    place(timer);
}

void TimerWheel::place(Timer& timer) noexcept {
    if (timer.tick_ <= tick_) {
        timer.level_ = due_level;
        due_.push_back(timer);
        return;
    }
    const auto highest_bit = static_cast<unsigned>(std::bit_width(timer.tick_ ^ tick_)) - 1;
    const unsigned level = highest_bit / digit_bits;
    const std::uint64_t digits = timer.tick_ >> (level * digit_bits);
    const unsigned slot = digits % slots;
    timer.level_ = static_cast<std::uint8_t>(level);
    timer.slot_ = static_cast<std::uint8_t>(slot);
    levels_[level].slot[slot].push_back(timer);
    levels_[level].occupied |= std::uint64_t{1} << slot;
    not_before_ = std::min(not_before_, digits << (level * digit_bits));
}

void TimerWheel::remove(Timer& timer) noexcept {
    timer.unlink();
    if (timer.level_ == due_level) return;
    Level& level = levels_[timer.level_];
    if (level.slot[timer.slot_].empty()) level.occupied &= ~(std::uint64_t{1} << timer.slot_);
}

bool TimerWheel::has_due(TimePoint now) noexcept {
    const std::uint64_t target = floor_tick(now);
    if (due_.empty() && target < not_before_) return false;
    while (due_.empty()) {
        const std::optional<std::uint64_t> next = next_tick();
        if (!next || *next > target) {
            if (target > tick_) tick_ = target;
            not_before_ = next.value_or(UINT64_MAX);
            return false;
        }
        turn_to(*next);
    }
    return true;
}

// The digit of every timer on a level is greater than the current tick's, so the first occupied
// slot of the lowest occupied level is the next one.
std::optional<std::uint64_t> TimerWheel::next_tick() const noexcept {
    for (unsigned level = 0; level < levels; ++level) {
        if (levels_[level].occupied == 0) continue;
        const auto slot = static_cast<std::uint64_t>(std::countr_zero(levels_[level].occupied));
        const unsigned shift = level * digit_bits;
        // The current tick with this digit replaced and the lower ones zero. The top level's digit
        // has only 4 bits, so shift + digit_bits would run off the end of the type there.
        const std::uint64_t higher =
            level + 1 < levels ? tick_ >> (shift + digit_bits) << (shift + digit_bits) : 0;
        return higher | slot << shift;
    }
    return std::nullopt;
}

void TimerWheel::turn_to(std::uint64_t tick) noexcept {
    tick_ = tick;
    for (Level& level : levels_) {
        if (level.occupied == 0) continue;
        const auto slot = static_cast<unsigned>(std::countr_zero(level.occupied));
        level.occupied &= level.occupied - 1;
        IntrusiveList<Timer> moving;
        moving.splice_back(level.slot[slot]);
        while (!moving.empty()) place(moving.pop_front());
        return;
    }
}

std::optional<TimePoint> TimerWheel::next() const noexcept {
    std::optional<std::uint64_t> tick = next_tick();
    if (!due_.empty()) tick = tick_;
    if (!tick) return std::nullopt;
    constexpr auto last = static_cast<std::uint64_t>(TimePoint::max().time_since_epoch().count());
    if (*tick > last / tick_ns) return TimePoint::max();
    return TimePoint{Duration{static_cast<Duration::rep>(*tick * tick_ns)}};
}

}  // namespace eplb
