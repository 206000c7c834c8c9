#include "support/catch.hpp"
#include "support/config_reading.hpp"
#include "support/config_values.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

// What each key sets. A new key needs a row for each kind of value, and a line in tests/support/config_values.cpp.

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using namespace eplb::control;
using namespace eplb::test;
using eplb::AcceptProxy;
using eplb::Balance;
using eplb::LogLevel;
using eplb::OnDown;
using eplb::OnRemove;
using eplb::OverLimit;
using eplb::Rebalance;
using eplb::RelayMode;
using eplb::SendProxy;
using eplb::WhenAllDown;
using Type = eplb::CheckConfig::Type;

namespace {

struct Row {
    In where;
    std::string_view line;
    Value value;
};

// At least one row for every key that there is.
constexpr Row table[] = {
    {In::process, "workers = 1", 1},
    {In::process, "workers = 256", 256},
    {In::process, R"(workers = "auto")", nothing},
    {In::process, "max_connections = 1", 1},
    {In::process, "max_connections = 100_000_000", 100'000'000},
    {In::process, R"(max_connections = "auto")", 0},
    {In::process, R"(busy_poll = "off")", 0s},
    {In::process, R"(busy_poll = "1us")", 1us},
    {In::process, R"(busy_poll = "1s")", 1s},
    {In::process, R"(control = "off")", "off"},
    {In::process, R"(control = "unix:/run/eplb/control.sock")", "unix:/run/eplb/control.sock"},

    {In::log, R"(level = "debug")", LogLevel::debug},
    {In::log, R"(level = "info")", LogLevel::info},
    {In::log, R"(level = "warning")", LogLevel::warning},
    {In::log, R"(level = "error")", LogLevel::error},
    {In::log, R"(format = "text")", LogFormat::text},
    {In::log, R"(format = "json")", LogFormat::json},
    {In::log, R"(file = "-")", "-"},
    {In::log, "file = '/var/log/eplb 1.log'", "/var/log/eplb 1.log"},
    {In::log, R"(sessions = "off")", SessionLog::off},
    {In::log, R"(sessions = "close")", SessionLog::close},
    {In::log, R"(sessions = "open+close")", SessionLog::open_and_close},

    {In::dns, "servers = []", ""},
    {In::dns, R"(servers = "192.0.2.1")", "192.0.2.1:53"},
    {In::dns, R"(servers = ["192.0.2.1:5353", "::1", "[::1]", "[2001:db8::1]:1"])",
     "192.0.2.1:5353 [::1]:53 [::1]:53 [2001:db8::1]:1"},
    {In::dns, R"(min_ttl = "100ms")", 100ms},
    {In::dns, R"(min_ttl = "1d")", 24h},
    {In::dns, R"(max_ttl = "100ms")", 100ms},
    {In::dns, R"(max_ttl = "24h")", 24h},
    {In::dns, R"(timeout = "100ms")", 100ms},
    {In::dns, R"(timeout = "60s")", 60s},
    {In::dns, R"(family = "auto")", NameFamily::automatic},
    {In::dns, R"(family = "both")", NameFamily::both},
    {In::dns, R"(family = "ipv4")", NameFamily::ipv4},
    {In::dns, R"(family = "ipv6")", NameFamily::ipv6},
    {In::dns, R"(missing = "wait")", MissingName::wait},
    {In::dns, R"(missing = "fail")", MissingName::fail},
    {In::dns, R"(on_absent = "keep")", OnAbsent::keep},
    {In::dns, R"(on_absent = "drain")", OnAbsent::drain},
    {In::dns, R"(on_absent = "close")", OnAbsent::close},

    {In::service, R"(on_remove = "drain")", OnRemove::drain},
    {In::service, R"(on_remove = "close")", OnRemove::close},
    {In::service, R"(on_remove = "keep")", OnRemove::keep},
    {In::service, R"(relay = "auto")", RelayMode::automatic},
    {In::service, R"(relay = "splice")", RelayMode::splice},
    {In::service, R"(relay = "copy")", RelayMode::copy},
    {In::service, R"(pipe_size = "auto")", 0},
    {In::service, R"(pipe_size = "64KiB")", 64 * 1024},
    {In::service, R"(pipe_size = "16MiB")", 16 * 1024 * 1024},
    {In::service, "backlog = 1", 1},
    {In::service, "backlog = 65535", 65535},
    {In::service, R"(accept_proxy = "off")", AcceptProxy::off},
    {In::service, "accept_proxy = \"v1\"\ntrusted_proxies = \"unix:\"", AcceptProxy::v1},
    {In::service, "accept_proxy = \"v2\"\ntrusted_proxies = \"unix:\"", AcceptProxy::v2},
    {In::service, "accept_proxy = \"any\"\ntrusted_proxies = \"unix:\"", AcceptProxy::any},
    {In::service, R"(send_proxy = "off")", SendProxy::off},
    {In::service, R"(send_proxy = "v1")", SendProxy::v1},
    {In::service, R"(send_proxy = "v2")", SendProxy::v2},
    {In::service, "proxy_tlvs = []", ""},
    {In::service, R"(proxy_tlvs = ["authority", "unique_id", "crc32c"])",
     "crc32c unique_id authority"},
    {In::service, R"(proxy_tlvs = "unique_id")", "unique_id"},
    {In::service, "max_connections_per_source = 0", 0},
    {In::service, "max_connections_per_source = 100_000_000", 100'000'000},
    {In::service, R"(connection_rate_per_source = "off")", "off"},
    {In::service, R"(connection_rate_per_source = "5/10s")", "5/10s"},
    {In::service, "nodelay = true", true},
    {In::service, "nodelay = false", false},
    {In::service, R"(keepalive = "off")", "off 10s 6"},
    {In::service, "keepalive = {}", "1m 10s 6"},
    {In::service, R"(keepalive = {idle = "1s", interval = "32767s", count = 127})",
     "1s 32767s 127"},
    {In::service, "source = []", ""},
    {In::service, R"(source = "10.0.0.1")", "10.0.0.1:0"},
    {In::service, R"(source = ["10.0.0.1", "2001:db8::1"])", "10.0.0.1:0 [2001:db8::1]:0"},
    {In::service, R"(interface = "any")", ""},
    {In::service, R"(interface = "enp0s31f6.1234")", "enp0s31f6.1234"},
    {In::service, "mark = 0", 0},
    {In::service, "mark = 0xffffffff", 0xffffffff},
    {In::service, R"(congestion = "default")", ""},
    {In::service, R"(congestion = "bbr")", "bbr"},
    {In::service, "transparent = true", true},
    {In::service, "transparent = false", false},
    {In::service, "fast_open = 0", 0},
    {In::service, "fast_open = 65535", 65535},
    {In::service, R"(defer_accept = "off")", 0s},
    {In::service, R"(defer_accept = "1s")", 1s},
    {In::service, R"(defer_accept = "1h")", 1h},
    {In::service, R"(unix_mode = "default")", nothing},
    {In::service, R"(unix_mode = "0660")", 0660},
    {In::service, R"(unix_mode = "0")", 0},
    {In::service, R"(unix_mode = "777")", 0777},
    {In::service, R"(unix_owner = "default")", "nothing:nothing"},
    {In::service, R"(unix_owner = "root")", "0:nothing"},
    {In::service, R"(unix_owner = ":root")", "nothing:0"},
    {In::service, R"(unix_owner = "4000000000:17")", "4000000000:17"},
    {In::service, R"(retries = "auto")", nothing},
    {In::service, "retries = 0", 0},
    {In::service, "retries = 1000", 1000},
    {In::service, R"(balance = "round_robin")", Balance::round_robin},
    {In::service, R"(balance = "leastconn")", Balance::leastconn},
    {In::service, R"(balance = "random")", Balance::random},
    {In::service, R"(balance = "first")", Balance::first},
    {In::service, R"(balance = "source_hash")", Balance::source_hash},
    {In::service, R"(balance = "consistent")", Balance::consistent},
    {In::service, R"(balance = "least_time")", Balance::least_time},
    {In::service, R"(balance = "peak_ewma")", Balance::peak_ewma},
    {In::service, "eject_after = 0", 0},
    {In::service, "eject_after = 1_000_000", 1'000'000},
    {In::service, R"(ejection_time = "1ms")", 1ms},
    {In::service, R"(max_ejection_time = "1h")", 1h},
    {In::service, "max_ejected_percent = 0", 0},
    {In::service, "max_ejected_percent = 100", 100},
    {In::service, R"(on_down = "keep")", OnDown::keep},
    {In::service, R"(on_down = "drain")", OnDown::drain},
    {In::service, R"(on_down = "close")", OnDown::close},
    {In::service, R"(slow_start = "off")", 0s},
    {In::service, R"(slow_start = "30s")", 30s},
    {In::service, R"(rebalance = "off")", Rebalance::off},
    {In::service, R"(rebalance = "idle")", Rebalance::idle},
    {In::service, R"(rebalance_idle = "10ms")", 10ms},
    {In::service, R"(max_lifetime = "off")", 0s},
    {In::service, R"(max_lifetime = "1h")", 1h},
    {In::service, "max_lifetime_jitter = 0", 0},
    {In::service, "max_lifetime_jitter = 100", 100},
    {In::service, R"(dead_peer_timeout = "off")", 0s},
    {In::service, R"(dead_peer_timeout = "100ms")", 100ms},
    {In::service, R"(dead_peer_timeout = "24h")", 24h},
    {In::service, "max_connections = 0", 0},
    {In::service, "max_connections = 100_000_000", 100'000'000},
    {In::service, R"(connection_rate = "off")", "off"},
    {In::service, R"(connection_rate = "5/10s")", "5/10s"},
    {In::service, R"(over_limit = "wait")", OverLimit::wait},
    {In::service, R"(over_limit = "reset")", OverLimit::reset},
    {In::service, "queue = 0", 0},
    {In::service, "queue = 17", 17},
    {In::service, R"(queue_timeout = "off")", 0s},
    {In::service, R"(queue_timeout = "1ms")", 1ms},
    {In::service, R"(when_all_down = "try_all")", WhenAllDown::try_all},
    {In::service, R"(when_all_down = "refuse")", WhenAllDown::refuse},

    {In::service, R"(name = "mysql")", "mysql"},
    {In::service, "name = 'db-1.example:[5],a=b'", "db-1.example:[5],a=b"},
    {In::listen, R"(listen = ":1")", ":1"},
    {In::listen, R"(listen = [":1", "unix:/run/x", "host:2",])", ":1 unix:/run/x host:2"},

    {In::check, R"(type = "none")", Type::none},
    {In::check, R"(type = "tcp")", Type::tcp},
    {In::check, R"(type = "mysql")", Type::mysql},
    {In::check, R"(type = "postgres")", Type::postgres},
    {In::check, R"(type = "redis")", Type::redis},
    {In::check, R"(type = "http")", Type::http},
    {In::check, R"(interval = "10ms")", 10ms},
    {In::check, R"(fast_interval = "1h")", 1h},
    {In::check, R"(timeout = "3s")", 3s},
    {In::check, "rise = 1", 1},
    {In::check, "fall = 1000", 1000},
    {In::check, R"(address = "backend")", nothing},
    {In::check, R"(address = "[::1]:8008")", "[::1]:8008"},
    {In::check, R"(address = "unix:/run/x")", "unix:/run/x"},
    {In::check, R"(port = "backend")", nothing},
    {In::check, "port = 8008", 8008},
    {In::check, R"(send = "PING\r\n")", "PING\r\n"},
    {In::check, R"(send = "a\u0000b")", "a\0b"sv},
    {In::check, R"(expect = "+PONG")", "+PONG"},
    {In::check, R"(user = "eplb")", "eplb"},
    {In::check, R"(database = "app")", "app"},
    {In::check, R"(password = "s3 cret")", "s3 cret"},
    {In::check, R"(path = "/primary")", "/primary"},
    {In::check, R"(host = "db.example")", "db.example"},
    {In::check, "status = 200", "200-200"},
    {In::check, R"(status = "100-599")", "100-599"},
    {In::check, R"(status = ["200-299", 401, "403"])", "200-299 401-401 403-403"},

    {In::second_address, R"(address = "srv:_mysql._tcp.example")", "srv:_mysql._tcp.example"},
    {In::second_address, R"(address = "[::1]:1")", "[::1]:1"},
    {In::second_address, R"(address = "db.example:65535")", "db.example:65535"},
    {In::second_address, R"(address = "unix:/run/db.sock")", "unix:/run/db.sock"},
    {In::second_backend, R"(name = "db2")", "db2"},
    {In::second_backend, "backup = true", true},
    {In::second_backend, "backup = false", false},
    {In::second_backend, "max_connections = 0", 0},
    {In::second_backend, "max_connections = 151", 151},
    {In::second_backend, "weight = 0", 0},
    {In::second_backend, "weight = 65535", 65535},
};

// For each list of networks.
constexpr Row network_table[] = {
    {In::service, "KEY = []", ""},
    {In::service, R"(KEY = "10.0.0.0/8")", "10.0.0.0/8"},
    {In::service, R"(KEY = "unix")", "unix:"},
    {In::service, R"(KEY = ["2001:db8::/32", "unix:", "10.1.2.3"])",
     "2001:db8::/32 unix: 10.1.2.3"},
};

// For each of the times of a session.
constexpr Row time_table[] = {
    {In::service, R"(KEY = "1us")", 1us},
    {In::service, R"(KEY = "90s")", 90s},
    {In::service, R"(KEY = "36525d")", 24h * 36525},
    {In::service, R"(KEY = "off")", 0s},
    {In::service, R"(KEY = "0")", 0s},
};

struct Case {
    In where;
    std::string line;
    std::string value;
};

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const Row& row : table)
        cases.push_back({row.where, std::string{row.line}, row.value.text()});
    for (const std::string_view key : {"allow", "deny", "trusted_proxies"}) {
        for (const Row& row : network_table)
            cases.push_back({row.where, with_key(row.line, key), row.value.text()});
    }
    for (const std::string_view key :
         {"connect_timeout", "idle_timeout", "half_close_timeout", "drain_timeout"}) {
        for (const Row& row : time_table)
            cases.push_back({row.where, with_key(row.line, key), row.value.text()});
    }
    return cases;
}

