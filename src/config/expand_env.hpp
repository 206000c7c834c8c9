#pragma once

#include "config/document.hpp"

#include <functional>
#include <optional>
#include <string>

namespace eplb::control {

/// Looks a variable up; nothing if there is none of that name.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// That of the process, getenv(3).
[[nodiscard]] Environment process_environment();

/// Replaces ${NAME} and ${NAME:-default} in every string below `root`; $$ stands for a dollar sign.
/// The default serves when the variable is unset or empty, as in a shell. A variable that is not
/// there, and has no default, is an error. What a variable holds is never looked at as TOML, nor
/// expanded again.
void expand_env(Node& root, const Environment& environment, Diagnostics& diagnostics);

}  // namespace eplb::control
