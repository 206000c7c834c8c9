#include "config/config_reader.hpp"

#include "config/config_keys.hpp"
#include "config/toml_document.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace eplb::control;
using eplb::AcceptProxy;
using eplb::Address;
using eplb::Balance;
using eplb::Cidr;
using eplb::Config;
using eplb::Duration;
using eplb::Keepalive;
using eplb::LogLevel;
using eplb::OnDown;
using eplb::OnRemove;
using eplb::OverLimit;
using eplb::ProxyTlvConfig;
using eplb::Rate;
using eplb::Rebalance;
using eplb::RelayMode;
using eplb::SendProxy;
using eplb::ServiceConfig;
using eplb::WhenAllDown;
using eplb::test::contains;
using eplb::test::starts_with;
using Type = eplb::CheckConfig::Type;
using Range = eplb::CheckConfig::StatusRange;

namespace {

using Lines = std::vector<std::string>;

Lines told(const Diagnostics& diagnostics) {
    Lines lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted()) {
        const Place& place = diagnostic.place;
        const std::string where =
            place.flag.empty() ? fmt::format("{}:{}", place.line, place.column) : place.flag;
        lines.push_back(fmt::format("{}: {}: {}", where,
                                    diagnostic.severity == Severity::error ? "error" : "warning",
                                    diagnostic.message));
    }
    return lines;
}

struct Outcome {
    Settings settings;
    Lines told;
};

Outcome read_with(std::string_view text, const Node* flags) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    Outcome outcome;
    if (!diagnostics.has_errors()) outcome.settings = read_settings(&root, flags, diagnostics);
    outcome.told = told(diagnostics);
    return outcome;
}

Outcome read(std::string_view text) { return read_with(text, nullptr); }

Lines told_of(std::string_view text) { return read(text).told; }

// The tables that have keys, as config_keys.hpp has them.
enum class Table { process, log, dns, service, own, check, backend };

// The least that makes sense, in pieces to put something between.
constexpr std::string_view service_head = "[[service]]\nlisten = \":5555\"\n";
constexpr std::string_view first_backend = "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n";
const std::string smallest = std::string{service_head} + std::string{first_backend};

// `line` in the table that it is for, in a file that makes sense without it.
std::string file_with(Table table, std::string_view key, const std::string& line) {
    switch (table) {
    case Table::process: return line + "\n" + smallest;
    case Table::log: return "[log]\n" + line + "\n" + smallest;
    case Table::dns: return "[dns]\n" + line + "\n" + smallest;
    case Table::service:
        return std::string{service_head} + line + "\n" + std::string{first_backend};
    case Table::own:
        if (key == "listen") return "[[service]]\n" + line + "\n" + std::string{first_backend};
        return std::string{service_head} + line + "\n" + std::string{first_backend};
    case Table::check:
        return std::string{service_head} + "[service.check]\n" + line + "\n" +
               std::string{first_backend};
    case Table::backend:
        if (key == "address") return smallest + "[[service.backend]]\n" + line + "\n";
        return smallest + "[[service.backend]]\naddress = \"127.0.0.1:3307\"\n" + line + "\n";
    }
    return {};
}

std::string file_with_default(const std::string& line) {
    return "[defaults]\n" + line + "\n" + smallest;
}

const ServiceConfig& service_of(const Settings& settings) {
    return settings.services.at(0).values.config;
}

const eplb::CheckConfig& check_of(const Settings& settings) {
    return settings.services.at(0).check.values;
}

const BackendValues& second_backend_of(const Settings& settings) {
    return settings.services.at(0).backends.at(1).values;
}

Lines listeners_of(const Settings& settings) {
    Lines lines;
    for (const Endpoint& endpoint : settings.services.at(0).values.listen)
        lines.push_back(endpoint.text);
    return lines;
}

struct Good {
    Table table;
    std::string key;
    std::string value;  ///< as TOML
    std::function<bool(const Settings&)> holds;
};

