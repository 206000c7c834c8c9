#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sim {

/// SplitMix64: a seed gives the same numbers with every compiler and library, which the
/// distributions of <random> do not promise.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_{seed} {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15U;
        return mix(state_);
    }
    /// 0 to `bound` - 1. The bias of the remainder does not matter here.
    std::uint64_t below(std::uint64_t bound) noexcept { return bound == 0 ? 0 : next() % bound; }
    /// Both ends included.
    std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
        return low + below(high - low + 1);
    }
    /// True once in `n` times on average; 0: never, and the sequence of numbers does not move on.
    bool one_in(std::uint64_t n) noexcept { return n != 0 && below(n) == 0; }
    /// 1 to `high`, every order of magnitude as likely as the next: what sizes look like.
    std::uint64_t magnitude(std::uint64_t high) noexcept {
        unsigned bits = 0;
        while ((high >> bits) > 1) ++bits;
        const std::uint64_t top = std::uint64_t{1} << below(bits + 1);
        const std::uint64_t value = top + below(top);
        return value > high ? high : value;
    }
    template <class T>
    void shuffle(std::vector<T>& items) noexcept {
        for (std::size_t i = items.size(); i > 1; --i) {
            std::swap(items[i - 1], items[static_cast<std::size_t>(below(i))]);
        }
    }

    [[nodiscard]] static std::uint64_t mix(std::uint64_t z) noexcept {
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

private:
    std::uint64_t state_;
};

}  // namespace sim
