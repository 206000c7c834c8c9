#pragma once

#include <cstdint>

namespace eplb {

/// 64 random bits of the system's source, for seeds and secrets. Where that has none to give (a filter
/// of system calls, a machine that has only just started), some that are made of clocks, the process
/// and the thread: they can be guessed, but hardly come twice. std::random_device throws there, in the
/// middle of whatever needs its first one.
[[nodiscard]] std::uint64_t random_word() noexcept;

/// What is made where the system has nothing to give.
[[nodiscard]] std::uint64_t makeshift_random_word() noexcept;

}  // namespace eplb
