#pragma once

#include <string>
#include <vector>

namespace eplb::app {

/// `eplb` without a verb: serves what options and the configuration file say, or checks or prints that,
/// or answers. `arguments`: all of them. Signals are held, as hold_signals() does; unless it serves, they
/// are released.
///
/// Returns the exit code. Throws UsageError, control::ConfigError, std::invalid_argument, and what
/// Daemon does.
[[nodiscard]] int run_serve_command(std::vector<std::string> arguments);

}  // namespace eplb::app
