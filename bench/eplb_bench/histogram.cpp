#include "histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace eplb::bench {

// Values below 64 have a counter each; above, the leading bit picks the row and the six bits behind
// it the step.
void Histogram::add(std::int64_t nanoseconds) noexcept {
    const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0));
    const unsigned width = static_cast<unsigned>(std::bit_width(value));
    const unsigned row = width > step_bits ? width - step_bits : 0;
    const unsigned shift = row > 0 ? row - 1 : 0;
    const std::size_t index = row * steps + ((value >> shift) & (steps - 1));
    ++counts_[std::min(index, counts_.size() - 1)];
    ++count_;
}

void Histogram::clear() noexcept {
    std::ranges::fill(counts_, 0);
    count_ = 0;
}

double Histogram::quantile(double q) const noexcept {
    if (count_ == 0) return 0;
    const auto wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
    std::uint64_t seen = 0;
    for (std::size_t index = 0; index < counts_.size(); ++index) {
        seen += counts_[index];
        if (seen < std::max<std::uint64_t>(wanted, 1)) continue;
        const std::size_t row = index / steps;
        const std::size_t step = index % steps;
        if (row == 0) return static_cast<double>(step);
        const double low = std::ldexp(static_cast<double>(steps + step), static_cast<int>(row) - 1);
        return low + std::ldexp(0.5, static_cast<int>(row) - 1);  // the middle of the step
    }
    return 0;
}

}  // namespace eplb::bench
