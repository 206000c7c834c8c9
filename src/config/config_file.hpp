#pragma once

#include "config/diagnostics.hpp"
#include "config/document.hpp"
#include "config/settings.hpp"
#include "discovery/names.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

/// The same as plain values, with the host names of listeners looked up, getaddrinfo(3), which may
/// take seconds; one that has no address is an error. Backends that have names are left to
/// set_backends().
[[nodiscard]] Config resolve(const Settings& settings, Diagnostics& diagnostics);

/// The addresses of all backends, as they were written.
[[nodiscard]] std::vector<std::string> backend_addresses(const Settings& settings);

/// Sets the backends of `config`, which is what resolve() made of `settings`: each address of a name
/// is one, called by the backend's `name` or else by the host's or service's.
///
/// A name that is not there, or whose addresses cannot be used, is an error, for that may be a slip;
/// unless `may_be_missing`, which is given its key, says otherwise. That is a warning, as names are that
/// nobody can be asked for now, and they are no backends yet.
void set_backends(Config& config, const Settings& settings, const NameAnswers& answers,
                  Diagnostics& diagnostics,
                  const std::function<bool(std::string_view key)>& may_be_missing = {});

/// By name, those in which no backend takes connections.
[[nodiscard]] std::vector<std::string> services_without_backends(const Config& config);
/// What a log says of one of them.
[[nodiscard]] std::string not_ready_text(std::string_view service);

}  // namespace eplb::control
