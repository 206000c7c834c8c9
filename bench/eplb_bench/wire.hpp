#pragma once

#include "cell.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

namespace eplb::bench {

// What the processes of a run tell each other: one line of JSON in, one out, and a page of shared
// memory for what is counted while it happens.

/// The first byte of a connection says what the backend does with it.
namespace opcode {
constexpr char echo = 'E';  ///< sends everything back, this byte too
constexpr char push = 'P';  ///< sends this byte back, then counts and drops what comes
constexpr char pull = 'G';  ///< sends as fast as it goes
}  // namespace opcode

/// Where the shared page is when a child starts.
constexpr int counters_descriptor = 3;

struct SharedCounters {
    std::atomic<std::uint64_t> pushed_bytes{0};  ///< that reached the backend
};

struct LoadSpec {
    std::vector<std::string> targets;  ///< each connection takes the next one
    Work work;
    double warm_up_seconds = 0.3;
    double seconds = 1;
    std::vector<pid_t> proxy;  ///< whose processor time is measured
    pid_t backend = 0;
};

struct LoadResult {
    std::size_t asked = 0;         ///< connections to be open at once
    std::size_t answered = 0;      ///< those that were
    double seconds = 0;            ///< the window as it was
    std::uint64_t operations = 0;  ///< round trips, or connections for churn
    std::uint64_t bytes = 0;       ///< of bulk, as received at its end
    double p50_us = 0;
    double p99_us = 0;
    double p999_us = 0;
    double proxy_cpu_seconds = 0;
    double load_cpu_seconds = 0;                  ///< of the load process and the backends
    std::map<std::string, std::uint64_t> errors;  ///< what went wrong, and how often
    std::string stopped;                          ///< why nothing was measured; empty when it was
};

[[nodiscard]] std::string encode(const LoadSpec& spec);
[[nodiscard]] LoadSpec decode_spec(const std::string& text);
[[nodiscard]] std::string encode(const LoadResult& result);
[[nodiscard]] LoadResult decode_result(const std::string& text);

/// Maps the page behind descriptor `fd`. It stays mapped. Throws std::system_error.
[[nodiscard]] SharedCounters& map_counters(int fd);

}  // namespace eplb::bench