// Warnings may be told.
bool has_error(std::string_view told) { return told.find(": error: ") != std::string_view::npos; }

}  // namespace

TEST_CASE("config reader: every key has a good value in these tests", "[control][config_reader]") {
    std::set<std::string> names;
    for (const Case& row : all_cases()) names.insert(name_of_key(row.where, key_of(row.line)));
    CHECK(names == names_of_keys());
}

TEST_CASE("config reader: every key sets what it is about", "[control][config_reader]") {
    for (const Case& row : all_cases()) {
        const std::string file = file_with(row.where, row.line);
        INFO(file);
        const Reading reading = read_config(file);
        CHECK_FALSE(has_error(reading.told));
        REQUIRE_FALSE(reading.settings.services.empty());
        CHECK(value_of(reading.settings, row.where, key_of(row.line)) == row.value);
    }
}

TEST_CASE("config reader: what all services may have can stand in [defaults]",
          "[control][config_reader]") {
    for (const Case& row : all_cases()) {
        const std::string key = key_of(row.line);
        if (!stands_in_defaults(row.where, key)) continue;
        INFO(row.line);
        const Reading reading = read_config(file_with(In::defaults, row.line));
        CHECK_FALSE(has_error(reading.told));
        REQUIRE_FALSE(reading.settings.services.empty());
        CHECK(value_of(reading.settings, row.where, key) == row.value);
        const Origin origin = reading.settings.services[0].origin_of(key);
        CHECK(origin.kind == Origin::Kind::file);
        CHECK(origin.from_defaults);
        CHECK(origin.place.line == 2);
    }
}
