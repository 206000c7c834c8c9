// balance: how long a backend takes.
#pragma once

#include "eplb/clock.hpp"
#include "eplb/export.hpp"

#include <atomic>
#include <limits>

namespace eplb {

/// How long a backend takes to answer, by what was seen of it: the slowest of the samples, each of
/// which counts less the older it is, by a factor of e in ten seconds. So a slow one counts at
/// once, is forgotten little by little while the samples are quick, and in two to four minutes if
/// there are none: a backend that was slow once is tried again.
///
/// Threads share it without locks. All of it is one number that only grows, so it makes no
/// difference in which order they come, or whose clock is behind.
class EPLB_API Latency {
public:
    /// In so long, a sample comes to count less by a factor of e.
    static constexpr Duration time_constant = std::chrono::seconds{10};

    /// A sample below a microsecond counts as one, beyond an hour as one.
    void observe(Duration sample, TimePoint now) noexcept;

    /// Zero: never observed, or forgotten.
    [[nodiscard]] Duration at(TimePoint now) const noexcept;

private:
    // When, in the clock's nanoseconds, what is known will have decayed to one nanosecond. A sample
    // s, seen at t, does so at t + time_constant * ln(s); the slowest is the one that takes longest.
    std::atomic<Duration::rep> forgotten_at_{std::numeric_limits<Duration::rep>::min()};
};

}  // namespace eplb
