#pragma once

#include "config/diagnostics.hpp"
#include "config/settings.hpp"

namespace eplb::control {

/// Whether the parts of a configuration fit together: names that are there twice, listeners in each
/// other's way, backends that are our own listeners. What is legal but risky becomes a warning. Host
/// names are not looked up, so what they stand for is not checked here; Proxy's constructor does.
void check_settings(const Settings& settings, Diagnostics& diagnostics);

/// Warns of each service that has no backend that takes connections.
void warn_of_missing_backends(const Settings& settings, Diagnostics& diagnostics);

}  // namespace eplb::control
