#pragma once

#include "eplb/clock.hpp"
#include "eplb/rate.hpp"

#include <algorithm>
#include <atomic>

namespace eplb {

/// The arithmetic of GCRA, the generic cell rate algorithm (ITU-T I.371): a leaky bucket whose
/// state is one point in time, `due`. Whoever takes pays with an interval of time, at most a
/// burst's worth ahead of the clock; `due` is how far they have paid. A plain value.
///
/// Of what is taken at moments at most W apart, first and last included, there is never more than
/// count + W / interval, rounded down, where interval is period / count, rounded up to the
/// nanosecond. Whoever asks often enough gets all of that. Threads that share a `due` may have
/// clocks that differ, by what a turn of a reactor takes: that adds to W.
class Pace {
public:
    /// `due` of who has not taken anything.
    static constexpr TimePoint never = TimePoint::min();
    /// More than the clocks of two threads differ by.
    static constexpr Duration max_lag = std::chrono::seconds{1};

    /// No limit.
    Pace() noexcept = default;
    /// What is faster than one a nanosecond is taken for that.
    explicit Pace(const Rate& rate) noexcept;
    Pace(Duration interval, Duration burst) noexcept : interval_{interval}, burst_{burst} {}

    [[nodiscard]] bool unlimited() const noexcept { return interval_ == Duration{0}; }
    [[nodiscard]] Duration interval() const noexcept { return interval_; }
    /// interval x count
    [[nodiscard]] Duration burst() const noexcept { return burst_; }

    /// Takes one, or says that it is too early. That costs nothing: whoever tries without pause
    /// gets the rate, no less.
    [[nodiscard]] bool take(TimePoint& due, TimePoint now) const noexcept {
        due = forgiven(due, now);
        const TimePoint start = std::max(due, now);
        if (start + interval_ > now + burst_) return false;
        due = start + interval_;
        return true;
    }

    /// `due` without a debt that this pace cannot have caused: it is of a slower one, from before a
    /// change of configuration, and could lock somebody out for its period. Within max_lag of what
    /// it can have caused, it stays: were a thread that is behind to cut the debt, one that is
    /// ahead could take the difference, again and again.
    [[nodiscard]] TimePoint forgiven(TimePoint due, TimePoint now) const noexcept {
        return due > now + burst_ + max_lag ? now + burst_ : due;
    }

    /// From when on take() succeeds, if nobody else takes; not before `now`.
    [[nodiscard]] TimePoint next_free(TimePoint due, TimePoint now) const noexcept {
        return std::max(now, std::max(forgiven(due, now), now) + interval_ - burst_);
    }

private:
    Duration interval_{0};
    Duration burst_{0};
};

/// Lets things happen at a rate, whoever does them: any thread may call anything. Taking is one
/// atomic operation, on a cache line that all share.
class RateLimiter {
public:
    explicit RateLimiter(const Rate& rate = {}) noexcept { set_rate(rate); }

    /// Whether it may happen now. If so, it is counted.
    [[nodiscard]] bool try_take(TimePoint now) noexcept;

    /// What was taken last did not happen.
    void give_back() noexcept;

    /// From when on try_take() succeeds, if nobody else takes before; `now` if it would at once.
    [[nodiscard]] TimePoint next_free(TimePoint now) const noexcept {
        return pace().next_free(due_.load(std::memory_order_relaxed), now);
    }

    /// Another rate from now on. What was taken under the old one counts for at most a period of
    /// the new one, and a second. A call that overlaps with this may get its answer from a mixture
    /// of the two.
    void set_rate(const Rate& rate) noexcept;

private:
    [[nodiscard]] Pace pace() const noexcept {
        return {interval_.load(std::memory_order_relaxed), burst_.load(std::memory_order_relaxed)};
    }

    // Nothing is guarded by these numbers, so there is no order to keep.
    std::atomic<TimePoint> due_{Pace::never};
    std::atomic<Duration> interval_{Duration{0}};
    std::atomic<Duration> burst_{Duration{0}};
};

}  // namespace eplb
