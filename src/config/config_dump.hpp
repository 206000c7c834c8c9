#pragma once

#include "config/settings.hpp"

#include <string>
#include <string_view>

namespace eplb::control {

/// The effective configuration, every key of it, each with where its value comes from in a comment:
/// "default", "eplb.toml:12", "eplb.toml:5 [defaults]", "--workers". Is a configuration file itself,
/// which says the same. `file`: how the comments call the file.
[[nodiscard]] std::string dump(const Settings& settings, std::string_view file);

}  // namespace eplb::control
