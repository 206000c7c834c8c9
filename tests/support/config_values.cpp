#include "support/config_values.hpp"

#include "base/duration.hpp"
#include "config/config_keys.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <vector>

namespace eplb::test {

using namespace eplb::control;

namespace {

std::string shown(const Value& value) { return value.text(); }
std::string shown(const Address& address) { return address.to_string(); }
std::string shown(const Cidr& network) { return network.to_string(); }
std::string shown(const Rate& rate) { return rate.to_string(); }
std::string shown(const Endpoint& endpoint) { return endpoint.text; }
std::string shown(const CheckConfig::StatusRange& range) {
    return fmt::format("{}-{}", range.first, range.last);
}
std::string shown(const Keepalive& keepalive) {
    return fmt::format("{} {} {}", format_duration(keepalive.idle),
                       format_duration(keepalive.interval), keepalive.count);
}
template <class T>
std::string shown(const std::optional<T>& value) {
    return value ? shown(*value) : nothing.text();
}
std::string shown(const UnixOwner& owner) { return shown(owner.user) + ":" + shown(owner.group); }
template <class T>
std::string shown(const std::vector<T>& list) {
    std::string texts;
    for (const T& item : list) {
        if (!texts.empty()) texts += ' ';
        texts += shown(item);
    }
    return texts;
}

std::string shown(const ProxyTlvConfig& tlvs) {
    std::vector<std::string_view> names;
    if (tlvs.crc32c) names.emplace_back("crc32c");
    if (tlvs.unique_id) names.emplace_back("unique_id");
    if (tlvs.authority) names.emplace_back("authority");
    return shown(names);
}

std::string value_of(const ProcessValues& values, std::string_view key) {
    if (key == "workers") return shown(values.workers);
    if (key == "max_connections") return shown(values.max_connections);
    if (key == "busy_poll") return shown(values.busy_poll);
    if (key == "control") return values.control;
    return "?";
}

std::string value_of(const LogValues& values, std::string_view key) {
    if (key == "level") return shown(values.level);
    if (key == "format") return shown(values.format);
    if (key == "file") return values.file;
    if (key == "sessions") return shown(values.sessions);
    return "?";
}

std::string value_of(const DnsOptions& values, std::string_view key) {
    if (key == "servers") return shown(values.servers);
    if (key == "min_ttl") return shown(values.min_ttl);
    if (key == "max_ttl") return shown(values.max_ttl);
    if (key == "timeout") return shown(values.timeout);
    if (key == "family") return shown(values.family);
    if (key == "missing") return shown(values.missing);
    if (key == "on_absent") return shown(values.on_absent);
    return "?";
}

std::string value_of(const ServiceValues& values, std::string_view key) {
    const ServiceConfig& config = values.config;
    if (key == "name") return config.name;
    if (key == "listen") return shown(values.listen);
    if (key == "on_remove") return shown(config.on_remove);
    if (key == "relay") return shown(config.relay);
    if (key == "pipe_size") return shown(config.pipe_bytes);
    if (key == "backlog") return shown(config.backlog);
    if (key == "accept_proxy") return shown(config.accept_proxy);
    if (key == "send_proxy") return shown(config.send_proxy);
    if (key == "proxy_tlvs") return shown(config.proxy_tlvs);
    if (key == "max_connections_per_source") return shown(config.max_connections_per_source);
    if (key == "connection_rate_per_source") return shown(config.connection_rate_per_source);
    if (key == "nodelay") return shown(config.socket.no_delay);
    if (key == "keepalive") return shown(config.socket.keepalive);
    if (key == "source") return shown(config.sources);
    if (key == "interface") return config.socket.interface;
    if (key == "mark") return shown(config.socket.mark);
    if (key == "congestion") return config.socket.congestion;
    if (key == "transparent") return shown(config.socket.transparent);
    if (key == "fast_open") return shown(config.fast_open);
    if (key == "defer_accept") return shown(config.defer_accept);
    if (key == "unix_mode") return shown(config.unix_mode);
    if (key == "unix_owner") return shown(config.unix_owner);
    if (key == "retries") return shown(config.retries);
    if (key == "balance") return shown(config.balance);
    if (key == "eject_after") return shown(config.eject_after);
    if (key == "ejection_time") return shown(config.ejection_time);
    if (key == "max_ejection_time") return shown(config.max_ejection_time);
    if (key == "max_ejected_percent") return shown(config.max_ejected_percent);
    if (key == "on_down") return shown(config.on_down);
    if (key == "slow_start") return shown(config.slow_start);
    if (key == "rebalance") return shown(config.rebalance);
    if (key == "rebalance_idle") return shown(config.rebalance_idle);
    if (key == "max_lifetime") return shown(config.max_lifetime);
    if (key == "max_lifetime_jitter") return shown(config.lifetime_jitter_percent);
    if (key == "dead_peer_timeout") return shown(config.dead_peer_timeout);
    if (key == "max_connections") return shown(config.max_connections);
    if (key == "connection_rate") return shown(config.connection_rate);
    if (key == "over_limit") return shown(config.over_limit);
    if (key == "queue") return shown(config.queue);
    if (key == "queue_timeout") return shown(config.queue_timeout);
    if (key == "when_all_down") return shown(config.when_all_down);
    if (key == "allow") return shown(config.allow);
    if (key == "deny") return shown(config.deny);
    if (key == "trusted_proxies") return shown(config.trusted_proxies);
    if (key == "connect_timeout") return shown(config.connect_timeout);
    if (key == "idle_timeout") return shown(config.idle_timeout);
    if (key == "half_close_timeout") return shown(config.half_close_timeout);
    if (key == "drain_timeout") return shown(config.drain_timeout);
    return "?";
}

std::string value_of(const CheckConfig& values, std::string_view key) {
    if (key == "type") return shown(values.type);
    if (key == "interval") return shown(values.interval);
    if (key == "fast_interval") return shown(values.fast_interval);
    if (key == "timeout") return shown(values.timeout);
    if (key == "rise") return shown(values.rise);
    if (key == "fall") return shown(values.fall);
    if (key == "address") return shown(values.address);
    if (key == "port") return shown(values.port);
    if (key == "send") return values.send;
    if (key == "expect") return values.expect;
    if (key == "user") return values.user;
    if (key == "database") return values.database;
    if (key == "password") return values.password;
    if (key == "path") return values.path;
    if (key == "host") return values.host;
    if (key == "status") return shown(values.statuses);
    return "?";
}

std::string value_of(const BackendValues& values, std::string_view key) {
    if (key == "address") return shown(values.address);
    if (key == "name") return values.name;
    if (key == "weight") return shown(values.weight);
    if (key == "backup") return shown(values.backup);
    if (key == "max_connections") return shown(values.max_connections);
    return "?";
}

template <class Values>
void add_names(std::set<std::string>& names, In where, const KeyTable<Values>& keys) {
    for (const KeyInfo& key : keys) names.insert(name_of_key(where, key.name));
}

}  // namespace

std::string Value::text() const {
    return unit_ == nullptr ? std::string{text_} : fmt::format("{}{}", number_, unit_());
}

std::string value_of(const Settings& settings, In where, std::string_view key) {
    const Service& service = settings.services.at(0);
    switch (where) {
    case In::process: return value_of(settings.process.values, key);
    case In::log: return value_of(settings.log.values, key);
    case In::dns: return value_of(settings.dns.values, key);
    case In::service:
    case In::listen: return value_of(service.values, key);
    case In::check: return value_of(service.check.values, key);
    case In::second_backend:
    case In::second_address: return value_of(service.backends.at(1).values, key);
    default: return "?";
    }
}

std::string values_in(const Settings& settings, In where) {
    const std::string table = name_of_key(where, "");
    std::string texts;
    for (const std::string& name : names_of_keys()) {
        if (!name.starts_with(table)) continue;
        const std::string key = name.substr(table.size());
        texts += fmt::format("{} = {}\n", name, value_of(settings, where, key));
    }
    return texts;
}

std::string name_of_key(In where, std::string_view key) {
    std::string_view table = "?";
    switch (where) {
    case In::process: table = "process"; break;
    case In::log: table = "log"; break;
    case In::dns: table = "dns"; break;
    case In::service:
    case In::listen: table = "service"; break;
    case In::check: table = "check"; break;
    case In::second_backend:
    case In::second_address: table = "backend"; break;
    default: break;
    }
    return fmt::format("{}.{}", table, key);
}

std::set<std::string> names_of_keys() {
    std::set<std::string> names;
    add_names(names, In::process, process_keys());
    add_names(names, In::log, log_keys());
    add_names(names, In::dns, dns_keys());
    add_names(names, In::service, service_keys());
    add_names(names, In::service, own_service_keys());
    add_names(names, In::check, check_keys());
    add_names(names, In::second_backend, backend_keys());
    return names;
}

bool stands_in_defaults(In where, std::string_view key) {
    return where == In::service && std::ranges::count(service_keys(), key, &KeyInfo::name) != 0;
}

}  // namespace eplb::test
