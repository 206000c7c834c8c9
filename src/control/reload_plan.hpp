#pragma once

#include "control/settings.hpp"
#include "eplb/config.hpp"
#include "eplb/proxy.hpp"

#include <span>
#include <string>
#include <vector>

namespace eplb::control {

/// What going over to another configuration would do, line by line:
///
///     ~ service mysql: idle_timeout "off" -> "5m"
///     ~ service mysql: backend db1 weight 1 -> 3
///     ~ service mysql: backend db3 renamed replica
///     - backend db2 (312 sessions: drain 30s)
///     + listener :5556
///     = listener :5555 (socket kept)
///     ! 312 sessions will be reset, unless over within 30s
struct ReloadPlan {
    std::vector<std::string> lines;
    bool changes = false;  ///< one of the lines is no "="
    /// Services that would be left without a backend that takes connections.
    std::vector<std::string> deserted_services;
    /// Keys whose change takes effect at the next start.
    std::vector<std::string> needs_restart;
};

/// A configuration, as it was written and as plain values.
struct ResolvedSettings {
    Settings settings;
    Config config;
};

/// Who is who is decided as Proxy::apply() does. `backends`: those of the running proxy, for the
/// numbers of sessions. Any thread; time in proportion to the configurations.
[[nodiscard]] ReloadPlan plan_reload(const ResolvedSettings& running,
                                     const ResolvedSettings& wanted,
                                     std::span<const BackendStatus> backends);

}  // namespace eplb::control
