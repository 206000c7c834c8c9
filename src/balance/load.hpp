#pragma once

#include "eplb/backend.hpp"

#include <compare>
#include <cstdint>
#include <limits>

namespace eplb {

/// What a backend has to do and what it can take. Read once: other threads change both, and a
/// policy that compares has to compare the same numbers throughout.
struct Load {
    std::uint64_t active;
    std::uint64_t weight;

    [[nodiscard]] static Load of(const Backend& backend) noexcept {
        return {backend.active(), backend.effective_weight()};
    }

    /// By active sessions for each unit of weight. Exact: numbers of 64 bits do not overflow.
    friend std::weak_ordering operator<=>(const Load& a, const Load& b) noexcept {
        __extension__ using Wide = unsigned __int128;
        return Wide{a.active} * b.weight <=> Wide{b.active} * a.weight;
    }
};

/// What one more session would have to wait for, in nanoseconds of a unit of weight.
[[nodiscard]] inline double waiting_time(double latency_ns, const Load& load) noexcept {
    if (load.weight == 0) return std::numeric_limits<double>::infinity();
    return latency_ns * (static_cast<double>(load.active) + 1) / static_cast<double>(load.weight);
}

/// The latency to reckon with, where `highest_ns` is the highest of those that it competes with. A
/// backend of which nothing is known is tried at once, but by one session: with more, it counts as
/// slow until the first has been seen to get through. Or else one that swallows all that it is sent
/// would be sent everything.
[[nodiscard]] inline double presumed_latency(double known_ns, const Load& load,
                                             double highest_ns) noexcept {
    return known_ns == 0 && load.active > 0 ? highest_ns : known_ns;
}

}  // namespace eplb
