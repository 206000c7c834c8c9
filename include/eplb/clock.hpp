// base: time, and where it comes from.
#pragma once

#include "eplb/export.hpp"

#include <chrono>

namespace eplb {

/// All of eplb's time is monotonic, in 64-bit nanoseconds: it cannot wrap in a lifetime and does
/// not jump when an operator sets the date.
using Duration = std::chrono::nanoseconds;
/// A moment of a Clock. Where it counts from says nothing: only differences do.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// Where a Reactor reads the time, for its tasks once per turn. Tests pass a ManualClock instead.
class EPLB_API Clock {
public:
    virtual ~Clock() = default;
    /// Never less than before.
    [[nodiscard]] virtual TimePoint now() const noexcept = 0;
};

/// CLOCK_MONOTONIC, clock_gettime(2).
class EPLB_API MonotonicClock final : public Clock {
public:
    [[nodiscard]] TimePoint now() const noexcept override {
        return std::chrono::steady_clock::now();
    }
    /// The one that a Reactor uses unless told otherwise. Stateless, so sharing it is harmless.
    [[nodiscard]] static MonotonicClock& instance() noexcept;
};

/// Stands still until it is told to advance.
class EPLB_API ManualClock final : public Clock {
public:
    /// Any start will do.
    explicit ManualClock(TimePoint start = TimePoint{std::chrono::hours{1}}) noexcept
        : now_{start} {}
    [[nodiscard]] TimePoint now() const noexcept override { return now_; }
    /// A turn in progress does not see it. Reactors wait in real time all the same: let tests call
    /// Reactor::run_once() with a wait of zero.
    void advance(Duration by) noexcept { now_ += by; }

private:
    TimePoint now_;
};

}  // namespace eplb
