#pragma once

#include "config/codec.hpp"
#include "config/settings.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

/// A key of the configuration file: how it is called, read, written and explained. The reader, the
/// dump, docs/configuration.md and the man page are all made from the tables below, so they cannot
/// disagree.
struct KeyInfo {
    std::string name;
    std::string type;
    std::string default_value;  ///< as TOML; empty: it has to be given, or `details` says
    std::string details;        ///< sentences, for the reference; `code` between backquotes
    /// The option of the command line that says the same, if any: "--workers".
    std::string flag;
    bool secret = false;  ///< its value is not for the log
};

template <class Values>
struct Key : KeyInfo {
    /// Sets it to what the node says, or complains and leaves it. Returns whether it was set.
    std::function<bool(const Node& node, Values& values, const Complaint& complain)> read;
    /// Its value as TOML.
    std::function<std::string(const Values& values)> write;
};

template <class Values>
using KeyTable = std::vector<Key<Values>>;

/// In the order in which they are documented and dumped.
[[nodiscard]] const KeyTable<ProcessValues>& process_keys();
[[nodiscard]] const KeyTable<LogValues>& log_keys();
[[nodiscard]] const KeyTable<DnsOptions>& dns_keys();
/// Those that stand in [defaults] too, for all services.
[[nodiscard]] const KeyTable<ServiceValues>& service_keys();
/// What only a [[service]] has: its name and its listeners.
[[nodiscard]] const KeyTable<ServiceValues>& own_service_keys();
/// Those of [service.check], which stand in [defaults.check] too.
[[nodiscard]] const KeyTable<CheckConfig>& check_keys();
/// Whether a check of this kind looks at the key; all of them look at "type".
[[nodiscard]] bool is_used_by(const CheckConfig& check, std::string_view key) noexcept;
[[nodiscard]] const KeyTable<BackendValues>& backend_keys();

}  // namespace eplb::control
