#pragma once

#include "config/settings.hpp"
#include "eplb/proxy.hpp"

#include <chrono>
#include <ctime>
#include <string>
#include <string_view>

namespace eplb::app {

/// What becomes a line of the log, as it is handed to the log's thread.
struct LogRecord {
    std::chrono::system_clock::time_point time;
    LogLevel level = LogLevel::info;
    control::LogFormat format = control::LogFormat::text;
    /// Text, or the members of a JSON object without its braces.
    std::string_view text;
};

/// A message as the `text` of a record: with JSON, bytes that are not UTF-8 (a Unix socket's name may
/// have any) are replaced instead of thrown at.
[[nodiscard]] std::string message_text(control::LogFormat format, std::string_view message);

/// Makes lines of records. Remembers the second of the last one, so that a date is worked out once a
/// second. For one thread.
class LogFormatter {
public:
    /// Appends the line, with its line feed. `colours`: for a terminal; JSON has none.
    void append_line(std::string& out, const LogRecord& record, bool colours);

private:
    void append_time(std::string& out, std::chrono::system_clock::time_point time);

    std::time_t second_ = -1;
    std::string date_;  // of that second
};

}  // namespace eplb::app
