#pragma once

#include "eplb/config.hpp"

#include <cstddef>
#include <string>

namespace eplb {

/// How many sessions a process can have.
struct Limits {
    std::size_t sessions = 0;
    /// What sessions and pipes may share; the rest is for everything else.
    std::size_t descriptors = 0;
};

/// `available`: descriptors that the process may have. `wanted`: sessions, or 0 for as many as go:
/// half of the descriptors, less 64; of fewer than 256 a quarter, down to one session. `besides`:
/// what the proxy needs for listening sockets and for its workers. Throws std::runtime_error when it
/// cannot be done.
[[nodiscard]] Limits work_out_limits(std::size_t available, std::size_t wanted,
                                     std::size_t besides);

/// A line for the log where what is kept back had to be less than it should be; else empty.
[[nodiscard]] std::string describe_low_limit(std::size_t available, const Limits& limits);

/// What a configuration takes besides sessions: listening sockets, checks, and what a further worker's
/// reactor takes.
[[nodiscard]] std::size_t descriptors_besides_sessions(const Config& config,
                                                       std::size_t workers) noexcept;

/// The soft limit of RLIMIT_NOFILE, getrlimit(2); at most a million, since containers often have
/// "infinity".
[[nodiscard]] std::size_t descriptor_limit() noexcept;

}  // namespace eplb
