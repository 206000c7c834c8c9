#pragma once

#include <cstdint>
#include <vector>

namespace eplb::bench {

/// How often which latency occurred, in constant memory: each power of two is divided into 64
/// steps, so a quantile is off by less than 1 %. Adding costs a few instructions.
class Histogram {
public:
    void add(std::int64_t nanoseconds) noexcept;
    void clear() noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    /// The latency that a share `q` (0 to 1) of all did not exceed; 0 when there is none.
    [[nodiscard]] double quantile(double q) const noexcept;

private:
    static constexpr unsigned step_bits = 6;
    static constexpr unsigned steps = 1U << step_bits;
    static constexpr unsigned powers = 40 - step_bits;  // up to 2^40 ns, 18 minutes

    std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((powers + 1) * steps);
    std::uint64_t count_ = 0;
};

}  // namespace eplb::bench
