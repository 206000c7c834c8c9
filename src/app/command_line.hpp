#pragma once

#include "app/log.hpp"
#include "eplb/config.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace eplb::app {

/// What the user asked for makes no sense; the message says what, where, and the way out.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct CommandLine {
    Config config;
    Duration drain_timeout = std::chrono::seconds{30};
    LogLevel log_level = LogLevel::info;
    LogFormat log_format = LogFormat::text;
    /// Set when the user asked for help or the version: print it and leave.
    std::optional<std::string> answer;
};

/// `arguments` without the program's name. Throws UsageError, and std::runtime_error for a host
/// name that does not resolve.
[[nodiscard]] CommandLine parse_command_line(std::vector<std::string> arguments);

}  // namespace eplb::app
