#pragma once

#include "eplb/clock.hpp"

namespace eplb {

/// The sum, or what is nearest to it: the longest durations, which say "never", stay so. As cheap as
/// the sum.
[[nodiscard]] constexpr Duration saturating_add(Duration a, Duration b) noexcept {
    Duration::rep sum = 0;
    if (!__builtin_add_overflow(a.count(), b.count(), &sum)) return Duration{sum};
    return b > Duration{0} ? Duration::max() : Duration::min();
}

/// TimePoint::max() for what is never over.
[[nodiscard]] constexpr TimePoint saturating_add(TimePoint from, Duration by) noexcept {
    return TimePoint{saturating_add(from.time_since_epoch(), by)};
}

}  // namespace eplb