// At least one row for every key that there is.
std::vector<Good> good_values() {
    using S = const Settings&;
    std::vector<Good> rows{
        {Table::process, "workers", "1", [](S s) { return s.process.values.workers == 1u; }},
        {Table::process, "workers", "256", [](S s) { return s.process.values.workers == 256u; }},
        {Table::process, "workers", "\"auto\"", [](S s) { return !s.process.values.workers; }},
        {Table::process, "max_connections", "1",
         [](S s) { return s.process.values.max_connections == 1; }},
        {Table::process, "max_connections", "100_000_000",
         [](S s) { return s.process.values.max_connections == 100'000'000; }},
        {Table::process, "max_connections", "\"auto\"",
         [](S s) { return s.process.values.max_connections == 0; }},
        {Table::process, "busy_poll", "\"off\"",
         [](S s) { return s.process.values.busy_poll == Duration{0}; }},
        {Table::process, "busy_poll", "\"1us\"",
         [](S s) { return s.process.values.busy_poll == 1us; }},
        {Table::process, "busy_poll", "\"1s\"",
         [](S s) { return s.process.values.busy_poll == 1s; }},
        {Table::process, "control", "\"off\"",
         [](S s) { return s.process.values.control == "off"; }},
        {Table::process, "control", "\"unix:/run/eplb/control.sock\"",
         [](S s) { return s.process.values.control == "unix:/run/eplb/control.sock"; }},

        {Table::log, "level", "\"debug\"",
         [](S s) { return s.log.values.level == LogLevel::debug; }},
        {Table::log, "level", "\"info\"", [](S s) { return s.log.values.level == LogLevel::info; }},
        {Table::log, "level", "\"warning\"",
         [](S s) { return s.log.values.level == LogLevel::warning; }},
        {Table::log, "level", "\"error\"",
         [](S s) { return s.log.values.level == LogLevel::error; }},
        {Table::log, "format", "\"text\"",
         [](S s) { return s.log.values.format == LogFormat::text; }},
        {Table::log, "format", "\"json\"",
         [](S s) { return s.log.values.format == LogFormat::json; }},
        {Table::log, "file", "\"-\"", [](S s) { return s.log.values.file == "-"; }},
        {Table::log, "file", "'/var/log/eplb 1.log'",
         [](S s) { return s.log.values.file == "/var/log/eplb 1.log"; }},
        {Table::dns, "servers", "[]", [](S s) { return s.dns.values.servers.empty(); }},
        {Table::dns, "servers", "\"192.0.2.1\"",
         [](S s) { return s.dns.values.servers == std::vector{Address::parse("192.0.2.1:53")}; }},
        {Table::dns, "servers", "[\"192.0.2.1:5353\", \"::1\", \"[::1]\", \"[2001:db8::1]:1\"]",
         [](S s) {
             return s.dns.values.servers ==
                    std::vector{Address::parse("192.0.2.1:5353"), Address::parse("[::1]:53"),
                                Address::parse("[::1]:53"), Address::parse("[2001:db8::1]:1")};
         }},
        {Table::dns, "min_ttl", "\"100ms\"", [](S s) { return s.dns.values.min_ttl == 100ms; }},
        {Table::dns, "min_ttl", "\"1d\"", [](S s) { return s.dns.values.min_ttl == 24h; }},
        {Table::dns, "max_ttl", "\"100ms\"", [](S s) { return s.dns.values.max_ttl == 100ms; }},
        {Table::dns, "max_ttl", "\"24h\"", [](S s) { return s.dns.values.max_ttl == 24h; }},
        {Table::dns, "timeout", "\"100ms\"", [](S s) { return s.dns.values.timeout == 100ms; }},
        {Table::dns, "timeout", "\"60s\"", [](S s) { return s.dns.values.timeout == 60s; }},
        {Table::dns, "family", "\"auto\"",
         [](S s) { return s.dns.values.family == NameFamily::automatic; }},
        {Table::dns, "family", "\"both\"",
         [](S s) { return s.dns.values.family == NameFamily::both; }},
        {Table::dns, "family", "\"ipv4\"",
         [](S s) { return s.dns.values.family == NameFamily::ipv4; }},
        {Table::dns, "family", "\"ipv6\"",
         [](S s) { return s.dns.values.family == NameFamily::ipv6; }},
        {Table::dns, "missing", "\"wait\"",
         [](S s) { return s.dns.values.missing == MissingName::wait; }},
        {Table::dns, "missing", "\"fail\"",
         [](S s) { return s.dns.values.missing == MissingName::fail; }},
        {Table::dns, "on_absent", "\"keep\"",
         [](S s) { return s.dns.values.on_absent == OnAbsent::keep; }},
        {Table::dns, "on_absent", "\"drain\"",
         [](S s) { return s.dns.values.on_absent == OnAbsent::drain; }},
        {Table::dns, "on_absent", "\"close\"",
         [](S s) { return s.dns.values.on_absent == OnAbsent::close; }},
        {Table::backend, "address", "\"srv:_mysql._tcp.example\"",
         [](S s) { return second_backend_of(s).address.text == "srv:_mysql._tcp.example"; }},
        {Table::log, "sessions", "\"off\"",
         [](S s) { return s.log.values.sessions == SessionLog::off; }},
        {Table::log, "sessions", "\"close\"",
         [](S s) { return s.log.values.sessions == SessionLog::close; }},
        {Table::log, "sessions", "\"open+close\"",
         [](S s) { return s.log.values.sessions == SessionLog::open_and_close; }},

        {Table::service, "on_remove", "\"drain\"",
         [](S s) { return service_of(s).on_remove == OnRemove::drain; }},
        {Table::service, "on_remove", "\"close\"",
         [](S s) { return service_of(s).on_remove == OnRemove::close; }},
        {Table::service, "on_remove", "\"keep\"",
         [](S s) { return service_of(s).on_remove == OnRemove::keep; }},
        {Table::service, "relay", "\"auto\"",
         [](S s) { return service_of(s).relay == RelayMode::automatic; }},
        {Table::service, "relay", "\"splice\"",
         [](S s) { return service_of(s).relay == RelayMode::splice; }},
        {Table::service, "relay", "\"copy\"",
         [](S s) { return service_of(s).relay == RelayMode::copy; }},
        {Table::service, "pipe_size", "\"auto\"",
         [](S s) { return service_of(s).pipe_bytes == 0; }},
        {Table::service, "pipe_size", "\"64KiB\"",
         [](S s) { return service_of(s).pipe_bytes == 64 * 1024; }},
        {Table::service, "pipe_size", "\"16MiB\"",
         [](S s) { return service_of(s).pipe_bytes == 16 * 1024 * 1024; }},
        {Table::service, "backlog", "1", [](S s) { return service_of(s).backlog == 1; }},
        {Table::service, "backlog", "65535", [](S s) { return service_of(s).backlog == 65535; }},

        {Table::service, "accept_proxy", "\"off\"",
         [](S s) { return service_of(s).accept_proxy == AcceptProxy::off; }},
        {Table::service, "accept_proxy", "\"v1\"\ntrusted_proxies = \"unix:\"",
         [](S s) { return service_of(s).accept_proxy == AcceptProxy::v1; }},
        {Table::service, "accept_proxy", "\"v2\"\ntrusted_proxies = \"unix:\"",
         [](S s) { return service_of(s).accept_proxy == AcceptProxy::v2; }},
        {Table::service, "accept_proxy", "\"any\"\ntrusted_proxies = \"unix:\"",
         [](S s) { return service_of(s).accept_proxy == AcceptProxy::any; }},
        {Table::service, "send_proxy", "\"off\"",
         [](S s) { return service_of(s).send_proxy == SendProxy::off; }},
        {Table::service, "send_proxy", "\"v1\"",
         [](S s) { return service_of(s).send_proxy == SendProxy::v1; }},
        {Table::service, "send_proxy", "\"v2\"",
         [](S s) { return service_of(s).send_proxy == SendProxy::v2; }},
        {Table::service, "proxy_tlvs", "[]",
         [](S s) { return service_of(s).proxy_tlvs == ProxyTlvConfig{}; }},
        {Table::service, "proxy_tlvs", "[\"authority\", \"unique_id\", \"crc32c\"]",
         [](S s) { return service_of(s).proxy_tlvs == ProxyTlvConfig{true, true, true}; }},
        {Table::service, "proxy_tlvs", "\"unique_id\"",
         [](S s) { return service_of(s).proxy_tlvs == ProxyTlvConfig{false, true, false}; }},
        {Table::service, "max_connections_per_source", "0",
         [](S s) { return service_of(s).max_connections_per_source == 0; }},
        {Table::service, "max_connections_per_source", "100_000_000",
         [](S s) { return service_of(s).max_connections_per_source == 100'000'000; }},
        {Table::service, "connection_rate_per_source", "\"off\"",
         [](S s) { return service_of(s).connection_rate_per_source.unlimited(); }},
        {Table::service, "connection_rate_per_source", "\"5/10s\"",
         [](S s) { return service_of(s).connection_rate_per_source == Rate{5, 10s}; }},
        {Table::service, "nodelay", "true", [](S s) { return service_of(s).socket.no_delay; }},
        {Table::service, "nodelay", "false", [](S s) { return !service_of(s).socket.no_delay; }},
        {Table::service, "keepalive", "\"off\"",
         [](S s) { return service_of(s).socket.keepalive.idle == Duration{0}; }},
        {Table::service, "keepalive", "{}",
         [](S s) { return service_of(s).socket.keepalive == Keepalive{}; }},
        {Table::service, "keepalive", "{idle = \"1s\", interval = \"32767s\", count = 127}",
         [](S s) { return service_of(s).socket.keepalive == Keepalive{1s, 32767s, 127}; }},
        {Table::service, "source", "[]", [](S s) { return service_of(s).sources.empty(); }},
        {Table::service, "source", "\"10.0.0.1\"",
         [](S s) { return service_of(s).sources == std::vector{Address::parse("10.0.0.1:0")}; }},
        {Table::service, "source", "[\"10.0.0.1\", \"2001:db8::1\"]",
         [](S s) {
             return service_of(s).sources ==
                    std::vector{Address::parse("10.0.0.1:0"), Address::parse("[2001:db8::1]:0")};
         }},
        {Table::service, "interface", "\"any\"",
         [](S s) { return service_of(s).socket.interface.empty(); }},
        {Table::service, "interface", "\"enp0s31f6.1234\"",
         [](S s) { return service_of(s).socket.interface == "enp0s31f6.1234"; }},
        {Table::service, "mark", "0", [](S s) { return service_of(s).socket.mark == 0; }},
        {Table::service, "mark", "0xffffffff",
         [](S s) { return service_of(s).socket.mark == 0xffffffff; }},
        {Table::service, "congestion", "\"default\"",
         [](S s) { return service_of(s).socket.congestion.empty(); }},
        {Table::service, "congestion", "\"bbr\"",
         [](S s) { return service_of(s).socket.congestion == "bbr"; }},
        {Table::service, "transparent", "true",
         [](S s) { return service_of(s).socket.transparent; }},
        {Table::service, "transparent", "false",
         [](S s) { return !service_of(s).socket.transparent; }},
        {Table::service, "fast_open", "0", [](S s) { return service_of(s).fast_open == 0; }},
        {Table::service, "fast_open", "65535",
         [](S s) { return service_of(s).fast_open == 65535; }},
        {Table::service, "defer_accept", "\"off\"",
         [](S s) { return service_of(s).defer_accept == Duration{0}; }},
        {Table::service, "defer_accept", "\"1s\"",
         [](S s) { return service_of(s).defer_accept == 1s; }},
        {Table::service, "defer_accept", "\"1h\"",
         [](S s) { return service_of(s).defer_accept == 1h; }},
        {Table::service, "unix_mode", "\"default\"", [](S s) { return !service_of(s).unix_mode; }},
        {Table::service, "unix_mode", "\"0660\"",
         [](S s) { return service_of(s).unix_mode == mode_t{0660}; }},
        {Table::service, "unix_mode", "\"0\"",
         [](S s) { return service_of(s).unix_mode == mode_t{0}; }},
        {Table::service, "unix_mode", "\"777\"",
         [](S s) { return service_of(s).unix_mode == mode_t{0777}; }},

        {Table::service, "unix_owner", "\"default\"",
         [](S s) { return service_of(s).unix_owner == eplb::UnixOwner{}; }},
        {Table::service, "unix_owner", "\"root\"",
         [](S s) { return service_of(s).unix_owner == eplb::UnixOwner{0, std::nullopt}; }},
        {Table::service, "unix_owner", "\":root\"",
         [](S s) { return service_of(s).unix_owner == eplb::UnixOwner{std::nullopt, 0}; }},
        {Table::service, "unix_owner", "\"4000000000:17\"",
         [](S s) { return service_of(s).unix_owner == eplb::UnixOwner{4'000'000'000U, 17}; }},
        {Table::service, "retries", "\"auto\"", [](S s) { return !service_of(s).retries; }},
        {Table::service, "retries", "0", [](S s) { return service_of(s).retries == 0U; }},
        {Table::service, "retries", "1000", [](S s) { return service_of(s).retries == 1000U; }},
        {Table::service, "balance", "\"round_robin\"",
         [](S s) { return service_of(s).balance == Balance::round_robin; }},
        {Table::service, "balance", "\"leastconn\"",
         [](S s) { return service_of(s).balance == Balance::leastconn; }},
        {Table::service, "balance", "\"random\"",
         [](S s) { return service_of(s).balance == Balance::random; }},
        {Table::service, "balance", "\"first\"",
         [](S s) { return service_of(s).balance == Balance::first; }},
        {Table::service, "balance", "\"source_hash\"",
         [](S s) { return service_of(s).balance == Balance::source_hash; }},
        {Table::service, "balance", "\"consistent\"",
         [](S s) { return service_of(s).balance == Balance::consistent; }},
        {Table::service, "balance", "\"least_time\"",
         [](S s) { return service_of(s).balance == Balance::least_time; }},
        {Table::service, "balance", "\"peak_ewma\"",
         [](S s) { return service_of(s).balance == Balance::peak_ewma; }},
        {Table::service, "eject_after", "0", [](S s) { return service_of(s).eject_after == 0; }},
        {Table::service, "eject_after", "1_000_000",
         [](S s) { return service_of(s).eject_after == 1'000'000; }},
        {Table::service, "ejection_time", "\"1ms\"",
         [](S s) { return service_of(s).ejection_time == 1ms; }},
        {Table::service, "max_ejection_time", "\"1h\"",
         [](S s) { return service_of(s).max_ejection_time == 1h; }},
        {Table::service, "max_ejected_percent", "0",
         [](S s) { return service_of(s).max_ejected_percent == 0; }},
        {Table::service, "max_ejected_percent", "100",
         [](S s) { return service_of(s).max_ejected_percent == 100; }},
        {Table::service, "on_down", "\"keep\"",
         [](S s) { return service_of(s).on_down == OnDown::keep; }},
        {Table::service, "on_down", "\"drain\"",
         [](S s) { return service_of(s).on_down == OnDown::drain; }},
        {Table::service, "on_down", "\"close\"",
         [](S s) { return service_of(s).on_down == OnDown::close; }},
        {Table::service, "slow_start", "\"off\"",
         [](S s) { return service_of(s).slow_start == Duration{0}; }},
        {Table::service, "slow_start", "\"30s\"",
         [](S s) { return service_of(s).slow_start == 30s; }},
        {Table::service, "rebalance", "\"off\"",
         [](S s) { return service_of(s).rebalance == Rebalance::off; }},
        {Table::service, "rebalance", "\"idle\"",
         [](S s) { return service_of(s).rebalance == Rebalance::idle; }},
        {Table::service, "rebalance_idle", "\"10ms\"",
         [](S s) { return service_of(s).rebalance_idle == 10ms; }},
        {Table::service, "max_lifetime", "\"off\"",
         [](S s) { return service_of(s).max_lifetime == Duration{0}; }},
        {Table::service, "max_lifetime", "\"1h\"",
         [](S s) { return service_of(s).max_lifetime == 1h; }},
        {Table::service, "max_lifetime_jitter", "0",
         [](S s) { return service_of(s).lifetime_jitter_percent == 0; }},
        {Table::service, "max_lifetime_jitter", "100",
         [](S s) { return service_of(s).lifetime_jitter_percent == 100; }},
        {Table::service, "dead_peer_timeout", "\"off\"",
         [](S s) { return service_of(s).dead_peer_timeout == Duration{0}; }},
        {Table::service, "dead_peer_timeout", "\"100ms\"",
         [](S s) { return service_of(s).dead_peer_timeout == 100ms; }},
        {Table::service, "dead_peer_timeout", "\"24h\"",
         [](S s) { return service_of(s).dead_peer_timeout == 24h; }},
        {Table::service, "max_connections", "0",
         [](S s) { return service_of(s).max_connections == 0; }},
        {Table::service, "max_connections", "100_000_000",
         [](S s) { return service_of(s).max_connections == 100'000'000; }},
        {Table::service, "connection_rate", "\"off\"",
         [](S s) { return service_of(s).connection_rate.unlimited(); }},
        {Table::service, "connection_rate", "\"5/10s\"",
         [](S s) { return service_of(s).connection_rate == eplb::Rate{5, 10s}; }},
        {Table::service, "over_limit", "\"wait\"",
         [](S s) { return service_of(s).over_limit == OverLimit::wait; }},
        {Table::service, "over_limit", "\"reset\"",
         [](S s) { return service_of(s).over_limit == OverLimit::reset; }},
        {Table::service, "queue", "0", [](S s) { return service_of(s).queue == 0; }},
        {Table::service, "queue", "17", [](S s) { return service_of(s).queue == 17; }},
        {Table::service, "queue_timeout", "\"off\"",
         [](S s) { return service_of(s).queue_timeout == Duration{0}; }},
        {Table::service, "queue_timeout", "\"1ms\"",
         [](S s) { return service_of(s).queue_timeout == 1ms; }},
        {Table::service, "when_all_down", "\"try_all\"",
         [](S s) { return service_of(s).when_all_down == WhenAllDown::try_all; }},
        {Table::service, "when_all_down", "\"refuse\"",
         [](S s) { return service_of(s).when_all_down == WhenAllDown::refuse; }},

        {Table::check, "type", "\"none\"", [](S s) { return check_of(s).type == Type::none; }},
        {Table::check, "type", "\"tcp\"", [](S s) { return check_of(s).type == Type::tcp; }},
        {Table::check, "type", "\"mysql\"", [](S s) { return check_of(s).type == Type::mysql; }},
        {Table::check, "type", "\"postgres\"",
         [](S s) { return check_of(s).type == Type::postgres; }},
        {Table::check, "type", "\"redis\"", [](S s) { return check_of(s).type == Type::redis; }},
        {Table::check, "type", "\"http\"", [](S s) { return check_of(s).type == Type::http; }},
        {Table::check, "interval", "\"10ms\"", [](S s) { return check_of(s).interval == 10ms; }},
        {Table::check, "fast_interval", "\"1h\"",
         [](S s) { return check_of(s).fast_interval == 1h; }},
        {Table::check, "timeout", "\"3s\"", [](S s) { return check_of(s).timeout == 3s; }},
        {Table::check, "rise", "1", [](S s) { return check_of(s).rise == 1; }},
        {Table::check, "fall", "1000", [](S s) { return check_of(s).fall == 1000; }},
        {Table::check, "address", "\"backend\"", [](S s) { return !check_of(s).address; }},
        {Table::check, "address", "\"[::1]:8008\"",
         [](S s) { return check_of(s).address == Address::parse("[::1]:8008"); }},
        {Table::check, "address", "\"unix:/run/x\"",
         [](S s) { return check_of(s).address == Address::parse("unix:/run/x"); }},
        {Table::check, "port", "\"backend\"", [](S s) { return !check_of(s).port; }},
        {Table::check, "port", "8008", [](S s) { return check_of(s).port == 8008; }},
        {Table::check, "send", "\"PING\\r\\n\"",
         [](S s) { return check_of(s).send == "PING\r\n"; }},
        {Table::check, "send", "\"a\\u0000b\"",
         [](S s) { return check_of(s).send == std::string("a\0b", 3); }},
        {Table::check, "expect", "\"+PONG\"", [](S s) { return check_of(s).expect == "+PONG"; }},
        {Table::check, "user", "\"eplb\"", [](S s) { return check_of(s).user == "eplb"; }},
        {Table::check, "database", "\"app\"", [](S s) { return check_of(s).database == "app"; }},
        {Table::check, "password", "\"s3 cret\"",
         [](S s) { return check_of(s).password == "s3 cret"; }},
        {Table::check, "path", "\"/primary\"", [](S s) { return check_of(s).path == "/primary"; }},
        {Table::check, "host", "\"db.example\"",
         [](S s) { return check_of(s).host == "db.example"; }},
        {Table::check, "status", "200",
         [](S s) { return check_of(s).statuses == std::vector{Range{200, 200}}; }},
        {Table::check, "status", "\"100-599\"",
         [](S s) { return check_of(s).statuses == std::vector{Range{100, 599}}; }},
        {Table::check, "status", "[\"200-299\", 401, \"403\"]",
         [](S s) {
             return check_of(s).statuses ==
                    std::vector{Range{200, 299}, Range{401, 401}, Range{403, 403}};
         }},

        {Table::own, "name", "\"mysql\"", [](S s) { return service_of(s).name == "mysql"; }},
        {Table::own, "name", "'db-1.example:[5],a=b'",
         [](S s) { return service_of(s).name == "db-1.example:[5],a=b"; }},
        {Table::own, "listen", "\":1\"", [](S s) { return listeners_of(s) == Lines{":1"}; }},
        {Table::own, "listen", "[\":1\", \"unix:/run/x\", \"host:2\",]",
         [](S s) { return listeners_of(s) == Lines{":1", "unix:/run/x", "host:2"}; }},

        {Table::backend, "address", "\"[::1]:1\"",
         [](S s) { return second_backend_of(s).address.text == "[::1]:1"; }},
        {Table::backend, "address", "\"db.example:65535\"",
         [](S s) { return second_backend_of(s).address.text == "db.example:65535"; }},
        {Table::backend, "address", "\"unix:/run/db.sock\"",
         [](S s) { return second_backend_of(s).address.text == "unix:/run/db.sock"; }},
        {Table::backend, "name", "\"db2\"", [](S s) { return second_backend_of(s).name == "db2"; }},
        {Table::backend, "backup", "true", [](S s) { return second_backend_of(s).backup; }},
        {Table::backend, "backup", "false", [](S s) { return !second_backend_of(s).backup; }},
        {Table::backend, "max_connections", "0",
         [](S s) { return second_backend_of(s).max_connections == 0; }},
        {Table::backend, "max_connections", "151",
         [](S s) { return second_backend_of(s).max_connections == 151; }},
        {Table::backend, "weight", "0", [](S s) { return second_backend_of(s).weight == 0; }},
        {Table::backend, "weight", "65535",
         [](S s) { return second_backend_of(s).weight == 65535; }},
    };
    const std::vector<std::pair<std::string, std::vector<Cidr> ServiceConfig::*>> lists{
        {"allow", &ServiceConfig::allow},
        {"deny", &ServiceConfig::deny},
        {"trusted_proxies", &ServiceConfig::trusted_proxies},
    };
    for (const auto& [key, list] : lists) {
        const auto is = [member = list](const Lines& wanted) {
            return [member, wanted](S s) {
                Lines texts;
                for (const Cidr& network : service_of(s).*member)
                    texts.push_back(network.to_string());
                return texts == wanted;
            };
        };
        rows.push_back({Table::service, key, "[]", is({})});
        rows.push_back({Table::service, key, "\"10.0.0.0/8\"", is({"10.0.0.0/8"})});
        rows.push_back({Table::service, key, "\"unix\"", is({"unix:"})});
        rows.push_back({Table::service, key, "[\"2001:db8::/32\", \"unix:\", \"10.1.2.3\"]",
                        is({"2001:db8::/32", "unix:", "10.1.2.3"})});
    }
    const std::vector<std::pair<std::string, Duration ServiceConfig::*>> timeouts{
        {"connect_timeout", &ServiceConfig::connect_timeout},
        {"idle_timeout", &ServiceConfig::idle_timeout},
        {"half_close_timeout", &ServiceConfig::half_close_timeout},
        {"drain_timeout", &ServiceConfig::drain_timeout},
    };
    for (const auto& [key, timeout] : timeouts) {
        const auto is = [member = timeout](Duration wanted) {
            return [member, wanted](S s) { return service_of(s).*member == wanted; };
        };
        rows.push_back({Table::service, key, "\"1us\"", is(1us)});
        rows.push_back({Table::service, key, "\"90s\"", is(90s)});
        rows.push_back({Table::service, key, "\"36525d\"", is(std::chrono::hours{24 * 36525})});
        rows.push_back({Table::service, key, "\"off\"", is(Duration{0})});
        rows.push_back({Table::service, key, "\"0\"", is(Duration{0})});
    }
    return rows;
}

struct Bad {
    Table table;
    std::string key;
    std::string value;  ///< as TOML
    std::string message;
};

// For every key that there is: values of a wrong type, and out of range or unknown.
std::vector<Bad> bad_values() {
    using enum Table;
    const std::string no_port = "the port is missing; write host:port, :port or unix:/path";
    const std::string no_name =
        "name: a name is one or more printable ASCII characters without blanks and quotes";
    const std::string only_unix =
        "control: only a Unix socket, like \"unix:/run/eplb/control.sock\": whoever can connect "
        "can reconfigure";
    const std::string no_status =
        "status: expected HTTP statuses like 200, \"200-399\" or [\"200-299\", 401]";
    const std::string file_type = "file: expected a file name, or \"-\" for standard error, got ";
    std::vector<Bad> rows{
        {process, "workers", "0", "workers: 0 is not a whole number from 1 to 256, or \"auto\""},
        {process, "workers", "257",
         "workers: 257 is not a whole number from 1 to 256, or \"auto\""},
        {process, "workers", "-1", "workers: -1 is not a whole number from 1 to 256, or \"auto\""},
        {process, "workers", "\"4\"",
         "workers: expected a whole number from 1 to 256, or \"auto\", got a string"},
        {process, "workers", "\"all\"",
         "workers: expected a whole number from 1 to 256, or \"auto\", got a string"},
        {process, "workers", "1.5",
         "workers: expected a whole number from 1 to 256, or \"auto\", got a number with a "
         "fraction"},
        {process, "max_connections", "0",
         "max_connections: 0 is not a whole number from 1 to 100000000, or \"auto\""},
        {process, "max_connections", "100000001",
         "max_connections: 100000001 is not a whole number from 1 to 100000000, or \"auto\""},
        {process, "max_connections", "\"many\"",
         "max_connections: expected a whole number from 1 to 100000000, or \"auto\", got a "
         "string"},
        {process, "max_connections", "1e3",
         "max_connections: expected a whole number from 1 to 100000000, or \"auto\", got a number "
         "with a fraction"},
        {process, "busy_poll", "50", "busy_poll: a duration needs a unit; did you mean \"50s\"?"},
        {process, "busy_poll", "\"50\"",
         "busy_poll: bad duration \"50\": the unit is missing; did you mean 50s?"},
        {process, "busy_poll", "\"2s\"", "busy_poll: 2s is longer than 1s"},
        {process, "busy_poll", "\"soon\"",
         "busy_poll: bad duration \"soon\": write a whole number and a unit, like 250ms, 5s, 10m "
         "or 2h, or \"off\""},
        {process, "busy_poll", "false",
         "busy_poll: expected a duration like \"5s\", got a boolean"},
        {process, "control", "true",
         "control: expected an address like \"unix:/run/eplb/control.sock\", got a boolean"},
        {process, "control", "\"127.0.0.1:9000\"", only_unix},
        {process, "control", "\":9000\"", only_unix},
        {process, "control", "\"localhost:9000\"", only_unix},
        {process, "control", "\"on\"", "control: bad address \"on\": " + no_port},
        {process, "control", "\"unix:\"",
         "control: bad address \"unix:\": the path is missing; write unix:/path or unix:@name"},

        {log, "level", "\"debgu\"", "unknown level \"debgu\"; did you mean \"debug\"?"},
        {log, "level", "\"loud\"", "unknown level \"loud\"; use debug, info, warning or error"},
        {log, "level", "\"INFO\"", "unknown level \"INFO\"; use debug, info, warning or error"},
        {log, "level", "3", "level: expected debug, info, warning or error, got a number"},
        {log, "format", "\"jsn\"", "unknown format \"jsn\"; did you mean \"json\"?"},
        {log, "format", "\"xml\"", "unknown format \"xml\"; use text or json"},
        {log, "format", "true", "format: expected text or json, got a boolean"},
        {log, "file", "1", file_type + "a number"},
        {log, "file", "\"\"", file_type + "nothing"},
        {log, "file", "\"a\\tb\"", file_type + "control characters"},
        {log, "file", "[\"-\"]", file_type + "an array"},
        {log, "sessions", "\"closed\"", "unknown sessions \"closed\"; did you mean \"close\"?"},
        {log, "sessions", "\"everything\"",
         "unknown sessions \"everything\"; use off, close or open+close"},
        {log, "sessions", "false", "sessions: expected off, close or open+close, got a boolean"},

        {service, "on_remove", "\"drian\"", "unknown on_remove \"drian\"; did you mean \"drain\"?"},
        {service, "on_remove", "\"stop\"", "unknown on_remove \"stop\"; use drain, close or keep"},
        {service, "on_remove", "0", "on_remove: expected drain, close or keep, got a number"},
        {service, "relay", "\"spilce\"", "unknown relay \"spilce\"; did you mean \"splice\"?"},
        {service, "relay", "\"fast\"", "unknown relay \"fast\"; use auto, splice or copy"},
        {service, "relay", "1979-05-27",
         "relay: expected auto, splice or copy, got a date or time"},
        {service, "pipe_size", "65536", "pipe_size: expected a size like \"256KiB\", got a number"},
        {service, "pipe_size", "\"0\"", "pipe_size: 0 is out of range; from 64KiB to 16MiB"},
        {service, "pipe_size", "\"65535\"",
         "pipe_size: 65535 is out of range; from 64KiB to 16MiB"},
        {service, "pipe_size", "\"17MiB\"",
         "pipe_size: 17MiB is out of range; from 64KiB to 16MiB"},
        {service, "pipe_size", "\"64K\"",
         "pipe_size: bad size \"64K\": unknown unit \"K\"; use KiB, MiB or GiB, or none for bytes"},
        {service, "pipe_size", "\"large\"",
         "pipe_size: bad size \"large\": write a whole number and a unit, like 64KiB or 1MiB"},
        {service, "pipe_size", "\"99999999999999999999\"",
         "pipe_size: bad size \"99999999999999999999\": it is too large"},
        {service, "backlog", "0", "backlog: 0 is not a whole number from 1 to 65535"},
        {service, "backlog", "65536", "backlog: 65536 is not a whole number from 1 to 65535"},
        {service, "backlog", "\"4096\"",
         "backlog: expected a whole number from 1 to 65535, got a string"},
        {service, "backlog", "{}", "backlog: expected a whole number from 1 to 65535, got a table"},

        {service, "accept_proxy", "\"v3\"", "unknown accept_proxy \"v3\"; did you mean \"v1\"?"},
        {service, "accept_proxy", "\"proxy\"",
         "unknown accept_proxy \"proxy\"; use off, v1, v2 or any"},
        {service, "accept_proxy", "true",
         "accept_proxy: expected off, v1, v2 or any, got a boolean"},
        {service, "send_proxy", "\"any\"", "unknown send_proxy \"any\"; use off, v1 or v2"},
        {service, "send_proxy", "2", "send_proxy: expected off, v1 or v2, got a number"},
        {service, "proxy_tlvs", "\"crc32\"",
         "proxy_tlvs: there is no \"crc32\"; did you mean \"crc32c\"?"},
        {service, "proxy_tlvs", "\"tls\"",
         "proxy_tlvs: there is no \"tls\"; use crc32c, unique_id or authority"},
        {service, "proxy_tlvs", "true",
         "proxy_tlvs: expected names like [\"crc32c\"], got a boolean"},
        {service, "max_connections_per_source", "-1",
         "max_connections_per_source: -1 is not a whole number from 0 to 100000000"},
        {service, "max_connections_per_source", "100000001",
         "max_connections_per_source: 100000001 is not a whole number from 0 to 100000000"},
        {service, "max_connections_per_source", "\"off\"",
         "max_connections_per_source: expected a whole number from 0 to 100000000, got a string"},
        {service, "connection_rate_per_source", "100",
         "connection_rate_per_source: expected a rate like \"100/s\", or \"off\", got a number"},
        {service, "connection_rate_per_source", "\"100\"",
         "connection_rate_per_source: bad rate \"100\": the period is missing; did you mean "
         "100/s?"},
        {service, "connection_rate_per_source", "\"0/s\"",
         "connection_rate_per_source: bad rate \"0/s\": it lets nothing through; write \"off\" "
         "for no limit"},
        {service, "connection_rate_per_source", "\"5/10x\"",
         "connection_rate_per_source: bad rate \"5/10x\": \"10x\" is not a period; write s, m, h, "
         "10s or 250ms"},
        {service, "nodelay", "\"true\"", "nodelay: expected true or false, got a string"},
        {service, "nodelay", "1", "nodelay: expected true or false, got a number"},
        {service, "keepalive", "\"on\"",
         "keepalive: expected a table like { idle = \"60s\" }, or \"off\", got a string"},
        {service, "keepalive", "60",
         "keepalive: expected a table like { idle = \"60s\" }, or \"off\", got a number"},
        {service, "source", "10",
         "source: expected IP addresses like [\"10.0.0.1\"], got a number"},
        {service, "source", "\"10.0.0.1:80\"",
         "source: \"10.0.0.1:80\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "source", "\"localhost\"",
         "source: \"localhost\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "source", "\"0.0.0.0\"",
         "source: \"0.0.0.0\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "source", "\"::\"",
         "source: \"::\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "source", "\"unix:/x\"",
         "source: \"unix:/x\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "source", "\"\"",
         "source: \"\" is not an IP address of this machine, like 10.0.0.1"},
        {service, "interface", "\"\"", "interface: \"\" is not the name of an interface"},
        {service, "interface", "\"sixteen_letters_\"",
         "interface: \"sixteen_letters_\" is not the name of an interface"},
        {service, "interface", "\"a/b\"", "interface: \"a/b\" is not the name of an interface"},
        {service, "interface", "0", "interface: expected the name of an interface, got a number"},
        {service, "mark", "-1", "mark: -1 is not a whole number from 0 to 4294967295"},
        {service, "mark", "4294967296",
         "mark: 4294967296 is not a whole number from 0 to 4294967295"},
        {service, "mark", "\"0x1\"",
         "mark: expected a whole number from 0 to 4294967295, got a string"},
        {service, "congestion", "\"a b\"", "congestion: \"a b\" is not a congestion control"},
        {service, "congestion", "\"\"", "congestion: \"\" is not a congestion control"},
        {service, "congestion", "true", "congestion: expected a congestion control, got a boolean"},
        {service, "transparent", "\"yes\"", "transparent: expected true or false, got a string"},
        {service, "fast_open", "65536", "fast_open: 65536 is not a whole number from 0 to 65535"},
        {service, "fast_open", "true",
         "fast_open: expected a whole number from 0 to 65535, got a boolean"},
        {service, "defer_accept", "\"999ms\"", "defer_accept: 999ms is shorter than 1s"},
        {service, "defer_accept", "\"61m\"", "defer_accept: 61m is longer than 1h"},
        {service, "defer_accept", "true",
         "defer_accept: expected a duration like \"5s\", got a boolean"},
        {service, "unix_mode", "\"0680\"",
         "unix_mode: expected octal digits in quotes, like \"0660\""},
        {service, "unix_mode", "\"1777\"",
         "unix_mode: expected octal digits in quotes, like \"0660\""},
        {service, "unix_mode", "\"\"", "unix_mode: expected octal digits in quotes, like \"0660\""},
        {service, "unix_mode", "0o660",
         "unix_mode: expected octal digits in quotes, like \"0660\""},
        {service, "unix_owner", "\"\"",
         "unix_owner: expected a user like \"mysql\", or \"user:group\", got a string"},
        {service, "unix_owner", "0",
         "unix_owner: expected a user like \"mysql\", or \"user:group\", got a number"},
        {service, "unix_owner", "\"no such user\"",
         "unix_owner: there is no user \"no such user\""},
        {service, "unix_owner", "\"root:no such group\"",
         "unix_owner: there is no group \"no such group\""},
        {service, "unix_owner", "\"-1\"", "unix_owner: there is no user \"-1\""},
        {service, "unix_owner", "\"4294967295\"",
         "unix_owner: there is no user \"4294967295\""},  // chown(2): leave it
        {service, "balance", "\"leastcon\"",
         "unknown balance \"leastcon\"; did you mean \"leastconn\"?"},
        {service, "eject_after", "-1", "eject_after: -1 is not a whole number from 0 to 1000000"},
        {service, "ejection_time", "\"off\"", "ejection_time: this cannot be turned off"},
        {service, "max_ejection_time", "\"0s\"", "max_ejection_time: this cannot be turned off"},
        {service, "max_ejected_percent", "101",
         "max_ejected_percent: 101 is not a whole number from 0 to 100"},
        {service, "on_down", "\"clos\"", "unknown on_down \"clos\"; did you mean \"close\"?"},
        {service, "slow_start", "30", "slow_start: a duration needs a unit; did you mean \"30s\"?"},
        {service, "rebalance", "true", "rebalance: expected off or idle, got a boolean"},
        {service, "rebalance_idle", "\"9ms\"", "rebalance_idle: 9ms is shorter than 10ms"},
        {service, "retries", "-1", "retries: -1 is not a whole number from 0 to 1000, or \"auto\""},
        {service, "retries", "1001",
         "retries: 1001 is not a whole number from 0 to 1000, or \"auto\""},
        {service, "retries", "\"all\"",
         "retries: expected a whole number from 0 to 1000, or \"auto\", got a string"},
        {service, "max_lifetime", "5",
         "max_lifetime: a duration needs a unit; did you mean \"5s\"?"},
        {service, "max_lifetime_jitter", "101",
         "max_lifetime_jitter: 101 is not a whole number from 0 to 100"},
        {service, "max_lifetime_jitter", "\"10%\"",
         "max_lifetime_jitter: expected a whole number from 0 to 100, got a string"},
        {service, "dead_peer_timeout", "\"99ms\"", "dead_peer_timeout: 99ms is shorter than 100ms"},
        {service, "dead_peer_timeout", "\"25h\"", "dead_peer_timeout: 25h is longer than 1d"},
        {service, "max_connections", "-1",
         "max_connections: -1 is not a whole number from 0 to 100000000"},
        {service, "max_connections", "\"auto\"",
         "max_connections: expected a whole number from 0 to 100000000, got a string"},
        {service, "connection_rate", "100",
         "connection_rate: expected a rate like \"100/s\", or \"off\", got a number"},
        {service, "over_limit", "\"weit\"", "unknown over_limit \"weit\"; did you mean \"wait\"?"},
        {service, "queue", "-1", "queue: -1 is not a whole number from 0 to 100000000"},
        {service, "queue_timeout", "true",
         "queue_timeout: expected a duration like \"5s\", got a boolean"},
        {service, "when_all_down", "\"tryall\"",
         "unknown when_all_down \"tryall\"; did you mean \"try_all\"?"},

        {own, "name", "\"\"", no_name},
        {own, "name", "\"two words\"", no_name},
        {own, "name", "\"\xc3\xa4\"", no_name},
        {own, "name", "5", "name: expected a name, got a number"},
        {own, "listen", "5555", "listen: expected addresses like [\":5555\"], got a number"},
        {own, "listen", "\"5555\"", "listen: bad address \"5555\": " + no_port},
        {own, "listen", "\":0\"", "listen: bad address \":0\": ports are numbers from 1 to 65535"},
        {own, "listen", "\"localhost:0\"",
         "listen: bad address \"localhost:0\": ports are numbers from 1 to 65535"},
        {own, "listen", "\":65536\"",
         "listen: bad address \":65536\": \"65536\" is not a port; ports are numbers up to 65535"},
        {own, "listen", "\":1,:2\"",
         "listen: bad address \":1,:2\": an IPv6 address needs brackets: [address]:port"},
        {own, "listen", "[]", "listen: expected at least one address, got none"},
        {own, "listen", "{}", "listen: expected addresses like [\":5555\"], got a table"},

        {dns, "servers", "\"ns.example\"",
         "servers: \"ns.example\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "\"0.0.0.0\"",
         "servers: \"0.0.0.0\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "\"192.0.2.1:0\"",
         "servers: \"192.0.2.1:0\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "\"unix:/x\"",
         "servers: \"unix:/x\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "\"fe80::1%lo\"",
         "servers: \"fe80::1%lo\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "\"\"",
         "servers: \"\" is not the address of a name server; write \"192.0.2.1\" or "
         "\"[2001:db8::1]:53\""},
        {dns, "servers", "53", "servers: expected addresses of name servers, got a number"},
        {dns, "min_ttl", "\"99ms\"", "min_ttl: 99ms is shorter than 100ms"},
        {dns, "min_ttl", "\"off\"", "min_ttl: this cannot be turned off"},
        {dns, "max_ttl", "\"25h\"", "max_ttl: 25h is longer than 1d"},
        {dns, "max_ttl", "0", "max_ttl: a duration needs a unit; did you mean \"5s\"?"},
        {dns, "timeout", "\"61s\"", "timeout: 61s is longer than 1m"},
        {dns, "timeout", "true", "timeout: expected a duration like \"5s\", got a boolean"},
        {dns, "family", "\"ipv5\"", "unknown family \"ipv5\"; did you mean \"ipv4\"?"},
        {dns, "family", "4", "family: expected auto, both, ipv4 or ipv6, got a number"},
        {dns, "missing", "\"wate\"", "unknown missing \"wate\"; did you mean \"wait\"?"},
        {dns, "missing", "true", "missing: expected wait or fail, got a boolean"},
        {dns, "on_absent", "\"kep\"", "unknown on_absent \"kep\"; did you mean \"keep\"?"},
        {dns, "on_absent", "0", "on_absent: expected keep, drain or close, got a number"},
        {backend, "address", "\"srv:\"",
         "address: bad address \"srv:\": \"\" is not the name of a service; write "
         "srv:_mysql._tcp.example"},
        {backend, "address", "\"srv:_mysql._tcp.example:3306\"",
         "address: bad address \"srv:_mysql._tcp.example:3306\": \"_mysql._tcp.example:3306\" is "
         "not the name of a service; write srv:_mysql._tcp.example"},
        {backend, "address", "3306",
         "address: expected an address like \"127.0.0.1:3306\", got a number"},
        {backend, "address", "[\"127.0.0.1:1\"]",
         "address: expected an address like \"127.0.0.1:3306\", got an array"},
        {backend, "address", "\"\"", "address: bad address \"\": it is empty"},
        {backend, "address", "\"127.0.0.1\"", "address: bad address \"127.0.0.1\": " + no_port},
        {backend, "address", "\"127.0.0.1:0\"",
         "address: bad address \"127.0.0.1:0\": ports are numbers from 1 to 65535"},
        {backend, "address", "\"300.1.1.1:1\"",
         "address: bad address \"300.1.1.1:1\": \"300.1.1.1\" is not an IP address"},
        {backend, "address", "\":3306\"",
         "address: \":3306\" names no host; did you mean 127.0.0.1:3306?"},
        {backend, "address", "\"0.0.0.0:3306\"",
         "address: \"0.0.0.0:3306\" names no host; did you mean 127.0.0.1:3306?"},
        {backend, "name", "\"a\\\"b\"", no_name},
        {backend, "name", "[\"a\"]", "name: expected a name, got an array"},
        {check, "type", "\"mysq\"", "unknown type \"mysq\"; did you mean \"mysql\"?"},
        {check, "interval", "\"off\"", "interval: this cannot be turned off"},
        {check, "interval", "\"9ms\"", "interval: 9ms is shorter than 10ms"},
        {check, "fast_interval", "1",
         "fast_interval: a duration needs a unit; did you mean \"1s\"?"},
        {check, "timeout", "\"off\"", "timeout: this cannot be turned off"},
        {check, "rise", "0", "rise: 0 is not a whole number from 1 to 1000"},
        {check, "fall", "1001", "fall: 1001 is not a whole number from 1 to 1000"},
        {check, "address", "\"db.example:80\"",
         "address: \"db.example:80\" is a name; write its address"},
        {check, "address", "\":80\"", "address: nobody can be asked at \":80\""},
        {check, "address", "\"127.0.0.1:0\"", "address: nobody can be asked at \"127.0.0.1:0\""},
        {check, "address", "80",
         "address: expected an address like \"10.0.0.1:8008\", or \"backend\", got a number"},
        {check, "port", "0", "port: 0 is not a whole number from 1 to 65535"},
        {check, "port", "\"http\"", "port: expected a whole number from 1 to 65535, got a string"},
        {check, "send", "1", "send: expected a string, got a number"},
        {check, "expect", "\"" + std::string(4097, 'x') + "\"", "expect: longer than 4096 bytes"},
        {check, "user", "\"a\\u0000b\"", "user: a user's name has no zero byte"},
        {check, "database", "\"a\\u0000b\"", "database: a database's name has no zero byte"},
        {check, "password", "true", "password: expected a string, got a boolean"},
        {check, "path", "\"health\"",
         "path: expected a path like \"/health\", of printable ASCII without blanks"},
        {check, "path", "\"/a b\"",
         "path: expected a path like \"/health\", of printable ASCII without blanks"},
        {check, "host", "\"a\\r\\nb\"",
         "host: expected a host name, of printable ASCII without blanks"},
        {check, "status", "99", no_status},
        {check, "status", "\"399-200\"", no_status},
        {check, "status", "[]", no_status},
        {check, "status", "\"2xx\"", no_status},
        {check, "status", "2.5", no_status},
        {backend, "backup", "1", "backup: expected true or false, got a number"},
        {backend, "max_connections", "-1",
         "max_connections: -1 is not a whole number from 0 to 100000000"},
        {backend, "max_connections", "\"off\"",
         "max_connections: expected a whole number from 0 to 100000000, got a string"},
        {backend, "weight", "-1", "weight: -1 is not a whole number from 0 to 65535"},
        {backend, "weight", "65536", "weight: 65536 is not a whole number from 0 to 65535"},
        {backend, "weight", "\"1\"",
         "weight: expected a whole number from 0 to 65535, got a string"},
        {backend, "weight", "0.5",
         "weight: expected a whole number from 0 to 65535, got a number with a fraction"},
    };
    for (const std::string key : {"allow", "deny", "trusted_proxies"}) {
        rows.push_back(
            {service, key, "10", key + ": expected networks like [\"10.0.0.0/8\"], got a number"});
        rows.push_back(
            {service, key, "{}", key + ": expected networks like [\"10.0.0.0/8\"], got a table"});
        rows.push_back({service, key, "\"10.0.0.1/8\"",
                        key + ": bad network \"10.0.0.1/8\": it has bits set behind the prefix; "
                              "did you mean 10.0.0.0/8?"});
        rows.push_back({service, key, "\"10.0.0.0/33\"",
                        key + ": bad network \"10.0.0.0/33\": an IPv4 prefix has 0 to 32 bits"});
        rows.push_back({service, key, "\"\"", key + ": bad network \"\": it is empty"});
        rows.push_back({service, key, "\"unix:/x\"",
                        key + ": bad network \"unix:/x\": clients of Unix sockets have no path; "
                              "write unix: for all of them"});
        rows.push_back({service, key, "\"localhost\"",
                        key + ": bad network \"localhost\": \"localhost\" is not an IP address; "
                              "networks are like 10.0.0.0/8, 2001:db8::/32 or unix:"});
    }
    for (const std::string key :
         {"connect_timeout", "idle_timeout", "half_close_timeout", "drain_timeout"}) {
        rows.push_back(
            {service, key, "5", key + ": a duration needs a unit; did you mean \"5s\"?"});
        rows.push_back({service, key, "\"5min\"",
                        key + ": bad duration \"5min\": unknown unit \"min\"; use us, ms, s, m, h "
                              "or d"});
        rows.push_back({service, key, "\"-1s\"",
                        key + ": bad duration \"-1s\": write a whole number and a unit, like "
                              "250ms, 5s, 10m or 2h, or \"off\""});
        rows.push_back({service, key, "\"36526d\"",
                        key + ": bad duration \"36526d\": it is longer than a century"});
        rows.push_back({service, key, "07:32:00",
                        key + ": expected a duration like \"5s\", got a date or time"});
        rows.push_back(
            {service, key, "[]", key + ": expected a duration like \"5s\", got an array"});
    }
    return rows;
}

template <class Rows>
Lines keys_of(const Rows& rows, Table table) {
    std::set<std::string> keys;
    for (const auto& row : rows) {
        if (row.table == table) keys.insert(row.key);
    }
    return {keys.begin(), keys.end()};
}

template <class Values>
Lines keys_of(const KeyTable<Values>& table) {
    std::set<std::string> keys;
    for (const KeyInfo& key : table) keys.insert(key.name);
    return {keys.begin(), keys.end()};
}

// What the command line would say.
Node word(std::string text, std::string flag) {
    Node node;
    node.text = std::move(text);
    node.untyped = true;
    node.place.flag = std::move(flag);
    return node;
}

Node table_of(std::vector<Member> members) {
    Node node;
    node.kind = Node::Kind::table;
    node.members = std::move(members);
    return node;
}

Member option(std::string key, std::string value, const std::string& flag) {
    Place place;
    place.flag = flag;
    return {std::move(key), place, word(std::move(value), flag)};
}

}  // namespace

TEST_CASE("config reader: every key has a good and a bad value in these tests",
          "[control][config_reader]") {
    const auto good = good_values();
    const auto bad = bad_values();
    CHECK(keys_of(good, Table::process) == keys_of(process_keys()));
    CHECK(keys_of(good, Table::log) == keys_of(log_keys()));
    CHECK(keys_of(good, Table::dns) == keys_of(dns_keys()));
    CHECK(keys_of(good, Table::service) == keys_of(service_keys()));
    CHECK(keys_of(good, Table::own) == keys_of(own_service_keys()));
    CHECK(keys_of(good, Table::check) == keys_of(check_keys()));
    CHECK(keys_of(bad, Table::check) == keys_of(check_keys()));
    CHECK(keys_of(good, Table::backend) == keys_of(backend_keys()));
    CHECK(keys_of(bad, Table::process) == keys_of(process_keys()));
    CHECK(keys_of(bad, Table::log) == keys_of(log_keys()));
    CHECK(keys_of(bad, Table::dns) == keys_of(dns_keys()));
    CHECK(keys_of(bad, Table::service) == keys_of(service_keys()));
    CHECK(keys_of(bad, Table::own) == keys_of(own_service_keys()));
    CHECK(keys_of(bad, Table::backend) == keys_of(backend_keys()));
}

TEST_CASE("config reader: no key is there twice, nor called like a table",
          "[control][config_reader]") {
    const auto check = [](const auto& table) {
        CHECK(keys_of(table).size() == table.size());
        for (const KeyInfo& key : table) {
            INFO(key.name);
            CHECK(key.name != "log");
            CHECK(key.name != "defaults");
            CHECK(key.name != "service");
            CHECK(key.name != "backend");
        }
    };
    check(process_keys());
    check(log_keys());
    check(dns_keys());
    check(service_keys());
    check(own_service_keys());
    check(check_keys());
    check(backend_keys());
    for (const KeyInfo& own : own_service_keys())
        CHECK(std::ranges::count(service_keys(), own.name, &KeyInfo::name) == 0);
}

TEST_CASE("config reader: every key sets what it is about", "[control][config_reader]") {
    for (const Good& row : good_values()) {
        const std::string line = row.key + " = " + row.value;
        const std::string text = file_with(row.table, row.key, line);
        INFO(text);
        const Outcome outcome = read(text);
        for (const std::string& told : outcome.told) CHECK_THAT(told, contains(": warning: "));
        REQUIRE_FALSE(outcome.settings.services.empty());
        CHECK(row.holds(outcome.settings));
    }
}

TEST_CASE("config reader: what all services may have can stand in [defaults]",
          "[control][config_reader]") {
    for (const Good& row : good_values()) {
        if (row.table != Table::service) continue;
        const std::string line = row.key + " = " + row.value;
        INFO(line);
        const Outcome outcome = read(file_with_default(line));
        for (const std::string& told : outcome.told) CHECK_THAT(told, contains(": warning: "));
        CHECK(row.holds(outcome.settings));
        const Origin origin = outcome.settings.services.at(0).origin_of(row.key);
        CHECK(origin.kind == Origin::Kind::file);
        CHECK(origin.from_defaults);
        CHECK(origin.place.line == 2);
    }
}

TEST_CASE("config reader: a bad value is told at its place, and nothing else is",
          "[control][config_reader]") {
    for (const Bad& row : bad_values()) {
        const std::string line = row.key + " = " + row.value;
        const std::string text = file_with(row.table, row.key, line);
        INFO(text);
        const auto before = text.begin() + static_cast<std::ptrdiff_t>(text.find(line));
        const std::string expected =
            fmt::format("{}:{}: error: {}", 1 + std::count(text.begin(), before, '\n'),
                        row.key.size() + 4, row.message);
        CHECK(told_of(text) == Lines{expected});
        if (row.table != Table::service) continue;
        CHECK(told_of(file_with_default(line)) ==
              Lines{fmt::format("2:{}: error: {}", row.key.size() + 4, row.message)});
    }
}

TEST_CASE("config reader: a bad value leaves what its key would have set as it was",
          "[control][config_reader]") {
    for (const Bad& row : bad_values()) {
        const std::string line = row.key + " = " + row.value;
        INFO(line);
        const Settings settings = read(file_with(row.table, row.key, line)).settings;
        CHECK(settings.process.values.workers == ProcessValues{}.workers);
        CHECK(settings.process.values.max_connections == ProcessValues{}.max_connections);
        CHECK(settings.process.values.control == ProcessValues{}.control);
        CHECK(settings.process.origins.empty());
        CHECK(settings.log.values.level == LogValues{}.level);
        CHECK(settings.log.values.file == LogValues{}.file);
        CHECK(settings.log.origins.empty());
        REQUIRE(settings.services.size() == 1);
        CHECK(service_of(settings).idle_timeout == ServiceConfig{}.idle_timeout);
        CHECK(service_of(settings).pipe_bytes == ServiceConfig{}.pipe_bytes);
        CHECK_FALSE(settings.services[0].origins.contains(row.key));
    }
}

TEST_CASE("config reader: the smallest file is the library's defaults",
          "[control][config_reader]") {
    const Outcome outcome = read(smallest);
    CHECK(outcome.told == Lines{});
    const Settings& settings = outcome.settings;
    const Config config;
    CHECK(settings.process.values.workers == config.workers);
    CHECK(settings.process.values.busy_poll == config.busy_poll);
    CHECK(settings.process.values.max_connections == config.max_connections);
    CHECK(settings.process.values.control == "off");
    CHECK(settings.process.origins.empty());
    CHECK(settings.log.values.level == LogLevel::info);
    CHECK(settings.log.values.format == LogFormat::text);
    CHECK(settings.log.values.file == "-");
    CHECK(settings.log.values.sessions == SessionLog::close);
    CHECK(settings.log.origins.empty());
    REQUIRE(settings.services.size() == 1);
    const Service& service = settings.services[0];
    const ServiceConfig expected;
    CHECK(service.values.config.name == ":5555");
    CHECK(listeners_of(settings) == Lines{":5555"});
    CHECK(service.values.config.connect_timeout == expected.connect_timeout);
    CHECK(service.values.config.idle_timeout == expected.idle_timeout);
    CHECK(service.values.config.half_close_timeout == expected.half_close_timeout);
    CHECK(service.values.config.drain_timeout == expected.drain_timeout);
    CHECK(service.values.config.on_remove == expected.on_remove);
    CHECK(service.values.config.relay == expected.relay);
    CHECK(service.values.config.pipe_bytes == expected.pipe_bytes);
    CHECK(service.values.config.backlog == expected.backlog);
    CHECK(service.values.config.socket == expected.socket);
    CHECK(service.values.config.accept_proxy == AcceptProxy::off);
    CHECK(service.values.config.send_proxy == SendProxy::off);
    CHECK(service.values.config.allow.empty());
    CHECK(service.values.config.deny.empty());
    CHECK(service.values.config.max_connections_per_source == 0);
    CHECK(service.values.config.connection_rate_per_source.unlimited());
    CHECK(service.values.config.listen.empty());
    CHECK(service.values.config.backends.empty());
    REQUIRE(service.backends.size() == 1);
    CHECK(service.backends[0].values.address.text == "127.0.0.1:3306");
    CHECK(service.backends[0].values.name.empty());
    CHECK(service.backends[0].values.weight == 1);
}

TEST_CASE("config reader: services and backends keep their order and what is theirs",
          "[control][config_reader]") {
    const Outcome outcome = read(
        "[defaults]\nidle_timeout = \"1h\"\nrelay = \"copy\"\n"
        "[[service]]\nname = \"b\"\nlisten = [\":2\", \":1\"]\nrelay = \"splice\"\n"
        "[[service.backend]]\naddress = \"10.0.0.2:1\"\nname = \"y\"\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\nweight = 7\n"
        "[[service]]\nlisten = \":3\"\n"
        "[[service.backend]]\naddress = \"10.0.0.3:1\"\n");
    CHECK(outcome.told == Lines{});
    const auto& services = outcome.settings.services;
    REQUIRE(services.size() == 2);
    CHECK(services[0].values.config.name == "b");
    CHECK(services[0].values.listen.at(0).text == ":2");
    CHECK(services[0].values.listen.at(1).text == ":1");
    CHECK(services[0].values.config.relay == RelayMode::splice);
    CHECK(services[0].values.config.idle_timeout == 1h);
    REQUIRE(services[0].backends.size() == 2);
    CHECK(services[0].backends[0].values.name == "y");
    CHECK(services[0].backends[0].values.weight == 1);
    CHECK(services[0].backends[1].values.name.empty());
    CHECK(services[0].backends[1].values.weight == 7);
    CHECK(services[1].values.config.name == ":3");
    CHECK(services[1].values.config.relay == RelayMode::copy);
    CHECK(services[1].values.config.idle_timeout == 1h);
    CHECK(services[1].backends.size() == 1);
}

TEST_CASE("config reader: it is known where everything was said", "[control][config_reader]") {
    const Outcome outcome = read(
        "workers = 2\n[log]\nlevel = \"debug\"\n[defaults]\nrelay = \"copy\"\nbacklog = 1\n"
        "[[service]]\nlisten = \":1\"\nbacklog = 2\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\nweight = 3\n");
    const auto where = [](const Origin& origin) {
        if (origin.kind == Origin::Kind::built_in) return std::string{"built in"};
        return fmt::format("{}:{}{}", origin.place.line, origin.place.column,
                           origin.from_defaults ? " defaults" : "");
    };
    const Settings& settings = outcome.settings;
    CHECK(where(settings.process.origin_of("workers")) == "1:11");
    CHECK(where(settings.process.origin_of("control")) == "built in");
    CHECK(where(settings.process.origin_of("no such key")) == "built in");
    CHECK(where(settings.log.origin_of("level")) == "3:9");
    const Service& service = settings.services.at(0);
    CHECK(service.place.line == 7);
    CHECK(where(service.origin_of("relay")) == "5:9 defaults");
    CHECK(where(service.origin_of("backlog")) == "9:11");
    CHECK(where(service.origin_of("listen")) == "8:10");
    CHECK(where(service.origin_of("name")) == "built in");
    CHECK(service.backends.at(0).place.line == 10);
    CHECK(where(service.backends[0].origin_of("weight")) == "12:10");
    CHECK(where(service.backends[0].origin_of("name")) == "built in");
    CHECK(service.backends[0].values.address.place.line == 11);
}

TEST_CASE("config reader: tables in one line are tables", "[control][config_reader]") {
    const Outcome outcome = read(
        "log = {level = \"debug\"}\n"
        "service = [{listen = \":1\", backend = [{address = \"10.0.0.1:1\", weight = 2}]}]\n");
    CHECK(outcome.told == Lines{});
    CHECK(outcome.settings.log.values.level == LogLevel::debug);
    CHECK(outcome.settings.services.at(0).backends.at(0).values.weight == 2);
}

TEST_CASE("config reader: a key that nobody knows is told, with what it looks like",
          "[control][config_reader]") {
    const std::string in_service{service_head};
    const std::string backend{first_backend};
    const std::vector<std::pair<std::string, Lines>> table{
        {"wrokers = 2\n" + smallest,
         {"1:1: error: unknown key \"wrokers\"; did you mean \"workers\"?"}},
        {"colour = 2\n" + smallest, {"1:1: error: unknown key \"colour\""}},
        {"\"two words\" = 2\n" + smallest, {"1:1: error: unknown key \"two words\""}},
        {"Workers = 2\n" + smallest,
         {"1:1: error: unknown key \"Workers\"; did you mean \"workers\"?"}},
        {"[lgo]\nlevel = \"info\"\n" + smallest,
         {"1:2: error: unknown key \"lgo\"; did you mean \"log\"?"}},
        {"[default]\nrelay = \"copy\"\n" + smallest,
         {"1:2: error: unknown key \"default\"; did you mean \"defaults\"?"}},
        {"[log]\nlevle = \"info\"\n" + smallest,
         {"2:1: error: unknown key \"levle\" in [log]; did you mean \"level\"?"}},
        {"timeout = \"1s\"\n" + smallest,
         {"1:1: error: unknown key \"timeout\"; it belongs into [dns]"}},
        {"[dns]\nsevers = []\n" + smallest,
         {"2:1: error: unknown key \"severs\" in [dns]; did you mean \"servers\"?"}},
        {"[log]\ncolour = true\n" + smallest, {"2:1: error: unknown key \"colour\" in [log]"}},
        {"[defaults]\nidel_timeout = \"5s\"\n" + smallest,
         {"2:1: error: unknown key \"idel_timeout\" in [defaults]; did you mean "
          "\"idle_timeout\"?"}},
        {in_service + "  realy = \"copy\"\n" + backend,
         {"3:3: error: unknown key \"realy\" in [[service]]; did you mean \"relay\"?"}},
        {in_service + "lisen = \":5556\"\n" + backend,
         {"3:1: error: unknown key \"lisen\" in [[service]]; did you mean \"listen\"?"}},
        {in_service + backend + "[[service.backends]]\naddress = \"10.0.0.1:1\"\n",
         {"5:11: error: unknown key \"backends\" in [[service]]; did you mean \"backend\"?"}},
        {in_service + backend + "wieght = 2\n",
         {"5:1: error: unknown key \"wieght\" in [[service.backend]]; did you mean \"weight\"?"}},
        {in_service + backend + "port = 3306\n",
         {"5:1: error: unknown key \"port\" in [[service.backend]]"}},
        {in_service + backend + "[service.backend.x]\n",
         {"5:18: error: unknown key \"x\" in [[service.backend]]"}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(told_of(text) == expected);
    }
}

TEST_CASE("config reader: a key in the wrong table is told where it belongs",
          "[control][config_reader]") {
    const std::string in_service{service_head};
    const std::string backend{first_backend};
    const std::vector<std::pair<std::string, Lines>> table{
        {"level = \"info\"\n" + smallest,
         {"1:1: error: unknown key \"level\"; it belongs into [log]"}},
        {"sessions = \"off\"\n" + smallest,
         {"1:1: error: unknown key \"sessions\"; it belongs into [log]"}},
        {"relay = \"copy\"\n" + smallest,
         {"1:1: error: unknown key \"relay\"; it belongs into [[service]] or [defaults]"}},
        {"listen = \":5555\"\n" + smallest,
         {"1:1: error: unknown key \"listen\"; it belongs into [[service]]"}},
        {"address = \"10.0.0.1:1\"\n" + smallest,
         {"1:1: error: unknown key \"address\"; it belongs into [[service.backend]]"}},
        {"[log]\nworkers = 2\n" + smallest,
         {"2:1: error: unknown key \"workers\" in [log]; it belongs above all [tables]"}},
        {"[log]\nrelay = \"copy\"\n" + smallest,
         {"2:1: error: unknown key \"relay\" in [log]; it belongs into [[service]] or "
          "[defaults]"}},
        {"[defaults]\nname = \"x\"\n" + smallest,
         {"2:1: error: unknown key \"name\" in [defaults]; it belongs into [[service]]"}},
        {"[defaults]\nlisten = \":1\"\n" + smallest,
         {"2:1: error: unknown key \"listen\" in [defaults]; it belongs into [[service]]"}},
        {"[defaults]\nweight = 1\n" + smallest,
         {"2:1: error: unknown key \"weight\" in [defaults]; it belongs into "
          "[[service.backend]]"}},
        {"[defaults]\nlevel = \"info\"\n" + smallest,
         {"2:1: error: unknown key \"level\" in [defaults]; it belongs into [log]"}},
        {in_service + "weight = 1\n" + backend,
         {"3:1: error: unknown key \"weight\" in [[service]]; it belongs into "
          "[[service.backend]]"}},
        {in_service + "control = \"off\"\n" + backend,
         {"3:1: error: unknown key \"control\" in [[service]]; it belongs above all [tables]"}},
        {in_service + backend + "relay = \"copy\"\n",
         {"5:1: error: unknown key \"relay\" in [[service.backend]]; it belongs into [[service]] "
          "or [defaults]"}},
        {in_service + backend + "workers = 2\n",
         {"5:1: error: unknown key \"workers\" in [[service.backend]]; it belongs above all "
          "[tables]"}},
        {in_service + backend + "listen = \":1\"\n",
         {"5:1: error: unknown key \"listen\" in [[service.backend]]; it belongs into "
          "[[service]]"}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(told_of(text) == expected);
    }
}

TEST_CASE("config reader: a table in the wrong place is told where it belongs",
          "[control][config_reader]") {
    // The likeliest slip of all.
    const Lines backend =
        told_of(std::string{service_head} + "[[backend]]\naddress = \"127.0.0.1:3306\"\n");
    REQUIRE_FALSE(backend.empty());
    CHECK_THAT(backend.back(), contains("unknown key \"backend\""));
    CHECK_THAT(backend.back(), contains("[[service.backend]]"));
    const Lines log = told_of(std::string{service_head} + std::string{first_backend} +
                              "[service.log]\nlevel = \"info\"\n");
    REQUIRE(log.size() == 1);
    CHECK_THAT(log[0], contains("unknown key \"log\" in [[service]]"));
    CHECK_THAT(log[0], contains("[log]"));
}

TEST_CASE("config reader: a key that is given twice is an error", "[control][config_reader]") {
    CHECK(told_of("workers = 1\nworkers = 2\n" + smallest) ==
          Lines{"2:1: error: \"workers\" is given twice; first in line 1"});
    CHECK(told_of(smallest + "weight = 1\nweight = 1\n") ==
          Lines{"6:1: error: \"weight\" is given twice; first in line 5"});
}

TEST_CASE("config reader: what has to be there is told with an example",
          "[control][config_reader]") {
    const std::string no_service =
        "1:1: error: no service; add: [[service]] with listen = \":5555\", and below it "
        "[[service.backend]] with address = \"127.0.0.1:3306\"";
    const std::string no_listen = ": error: [[service]] has no listen; add: listen = \":5555\"";
    const std::string no_backend =
        ": error: [[service]] has no backend; add: [[service.backend]] with address = "
        "\"127.0.0.1:3306\"";
    const std::string no_address =
        ": error: [[service.backend]] has no address; add: address = \"127.0.0.1:3306\"";
    const std::vector<std::pair<std::string, Lines>> table{
        {"", {no_service}},
        {"# nothing\n\n", {no_service}},
        {"workers = 2\n[log]\n[defaults]\n", {no_service}},
        {"[[services]]\nlisten = \":5555\"\n",
         {no_service, "1:3: error: unknown key \"services\"; did you mean \"service\"?"}},
        {"[[service]]\n", {"1:1" + no_listen, "1:1" + no_backend}},
        {"\n  [[service]]\nlisten = \":5555\"\n", {"2:3" + no_backend}},
        {"[[service]]\n" + std::string{first_backend}, {"1:1" + no_listen}},
        {std::string{service_head} + "[[service.backend]]\n", {"3:1" + no_address}},
        {smallest + "[[service.backend]]\nname = \"x\"\nweight = 2\n", {"5:1" + no_address}},
        {smallest + "[[service]]\nlisten = \":1\"\n", {"5:1" + no_backend}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(told_of(text) == expected);
    }
}

TEST_CASE("config reader: an empty list of services or backends is none",
          "[control][config_reader]") {
    CHECK_THAT(fmt::format("{}", fmt::join(told_of("service = []\n"), "\n")),
               contains("no service"));
    CHECK_THAT(
        fmt::format("{}", fmt::join(told_of("[[service]]\nlisten = \":1\"\nbackend = []\n"), "\n")),
        contains("no backend"));
}

TEST_CASE("config reader: a table that is something else is told how it is written",
          "[control][config_reader]") {
    const std::string one_log = "error: \"log\" is a table; write [log]";
    const std::string several_services = "error: there may be several of them: write [[service]]";
    const std::string several_backends =
        "error: there may be several of them: write [[service.backend]]";
    const std::vector<std::pair<std::string, Lines>> table{
        {"log = \"info\"\n" + smallest, {"1:1: " + one_log}},
        {"[[log]]\nlevel = \"info\"\n" + smallest, {"1:3: " + one_log}},
        {"defaults = 5\n" + smallest, {"1:1: error: \"defaults\" is a table; write [defaults]"}},
        {"[[defaults]]\n" + smallest, {"1:3: error: \"defaults\" is a table; write [defaults]"}},
        {"[service]\nlisten = \":5555\"\n", {"1:2: " + several_services}},
        {"service = \":5555\"\n", {"1:1: " + several_services}},
        {"service = [\":5555\"]\n", {"1:1: " + several_services}},
        {"[[service.backend]]\naddress = \"127.0.0.1:1\"\n", {"1:3: " + several_services}},
        {std::string{service_head} + "[service.backend]\naddress = \"127.0.0.1:1\"\n",
         {"3:10: " + several_backends}},
        {std::string{service_head} + "backend = \"127.0.0.1:1\"\n", {"3:1: " + several_backends}},
        {std::string{service_head} + "backend = [\"127.0.0.1:1\"]\n", {"3:1: " + several_backends}},
        {"workers.count = 2\n" + smallest,
         {"1:1: error: workers: expected a whole number from 1 to 256, or \"auto\", got a "
          "table"}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(told_of(text) == expected);
    }
}

TEST_CASE("config reader: in a list of listeners, each bad one is told at its own place",
          "[control][config_reader]") {
    CHECK(told_of("[[service]]\nlisten = [\":1\", 5555, \n  \":0\"]\n" +
                  std::string{first_backend}) ==
          Lines{"2:17: error: listen: expected an address like \":5555\", got a number",
                "3:3: error: listen: bad address \":0\": ports are numbers from 1 to 65535"});
}

TEST_CASE("config reader: in other lists too, each bad item is told at its own place",
          "[control][config_reader]") {
    const auto with = [](const std::string& line) {
        return std::string{service_head} + line + "\n" + std::string{first_backend};
    };
    CHECK(
        told_of(with("allow = [\"10.0.0.0/8\", \"10.0.0.1/8\", \"\"]")) ==
        Lines{"3:24: error: allow: bad network \"10.0.0.1/8\": it has bits set behind the prefix; "
              "did you mean 10.0.0.0/8?",
              "3:38: error: allow: bad network \"\": it is empty"});
    CHECK(told_of(with("source = [\"10.0.0.1\", \"x\"]")) ==
          Lines{"3:23: error: source: \"x\" is not an IP address of this machine, like 10.0.0.1"});
    CHECK(told_of(with("proxy_tlvs = [\"crc32c\", \"alpn\"]\nsend_proxy = \"v2\"")) ==
          Lines{"3:25: error: proxy_tlvs: there is no \"alpn\"; use crc32c, unique_id or "
                "authority"});
}

TEST_CASE("config reader: what is no text in a list is told as what it is, where it is",
          "[control][config_reader]") {
    for (const std::string key : {"allow", "deny", "trusted_proxies", "source", "proxy_tlvs"}) {
        INFO(key);
        const Lines lines =
            told_of(std::string{service_head} + key + " = [7]\n" + std::string{first_backend});
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines[0], starts_with(fmt::format("3:{}: error: {}: ", key.size() + 5, key)));
        CHECK_THAT(lines[0], contains("got a number"));
    }
}

TEST_CASE("config reader: the parts of keepalive are told at their own places",
          "[control][config_reader]") {
    const auto with = [](const std::string& value) {
        return std::string{service_head} + "keepalive = " + value + "\n" +
               std::string{first_backend};
    };
    CHECK(told_of(with("{idle = 60, interval = \"0\", count = 0}")) ==
          Lines{"3:21: error: keepalive: a duration needs a unit; did you mean \"60s\"?",
                "3:36: error: keepalive: this cannot be turned off",
                "3:49: error: keepalive: 0 is not a whole number from 1 to 127"});
    CHECK(told_of(with("{idel = \"60s\", idle = \"9h6m\"}")) ==
          Lines{"3:14: error: keepalive: unknown key \"idel\"; use idle, interval or count",
                "3:35: error: keepalive: bad duration \"9h6m\": unknown unit \"h6m\"; use us, ms, "
                "s, m, h or d"});
    CHECK(told_of(with("{idle = \"32768s\", interval = \"500ms\"}")) ==
          Lines{"3:21: error: keepalive: 32768s is longer than 32767s",
                "3:42: error: keepalive: 500ms is shorter than 1s"});
    // Whichever way it is written.
    const Outcome outcome =
        read(std::string{service_head} + "keepalive.idle = \"30s\"\nkeepalive.count = 3\n" +
             std::string{first_backend});
    CHECK(outcome.told == Lines{});
    CHECK(service_of(outcome.settings).socket.keepalive == Keepalive{30s, 10s, 3});
}

TEST_CASE("config reader: who may say who the client is has to be told",
          "[control][config_reader]") {
    const auto with = [](const std::string& lines) {
        return std::string{service_head} + lines + std::string{first_backend};
    };
    const std::string who =
        "accept_proxy: who may say who the client is? add: trusted_proxies = [\"10.0.0.0/8\"], or "
        "whatever network your proxies are in";
    const std::string everybody = " lets everybody say who they are";
    const std::vector<std::pair<std::string, Lines>> table{
        {with("accept_proxy = \"v2\"\n"), {"3:16: error: " + who}},
        {with("accept_proxy = \"v1\"\ntrusted_proxies = []\n"), {"3:16: error: " + who}},
        {with("accept_proxy = \"any\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n"), {}},
        {with("trusted_proxies = [\"10.0.0.0/8\"]\n"),
         {"3:19: warning: trusted_proxies: without accept_proxy nobody is asked"}},
        {with("accept_proxy = \"off\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n"),
         {"4:19: warning: trusted_proxies: without accept_proxy nobody is asked"}},
        {with("trusted_proxies = []\n"), {}},
        {with("accept_proxy = \"v2\"\ntrusted_proxies = [\"::/0\", \"0.0.0.0/0\"]\n"),
         {"4:19: warning: trusted_proxies: ::/0" + everybody,
          "4:19: warning: trusted_proxies: 0.0.0.0/0" + everybody}},
        {"[defaults]\ntrusted_proxies = \"unix:\"\n" + with("accept_proxy = \"v2\"\n"), {}},
        {"[defaults]\naccept_proxy = \"v2\"\n" + with("trusted_proxies = \"unix:\"\n"), {}},
        {with("proxy_tlvs = [\"crc32c\"]\n"),
         {"3:14: warning: proxy_tlvs: only send_proxy = \"v2\" has room for them"}},
        {with("proxy_tlvs = [\"crc32c\"]\nsend_proxy = \"v1\"\n"),
         {"3:14: warning: proxy_tlvs: only send_proxy = \"v2\" has room for them"}},
        {with("proxy_tlvs = [\"crc32c\"]\nsend_proxy = \"v2\"\n"), {}},
        {with("proxy_tlvs = []\n"), {}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(told_of(text) == expected);
    }
}

TEST_CASE("config reader: listeners that are in each other's way are told",
          "[control][config_reader]") {
    const auto two = [](const std::string& first, const std::string& second) {
        return "[[service]]\nname = \"a\"\nlisten = \"" + first +
               "\"\n[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
               "[[service]]\nname = \"b\"\nlisten = \"" +
               second + "\"\n[[service.backend]]\naddress = \"10.0.0.1:1\"\n";
    };
    const auto in_the_way = [](const std::string& second, const std::string& first) {
        return Lines{"8:10: error: listener " + second + " is in the way of " + first +
                     " in line 3: one of them is for all addresses"};
    };
    const auto twice = [](const std::string& second) {
        return Lines{"8:10: error: listener " + second + " is given twice; first in line 3"};
    };
    struct Row {
        std::string first;
        std::string second;
        Lines expected;
    };
    const std::vector<Row> table{
        {":1", ":1", twice(":1")},
        {":1", "[::]:1", twice("[::]:1")},
        {"127.0.0.1:1", "127.0.0.1:1", twice("127.0.0.1:1")},
        {"127.0.0.1:1", "[::ffff:127.0.0.1]:1", twice("[::ffff:127.0.0.1]:1")},
        {"unix:/run/x", "unix:/run/x", twice("unix:/run/x")},
        {":1", "127.0.0.1:1", in_the_way("127.0.0.1:1", ":1")},
        {"127.0.0.1:1", ":1", in_the_way(":1", "127.0.0.1:1")},
        {"0.0.0.0:1", "127.0.0.1:1", in_the_way("127.0.0.1:1", "0.0.0.0:1")},
        {"[::1]:1", "[::]:1", in_the_way("[::]:1", "[::1]:1")},
        {"0.0.0.0:1", "[::]:1", in_the_way("[::]:1", "0.0.0.0:1")},
        {":1", ":2", {}},
        {"0.0.0.0:1", "[::1]:1", {}},
        {"127.0.0.1:1", "127.0.0.2:1", {}},
        {"unix:/run/x", "unix:/run/y", {}},
        // What a name stands for is not known yet.
        {"localhost:1", "127.0.0.1:1", {}},
        {"localhost:1", "localhost:2", {}},
        {"localhost:1", "localhost:1", twice("localhost:1")},
    };
    for (const Row& row : table) {
        INFO(row.first << " and " << row.second);
        CHECK(told_of(two(row.first, row.second)) == row.expected);
    }
    CHECK(told_of("[[service]]\nlisten = [\":1\", \":1\"]\n" + std::string{first_backend}) ==
          Lines{"2:17: error: listener :1 is given twice; first in line 2"});
    // One that is in the way of several is told once.
    CHECK(told_of("[[service]]\nlisten = [\"127.0.0.1:1\", \"[::1]:1\", \":1\"]\n" +
                  std::string{first_backend}) ==
          Lines{"2:37: error: listener :1 is in the way of 127.0.0.1:1 in line 2: one of them is "
                "for all addresses"});
}

TEST_CASE("config reader: a listener that is in nobody's way hides none that is",
          "[control][config_reader]") {
    const auto told_of_last = [](const std::string& listeners) {
        return told_of("[[service]]\nlisten = [" + listeners + "]\n" + std::string{first_backend});
    };
    CHECK(told_of_last("\"[::1]:1\", \"127.0.0.1:1\", \"0.0.0.0:1\"") ==
          Lines{"2:37: error: listener 0.0.0.0:1 is in the way of 127.0.0.1:1 in line 2: one of "
                "them is for all addresses"});
    CHECK(told_of_last("\"[::1]:1\", \"0.0.0.0:1\", \"127.0.0.1:1\"") ==
          Lines{"2:35: error: listener 127.0.0.1:1 is in the way of 0.0.0.0:1 in line 2: one of "
                "them is for all addresses"});
    CHECK(told_of_last("\"127.0.0.1:1\", \"[::1]:1\", \"[::]:1\"").size() == 1);
    CHECK(told_of_last("\"[::1]:1\", \"[::2]:1\", \"0.0.0.0:1\", \"[::1]:2\"") == Lines{});
}

TEST_CASE("config reader: a backend that leads back to its own service is told",
          "[control][config_reader]") {
    const auto loop = [](const std::string& listener, const std::string& backend) {
        return "[[service]]\nlisten = \"" + listener + "\"\n[[service.backend]]\naddress = \"" +
               backend + "\"\n";
    };
    const auto told_loop = [](const std::string& listener, const std::string& backend) {
        return Lines{"4:11: error: backend " + backend + " is our own listener " + listener +
                     " in line 2: every connection would loop"};
    };
    struct Row {
        std::string listener;
        std::string backend;
        bool loops;
    };
    const std::vector<Row> table{
        {"127.0.0.1:1", "127.0.0.1:1", true},  {":1", "127.0.0.1:1", true},
        {":1", "127.9.9.9:1", true},           {":1", "[::1]:1", true},
        {"[::]:1", "127.0.0.1:1", true},       {"0.0.0.0:1", "127.0.0.1:1", true},
        {"unix:/run/x", "unix:/run/x", true},  {"0.0.0.0:1", "[::1]:1", false},
        {":1", "127.0.0.1:2", false},          {":1", "192.0.2.1:1", false},
        {":1", "[2001:db8::1]:1", false},      {"127.0.0.1:1", "127.0.0.2:1", false},
        {"unix:/run/x", "unix:/run/y", false}, {":1", "localhost:1", false},  // not looked up here
    };
    for (const Row& row : table) {
        INFO(row.listener << " and " << row.backend);
        CHECK(told_of(loop(row.listener, row.backend)) ==
              (row.loops ? told_loop(row.listener, row.backend) : Lines{}));
    }
    // Through another service, which is told where it closes.
    const std::string two =
        "[[service]]\nname = \"a\"\nlisten = \":1\"\n[[service.backend]]\naddress = "
        "\"127.0.0.1:2\"\n[[service]]\nname = \"b\"\nlisten = \":2\"\n[[service.backend]]\naddress = ";
    CHECK(told_of(two + "\"[::1]:1\"\n") ==
          Lines{"10:11: error: backend [::1]:1 is our own listener :1 in line 3: every connection "
                "would loop (a -> b -> a)"});
    // A chain is none.
    CHECK(told_of(two + "\"127.0.0.1:3\"\n") == Lines{});
}

TEST_CASE("config reader: services and backends of one name are told", "[control][config_reader]") {
    const auto service = [](const std::string& name, const std::string& listen) {
        return "[[service]]\n" + (name.empty() ? "" : "name = \"" + name + "\"\n") + "listen = \"" +
               listen + "\"\n[[service.backend]]\naddress = \"10.0.0.1:1\"\n";
    };
    CHECK(told_of(service("a", ":1") + service("b", ":2") + service("a", ":3")) ==
          Lines{"12:8: error: there are two services \"a\"; the first is in line 1"});
    CHECK(told_of(service("a", ":1") + service("a", ":2") + service("a", ":3")) ==
          Lines{"7:8: error: there are two services \"a\"; the first is in line 1",
                "12:8: error: there are two services \"a\"; the first is in line 1"});
    // Without a name, a service is called like its first listener.
    CHECK(told_of(service(":2", ":1") + service("", ":2")) ==
          Lines{"6:1: error: there are two services \":2\"; the first is in line 1"});
    CHECK(told_of(service("", ":2") + service(":2", ":1")) ==
          Lines{"6:8: error: there are two services \":2\"; the first is in line 1"});

    const auto backend = [](const std::string& name, const std::string& address) {
        return "[[service.backend]]\nname = \"" + name + "\"\naddress = \"" + address + "\"\n";
    };
    CHECK(told_of(std::string{service_head} + backend("x", "10.0.0.1:1") +
                  backend("y", "10.0.0.2:1") + backend("x", "10.0.0.3:1")) ==
          Lines{"10:8: error: there are two backends \"x\"; the first is in line 3"});
    // Those of another service may be called the same.
    CHECK(told_of(std::string{service_head} + backend("x", "10.0.0.1:1") +
                  "[[service]]\nlisten = \":1\"\n" + backend("x", "10.0.0.1:1")) == Lines{});
}

TEST_CASE("config reader: services whose backends all have weight 0 are not judged here",
          "[control][config_reader]") {
    CHECK(told_of(smallest + "weight = 0\n") == Lines{});
}

TEST_CASE("config reader: what is legal but risky is a warning", "[control][config_reader]") {
    const auto with = [](const std::string& line) {
        return std::string{service_head} + line + "\n" + std::string{first_backend};
    };
    const std::vector<std::pair<std::string, Lines>> table{
        {with("connect_timeout = \"off\""),
         {"3:19: warning: connect_timeout is off: a backend that does not answer keeps its "
          "clients for minutes"}},
        {with("half_close_timeout = \"0\""),
         {"3:22: warning: half_close_timeout is off: a session that one side has left may stay "
          "for ever"}},
        {with("drain_timeout = \"0s\""),
         {"3:17: warning: drain_timeout is off: a stop may never end"}},
        {with("idle_timeout = \"off\""), {}},
        {with("pipe_size = \"100KiB\""),
         {"3:13: warning: pipe_size: the kernel rounds it up to a power of two"}},
        {with("pipe_size = \"128KiB\""), {}},
        {with("pipe_size = \"auto\""), {}},
        {file_with_default("drain_timeout = \"off\""),
         {"2:17: warning: drain_timeout is off: a stop may never end"}},
        {smallest + std::string{first_backend},
         {"6:11: warning: backend 127.0.0.1:3306 is given twice, and gets twice its share; weight "
          "says that more plainly"}},
        {smallest + std::string{first_backend} + "name = \"x\"\n",
         {"6:11: warning: backend 127.0.0.1:3306 is given twice, and gets twice its share; weight "
          "says that more plainly"}},
        {"[[service]]\nlisten = [\":1\", \"unix:x.sock\"]\n" + std::string{first_backend},
         {"2:17: warning: unix:x.sock: where that is depends on the directory that eplb is "
          "started in; write unix:/..."}},
        {"[[service]]\nlisten = [\"unix:/x.sock\", \"unix:@x\"]\n" + std::string{first_backend},
         {}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        const Outcome outcome = read(text);
        CHECK(outcome.told == expected);
        CHECK(outcome.settings.services.size() == 1);
    }
}

TEST_CASE("config reader: everything that is wrong with a file is told, in its order",
          "[control][config_reader]") {
    CHECK(told_of("workers = 0\n"
                  "wrokers = 1\n"
                  "[log]\n"
                  "level = \"loud\"\n"
                  "relay = \"copy\"\n"
                  "[defaults]\n"
                  "connect_timeout = 5\n"
                  "[[service]]\n"
                  "name = \"a b\"\n"
                  "listen = [\":1\", \":0\"]\n"
                  "half_close_timeout = \"off\"\n"
                  "[[service.backend]]\n"
                  "address = \"127.0.0.1\"\n"
                  "weight = -1\n"
                  "relay = \"spilce\"\n"
                  "[[service]]\n"
                  "listen = \":2\"\n"
                  "relay = \"spilce\"\n"
                  "[[service.backend]]\n"
                  "weight = 65536\n"
                  "address = \"127.0.0.1:2\"\n") ==
          Lines{
              "1:11: error: workers: 0 is not a whole number from 1 to 256, or \"auto\"",
              "2:1: error: unknown key \"wrokers\"; did you mean \"workers\"?",
              "4:9: error: unknown level \"loud\"; use debug, info, warning or error",
              "5:1: error: unknown key \"relay\" in [log]; it belongs into [[service]] or "
              "[defaults]",
              "7:19: error: connect_timeout: a duration needs a unit; did you mean \"5s\"?",
              "9:8: error: name: a name is one or more printable ASCII characters without blanks "
              "and quotes",
              "10:17: error: listen: bad address \":0\": ports are numbers from 1 to 65535",
              "11:22: warning: half_close_timeout is off: a session that one side has left may "
              "stay for ever",
              "13:11: error: address: bad address \"127.0.0.1\": the port is missing; write "
              "host:port, :port or unix:/path",
              "14:10: error: weight: -1 is not a whole number from 0 to 65535",
              "15:1: error: unknown key \"relay\" in [[service.backend]]; it belongs into "
              "[[service]] or [defaults]",
              "18:9: error: unknown relay \"spilce\"; did you mean \"splice\"?",
              "20:10: error: weight: 65536 is not a whole number from 0 to 65535",
              "21:11: error: backend 127.0.0.1:2 is our own listener :2 in line 17: every "
              "connection would loop",
          });
}

TEST_CASE("config reader: the promise of the manual is kept", "[control][config_reader]") {
    const std::string text =
        "# Our databases.\n\n[log]\nlevel = \"info\"\n\n[[service]]\n"
        "name = \"mysql\"\nlisten = \":5555\"\n\n[[service.backend]]\n"
        "address = \"127.0.0.1:3306\"\n\n[defaults]\n  relay = \"spilce\"\n";
    CHECK(told_of(text) ==
          Lines{"14:11: error: unknown relay \"spilce\"; did you mean \"splice\"?"});
}

TEST_CASE(
    "config reader: what is wrong with [defaults] is told once, however many services there are",
    "[control][config_reader]") {
    const auto told_with = [](const std::string& line) {
        const Lines lines = told_of("[defaults]\n" + line + "\n" + smallest +
                                    "[[service]]\nlisten = \":1\"\n" + std::string{first_backend});
        INFO(line);
        CHECK(lines.size() == 1);
        return lines.at(0);
    };
    CHECK(told_with("drain_timeout = \"off\"") ==
          "2:17: warning: drain_timeout is off: a stop may never end");
    CHECK_THAT(told_with("pipe_size = \"100KiB\""), starts_with("2:13: warning: pipe_size: "));
    CHECK_THAT(told_with("accept_proxy = \"v2\""), starts_with("2:16: error: accept_proxy: "));
    CHECK_THAT(told_with("trusted_proxies = [\"10.0.0.0/8\"]"),
               starts_with("2:19: warning: trusted_proxies: "));
    CHECK_THAT(told_with("proxy_tlvs = [\"crc32c\"]"), starts_with("2:14: warning: proxy_tlvs: "));
}

TEST_CASE("config reader: services without names that share a listener are told once",
          "[control][config_reader]") {
    CHECK(told_of(smallest + smallest) ==
          Lines{"6:10: error: listener :5555 is given twice; first in line 2"});
    const std::string named =
        "[[service]]\nlisten = \"localhost:1\"\n" + std::string{first_backend};
    CHECK(told_of(named + named) ==
          Lines{"6:10: error: listener localhost:1 is given twice; first in line 2"});
}

TEST_CASE("config reader: options win over the file, and over [defaults] for every service",
          "[control][config_reader]") {
    const Node flags = table_of(
        {option("workers", "7", "--workers"),
         option("busy_poll", "50us", "--busy-poll"),
         {"log", {}, table_of({option("level", "debug", "--log-level")})},
         {"defaults",
          {},
          table_of({option("relay", "copy", "--relay"), option("backlog", "9", "--backlog")})}});
    const Outcome outcome = read_with(
        "workers = 2\n[log]\nlevel = \"error\"\nformat = \"json\"\n"
        "[defaults]\nrelay = \"splice\"\n" +
            smallest + "[[service]]\nlisten = \":1\"\nrelay = \"auto\"\n" +
            std::string{first_backend},
        &flags);
    CHECK(outcome.told == Lines{});
    const Settings& settings = outcome.settings;
    CHECK(settings.process.values.workers == 7u);
    CHECK(settings.process.values.busy_poll == 50us);
    CHECK(settings.process.origin_of("workers").kind == Origin::Kind::flag);
    CHECK(settings.process.origin_of("workers").place.flag == "--workers");
    CHECK(settings.log.values.level == LogLevel::debug);
    CHECK(settings.log.values.format == LogFormat::json);
    CHECK(settings.log.origin_of("level").kind == Origin::Kind::flag);
    CHECK(settings.log.origin_of("format").kind == Origin::Kind::file);
    REQUIRE(settings.services.size() == 2);
    for (const Service& service : settings.services) {
        CHECK(service.values.config.relay == RelayMode::copy);
        CHECK(service.values.config.backlog == 9);
        CHECK(service.origin_of("relay").kind == Origin::Kind::flag);
        CHECK_FALSE(service.origin_of("relay").from_defaults);
    }
}

TEST_CASE("config reader: options alone are a configuration", "[control][config_reader]") {
    Node listen;
    listen.kind = Node::Kind::array;
    listen.items = {word(":1", "--listen"), word(":2", "--listen")};
    Node backends;
    backends.kind = Node::Kind::array;
    backends.items = {table_of(
        {option("address", "10.0.0.1:1", "--backend"), option("weight", "3", "--backend")})};
    Node services;
    services.kind = Node::Kind::array;
    services.items = {table_of({option("name", "default", "--listen"),
                                {"listen", {}, listen},
                                {"backend", {}, backends}})};
    const Node flags =
        table_of({{"defaults", {}, table_of({option("idle_timeout", "5m", "--idle-timeout")})},
                  {"service", {}, services}});
    Diagnostics diagnostics;
    const Settings settings = read_settings(nullptr, &flags, diagnostics);
    CHECK(told(diagnostics) == Lines{});
    REQUIRE(settings.services.size() == 1);
    CHECK(service_of(settings).name == "default");
    CHECK(service_of(settings).idle_timeout == 5min);
    CHECK(listeners_of(settings) == Lines{":1", ":2"});
    CHECK(settings.services[0].backends.at(0).values.weight == 3);
}

TEST_CASE("config reader: options are told by their names, and without the key's",
          "[control][config_reader]") {
    const Node flags = table_of({option("workers", "many", "--workers"),
                                 {"log", {}, table_of({option("level", "loud", "--log-level")})},
                                 {"defaults",
                                  {},
                                  table_of({option("idle_timeout", "soon", "--idle-timeout"),
                                            option("drain_timeout", "off", "--drain-timeout")})}});
    CHECK(read_with(smallest, &flags).told ==
          Lines{"--workers: error: \"many\" is not a whole number from 1 to 256, or auto",
                "--log-level: error: unknown level \"loud\"; use debug, info, warning or error",
                "--idle-timeout: error: bad duration \"soon\": write a whole number and a unit, "
                "like 250ms, 5s, 10m or 2h, or \"off\"",
                "--drain-timeout: warning: drain_timeout is off: a stop may never end"});
}

TEST_CASE("config reader: a wrong option is told once, however many services there are",
          "[control][config_reader]") {
    const Node flags =
        table_of({{"defaults", {}, table_of({option("idle_timeout", "soon", "--idle-timeout")})}});
    const std::string expected =
        "--idle-timeout: error: bad duration \"soon\": write a whole number and a unit, like "
        "250ms, 5s, 10m or 2h, or \"off\"";
    CHECK(
        read_with(smallest + "[[service]]\nlisten = \":1\"\n" + std::string{first_backend}, &flags)
            .told == Lines{expected});
}

TEST_CASE("config reader: without a file and without options there is nothing to complain about",
          "[control][config_reader]") {
    Diagnostics diagnostics;
    const Settings settings = read_settings(nullptr, nullptr, diagnostics);
    CHECK(diagnostics.empty());
    CHECK(settings.services.empty());
}

TEST_CASE("config reader: what all checks have in common can stand in [defaults.check]",
          "[control][config_reader]") {
    const Outcome outcome = read("[defaults.check]\ntype = \"mysql\"\nuser = \"eplb\"\nrise = 5\n" +
                                 std::string{service_head} + std::string{first_backend} +
                                 "[service.check]\nrise = 7\nport = 3307\n");
    CHECK(outcome.told.empty());
    const auto& check = outcome.settings.services.at(0).check;
    CHECK(check.values.type == Type::mysql);
    CHECK(check.values.user == "eplb");
    CHECK(check.values.rise == 7);
    CHECK(check.values.port == 3307);
    CHECK(check.origin_of("user").from_defaults);
    CHECK_FALSE(check.origin_of("rise").from_defaults);
    CHECK(check.origin_of("rise").place.line == 10);
    CHECK(check.origin_of("fall").kind == Origin::Kind::built_in);
}

TEST_CASE("config reader: a check may be written in TOML's other ways",
          "[control][config_reader]") {
    for (const std::string line :
         {"check = { type = \"redis\", rise = 3 }", "check.type = \"redis\"\ncheck.rise = 3"}) {
        INFO(line);
        const Outcome outcome =
            read(std::string{service_head} + line + "\n" + std::string{first_backend});
        CHECK(outcome.told.empty());
        CHECK(check_of(outcome.settings).type == Type::redis);
        CHECK(check_of(outcome.settings).rise == 3);
    }
}

TEST_CASE("config reader: what is wrong with a check is told where it is",
          "[control][config_reader]") {
    struct Row {
        std::string check;
        std::string backend;
        std::string told;
    };
    const std::vector<Row> table{
        {"[service.check]\ntipe = \"tcp\"", "127.0.0.1:1",
         "4:1: error: unknown key \"tipe\" in [service.check]; did you mean \"type\"?"},
        {"check = \"tcp\"", "127.0.0.1:1",
         "3:1: error: \"check\" is a table; write [service.check]"},
        {"[service.check]\ntype = \"send_expect\"", "127.0.0.1:1",
         "4:8: error: send_expect has neither send nor expect; write type = \"tcp\""},
        {"[service.check]\ntype = \"mysql\"", "127.0.0.1:1",
         "4:8: warning: mysql: without a user, MariaDB logs each check; add: user = \"eplb\", who "
         "needs no password and no rights"},
        {"[service.check]\ntype = \"tcp\"", "127.0.0.1:3306",
         "4:8: warning: tcp: MySQL counts each check as a failed handshake, and after "
         "max_connect_errors refuses this machine; write type = \"mysql\""},
        {"[service.check]\ntype = \"tcp\"", "db.example:5432",
         "4:8: warning: tcp: PostgreSQL logs each check as a mistake; write type = \"postgres\""},
        {"[service.check]\ntype = \"tcp\"\nport = 8080", "db.example:5432", ""},
        {"[service.check]\ntype = \"tcp\"\nport = 3306", "unix:/run/x", ""},
        {"[service.check]\ntype = \"tcp\"\npath = \"/x\"", "127.0.0.1:1",
         "5:8: warning: path: this type of check has no use for it"},
        {"[service.check]\nrise = 3", "127.0.0.1:1",
         "4:8: warning: rise: without a type there are no checks"},
        {"[service.check]\ntype = \"tcp\"\nfast_interval = \"3s\"", "127.0.0.1:1",
         "5:17: warning: fast_interval is longer than interval, which wins"},
        {"balance = \"first\"\nrebalance = \"idle\"", "127.0.0.1:1",
         "4:13: warning: rebalance: with this balance who comes back would often come to the same "
         "backend; it does nothing"},
        {"rebalance = \"idle\"\nrebalance_idle = \"7s\"", "127.0.0.1:1",
         "3:13: warning: rebalance: a session that is quiet for 7s inside an open transaction is reset "
         "like any other, and the database rolls its work back; only for clients that never pause "
         "there for so long"},
        {"max_ejection_time = \"1s\"", "127.0.0.1:1",
         "3:21: warning: max_ejection_time is shorter than ejection_time, and wins"},
    };
    for (const Row& row : table) {
        INFO(row.check);
        const Lines lines = told_of(std::string{service_head} + row.check +
                                    "\n[[service.backend]]\naddress = \"" + row.backend + "\"\n");
        CHECK(lines == (row.told.empty() ? Lines{} : Lines{row.told}));
    }
}
