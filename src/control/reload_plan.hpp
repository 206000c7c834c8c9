#pragma once

#include "config/settings.hpp"
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
///     - listener :5557 (12 sessions: drain 30s)
///     + listener :5556
///     = listener :5555 (socket kept)
///     ! up to 324 sessions will be reset, unless over within 30s
struct ReloadPlan {
    std::vector<std::string> lines;
    /// The same, but what stays as it is, is counted where there is more than one such line: a log has
    /// no use for a thousand of them at each reload.
    [[nodiscard]] std::vector<std::string> summary() const;
    bool changes = false;  ///< one of the lines is no "="
    /// Services that would be left without a backend that takes connections.
    std::vector<std::string> deserted_services;
    /// Keys whose change takes effect at the next start, be it that this was said before.
    std::vector<std::string> needs_restart;
};

/// A configuration, as it was written and as plain values.
struct ResolvedSettings {
    Settings settings;
    Config config;
};

/// What goes by the process's start in `running` stays in `now`, which has taken its place otherwise: a
/// process is what it was started as, whatever its file said since.
void keep_until_restart(ResolvedSettings& now, const ResolvedSettings& running);

/// Who is who is decided as Proxy::apply() does. `running`: what runs, with keep_until_restart().
/// `backends` and `listeners`: those of the running proxy, for the numbers of sessions. Any thread; time in proportion
/// to the configurations.
[[nodiscard]] ReloadPlan plan_reload(const ResolvedSettings& running,
                                     const ResolvedSettings& wanted,
                                     std::span<const BackendStatus> backends,
                                     std::span<const ListenerStatus> listeners = {});

}  // namespace eplb::control
