#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <sys/types.h>

namespace eplb::bench {

/// Processor time that these processes used so far, in nanoseconds: of all their threads, also of
/// those that have ended. Nothing if one of them is gone.
///
/// Read from the process's CPU clock (clock_getcpuclockid(3)): the sum that /proc/PID/stat shows in
/// steps of 10 ms, without the rounding. /proc/PID/task/*/schedstat is as precise, but forgets
/// threads that ended, and takes three system calls per thread.
[[nodiscard]] std::optional<std::int64_t> cpu_nanoseconds(std::span<const pid_t> pids) noexcept;

struct ProcessUse {
    std::uint64_t rss_bytes = 0;  ///< resident, all of them added up
    std::uint64_t pss_bytes = 0;  ///< the same, pages that are shared counted in proportion
    std::size_t threads = 0;
    std::size_t descriptors = 0;
};

/// What these processes hold now, added up.
[[nodiscard]] ProcessUse use_of(std::span<const pid_t> pids);

}  // namespace eplb::bench
