#pragma once

#include <cstdint>
#include <string>

namespace eplb::app {

/// Lines that were lost, ever.
struct LogLosses {
    std::uint64_t full = 0;
    std::uint64_t memory = 0;
    std::uint64_t write_error = 0;

    [[nodiscard]] std::uint64_t all() const noexcept { return full + memory + write_error; }
    friend LogLosses operator-(const LogLosses& a, const LogLosses& b) noexcept {
        return {a.full - b.full, a.memory - b.memory, a.write_error - b.write_error};
    }
};

/// "3 log lines dropped: 2 because nobody reads the log fast enough, 1 for lack of memory". `error` is
/// the last one of writing.
[[nodiscard]] std::string to_text(const LogLosses& losses, int error);

}  // namespace eplb::app
