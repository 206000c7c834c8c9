#pragma once

#include "app/flags.hpp"

#include <string>
#include <vector>

namespace eplb::app {

/// `eplb reload`: asks the running process, over its control socket, to read its configuration file
/// again, or what that would change; prints the answer. `arguments`: without "eplb reload".
///
/// Returns the exit code: 0 nothing would change, or it was done; 3 a dry run, and something would
/// change; 2 bad usage, or a configuration that cannot be used; 1 refused, or it could not be done.
/// Throws UsageError, control::ConfigError, std::system_error.
[[nodiscard]] int run_reload_command(std::vector<std::string> arguments);
/// The options that it takes.
[[nodiscard]] std::vector<Flag> reload_flags();

}  // namespace eplb::app
