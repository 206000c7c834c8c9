#include "proc_stats.hpp"

#include <ctime>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <string>

namespace eplb::bench {
namespace {

namespace fs = std::filesystem;

std::size_t entries_of(const std::string& directory) {
    std::error_code error;
    std::size_t count = 0;
    for (fs::directory_iterator it{directory, error}, end; !error && it != end; it.increment(error))
        ++count;
    return count;
}

}  // namespace

std::optional<std::int64_t> cpu_nanoseconds(std::span<const pid_t> pids) noexcept {
    std::int64_t total = 0;
    for (const pid_t pid : pids) {
        clockid_t clock = 0;
        timespec time{};
        if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
            return std::nullopt;
        total += std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
    }
    return total;
}

ProcessUse use_of(std::span<const pid_t> pids) {
    ProcessUse use;
    for (const pid_t pid : pids) {
        // The counters in /proc/PID/status lag behind by up to 64 pages per thread; this one walks
        // the page tables.
        std::ifstream rollup{fmt::format("/proc/{}/smaps_rollup", pid)};
        for (std::string line; std::getline(rollup, line);) {
            if (line.starts_with("Rss:")) use.rss_bytes += std::stoull(line.substr(4)) * 1024;
            if (line.starts_with("Pss:")) use.pss_bytes += std::stoull(line.substr(4)) * 1024;
        }
        use.threads += entries_of(fmt::format("/proc/{}/task", pid));
        use.descriptors += entries_of(fmt::format("/proc/{}/fd", pid));
    }
    return use;
}

}  // namespace eplb::bench
