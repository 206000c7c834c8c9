#pragma once

#include <cstdint>

namespace eplb {

/// 64 random bits of the system's source, for seeds and secrets. Where that has none to give (a filter
/// of system calls, a machine that has only just started), some that are made of clocks, the process
/// and the thread: they can be guessed, but hardly come twice. std::random_device throws there, in the
/// middle of whatever needs its first one.
[[nodiscard]] std::uint64_t random_word() noexcept;

/// Each bit of `word` changes about half of those of the result (the last step of splitmix64).
[[nodiscard]] constexpr std::uint64_t mix_bits(std::uint64_t word) noexcept {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
}
/// The next number of a sequence (splitmix64). Even a seed of 0, or seeds in a row, give sequences that
/// have nothing in common.
[[nodiscard]] constexpr std::uint64_t next_random(std::uint64_t& state) noexcept {
    return mix_bits(state += 0x9e3779b97f4a7c15U);
}

/// What is made where the system has nothing to give.
[[nodiscard]] std::uint64_t makeshift_random_word() noexcept;

}  // namespace eplb
