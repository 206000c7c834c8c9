#pragma once

#include "config/diagnostics.hpp"
#include "discovery/dns_options.hpp"
#include "eplb/address.hpp"
#include "eplb/config.hpp"
#include "eplb/proxy.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

enum class LogFormat : std::uint8_t { text, json };
/// Which lines a session writes into the log.
enum class SessionLog : std::uint8_t { off, close, open_and_close };

/// What a configuration says, checked, with host names not looked up yet. Each struct has the
/// values that a configuration without the key has.

/// An address as it was written.
struct Endpoint {
    std::string text;
    Place place;
    friend bool operator==(const Endpoint& a, const Endpoint& b) noexcept {
        return a.text == b.text;
    }
};

struct ProcessValues {
    /// Nothing: one for each processor.
    std::optional<std::size_t> workers = 1;
    Duration busy_poll{0};
    std::size_t max_connections = 0;  ///< 0: what the limit of descriptors allows
    std::string control = "off";      ///< "off", or the Unix socket for `eplb reload`
};

struct LogValues {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::text;
    std::string file = "-";  ///< "-": standard error
    SessionLog sessions = SessionLog::close;
};

struct BackendValues {
    Endpoint address;
    std::string name;
    std::uint32_t weight = 1;
    bool backup = false;
    std::uint32_t max_connections = 0;  ///< 0: no limit
};

/// The library's defaults, but for the name: a service of a file is called by its first listener.
[[nodiscard]] inline ServiceConfig unnamed_service() {
    ServiceConfig config;
    config.name.clear();
    return config;
}

struct ServiceValues {
    std::vector<Endpoint> listen;
    /// Its listeners and backends are empty here.
    ServiceConfig config = unnamed_service();

    friend bool operator==(const ServiceValues& a, const ServiceValues& b) = default;
};

/// Where a value comes from.
struct Origin {
    enum class Kind : std::uint8_t { built_in, file, flag };
    Kind kind = Kind::built_in;
    Place place;
    bool from_defaults = false;  ///< it was said in [defaults]
};

/// The values of one table of the file, and where those come from that are not built in.
template <class Values>
struct Section {
    Values values;
    std::map<std::string, Origin, std::less<>> origins;
    Place place;  ///< of its header

    [[nodiscard]] Origin origin_of(std::string_view key) const {
        const auto found = origins.find(key);
        return found == origins.end() ? Origin{} : found->second;
    }
};

struct Service : Section<ServiceValues> {
    Section<CheckConfig> check;
    std::vector<Section<BackendValues>> backends;
};

struct Settings {
    Section<ProcessValues> process;
    Section<LogValues> log;
    Section<DnsOptions> dns;
    std::vector<Service> services;
};

}  // namespace eplb::control
