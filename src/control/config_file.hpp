#pragma once

#include "control/diagnostics.hpp"
#include "control/document.hpp"
#include "control/settings.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace eplb::control {

/// What a configuration is read from. Can be read again.
struct ConfigSource {
    std::optional<std::filesystem::path> file;
    bool expand_env = false;  ///< ${NAME} in the file's strings
    /// A service without a backend that takes connections is for the caller to judge.
    bool may_lack_backends = false;
    Node flags;  ///< the command line, as read_settings() takes it
};

struct LoadedConfig {
    Settings settings;  ///< of use only when there are no errors
    Diagnostics diagnostics;
    std::string text;  ///< of the file

    /// The diagnostics, with the lines of the file that they are about.
    [[nodiscard]] std::string report(const ConfigSource& source) const;
};

/// Reads and checks all of it; opens nothing but the file, and asks nobody. Throws ConfigError when
/// the file cannot be read at all.
[[nodiscard]] LoadedConfig load_config(const ConfigSource& source);

/// The same as plain values, with host names looked up, getaddrinfo(3), which may take seconds. A
/// name that has no address is an error.
[[nodiscard]] Config resolve(const Settings& settings, Diagnostics& diagnostics);

}  // namespace eplb::control
