#include "config/config_reader.hpp"

#include "support/catch.hpp"
#include "support/config_nodes.hpp"
#include "support/config_reading.hpp"
#include "support/config_values.hpp"

#include <fmt/format.h>
#include <string>
#include <string_view>

// What a file as a whole says, and the command line with it. What else there is: _keys_test.cpp of keys that nobody
// knows, _values_test.cpp and _errors_test.cpp of each key, _warnings_test.cpp of several keys together, and
// _conflicts_test.cpp of services, listeners and backends.

using namespace std::chrono_literals;
using namespace eplb::control;
using namespace eplb::test;
using eplb::Config;
using eplb::LogLevel;
using eplb::RelayMode;
using eplb::ServiceConfig;
using Type = eplb::CheckConfig::Type;

TEST_CASE("config reader: the smallest file is the library's defaults",
          "[control][config_reader]") {
    const Reading reading = read_config(smallest);
    CHECK(reading.told == "");
    const Settings& settings = reading.settings;
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
    Settings expected;
    expected.services.resize(1);
    expected.services[0].values.config = ServiceConfig{};
    expected.services[0].values.config.name = ":5555";
    expected.services[0].values.listen.push_back({":5555", {}});
    CHECK(values_in(settings, In::service) == values_in(expected, In::service));
    const Service& service = settings.services[0];
    CHECK(service.values.config.listen.empty());
    CHECK(service.values.config.backends.empty());
    REQUIRE(service.backends.size() == 1);
    CHECK(service.backends[0].values.address.text == "127.0.0.1:3306");
    CHECK(service.backends[0].values.name.empty());
    CHECK(service.backends[0].values.weight == 1);
}

TEST_CASE("config reader: services and backends keep their order and what is theirs",
          "[control][config_reader]") {
    const Reading reading = read_config(
        "[defaults]\nidle_timeout = \"1h\"\nrelay = \"copy\"\n"
        "[[service]]\nname = \"b\"\nlisten = [\":2\", \":1\"]\nrelay = \"splice\"\n"
        "[[service.backend]]\naddress = \"10.0.0.2:1\"\nname = \"y\"\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\nweight = 7\n"
        "[[service]]\nlisten = \":3\"\n"
        "[[service.backend]]\naddress = \"10.0.0.3:1\"\n");
    CHECK(reading.told == "");
    const auto& services = reading.settings.services;
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
    const Reading reading = read_config(
        "workers = 2\n[log]\nlevel = \"debug\"\n[defaults]\nrelay = \"copy\"\nbacklog = 1\n"
        "[[service]]\nlisten = \":1\"\nbacklog = 2\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\nweight = 3\n");
    const auto where = [](const Origin& origin) {
        if (origin.kind == Origin::Kind::built_in) return std::string{"built in"};
        return fmt::format("{}:{}{}", origin.place.line, origin.place.column,
                           origin.from_defaults ? " defaults" : "");
    };
    const Settings& settings = reading.settings;
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
    const Reading reading = read_config(
        "log = {level = \"debug\"}\n"
        "service = [{listen = \":1\", backend = [{address = \"10.0.0.1:1\", weight = 2}]}]\n");
    CHECK(reading.told == "");
    CHECK(reading.settings.log.values.level == LogLevel::debug);
    CHECK(reading.settings.services.at(0).backends.at(0).values.weight == 2);
}

TEST_CASE("config reader: everything that is wrong with a file is told, in its order",
          "[control][config_reader]") {
    CHECK(
        read_config("workers = 0\n"
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
                    "address = \"127.0.0.1:2\"\n")
            .told ==
        "1:11: error: workers: 0 is not a whole number from 1 to 256, or \"auto\"\n"
        "2:1: error: unknown key \"wrokers\"; did you mean \"workers\"?\n"
        "4:9: error: unknown level \"loud\"; use debug, info, warning or error\n"
        "5:1: error: unknown key \"relay\" in [log]; it belongs into [[service]] or [defaults]\n"
        "7:19: error: connect_timeout: a duration needs a unit; did you mean \"5s\"?\n"
        "9:8: error: name: a name is one or more printable ASCII characters without blanks and quotes\n"
        "10:17: error: listen: bad address \":0\": ports are numbers from 1 to 65535\n"
        "11:22: warning: half_close_timeout is off: a session that one side has left may stay for ever\n"
        "13:11: error: address: bad address \"127.0.0.1\": the port is missing; write host:port, :port or unix:/path\n"
        "14:10: error: weight: -1 is not a whole number from 0 to 65535\n"
        "15:1: error: unknown key \"relay\" in [[service.backend]]; it belongs into [[service]] or [defaults]\n"
        "18:9: error: unknown relay \"spilce\"; did you mean \"splice\"?\n"
        "20:10: error: weight: 65536 is not a whole number from 0 to 65535\n"
        "21:11: error: backend 127.0.0.1:2 is our own listener :2 in line 17: every connection would loop");
}

TEST_CASE("config reader: the promise of the manual is kept", "[control][config_reader]") {
    CHECK(read_config("# Our databases.\n"
                      "\n"
                      "[log]\n"
                      "level = \"info\"\n"
                      "\n"
                      "[[service]]\n"
                      "name = \"mysql\"\n"
                      "listen = \":5555\"\n"
                      "\n"
                      "[[service.backend]]\n"
                      "address = \"127.0.0.1:3306\"\n"
                      "\n"
                      "[defaults]\n"
                      "  relay = \"spilce\"\n")
              .told == R"(14:11: error: unknown relay "spilce"; did you mean "splice"?)");
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
    const Reading reading = read_config(
        "workers = 2\n[log]\nlevel = \"error\"\nformat = \"json\"\n"
        "[defaults]\nrelay = \"splice\"\n" +
            std::string{smallest} + "[[service]]\nlisten = \":1\"\nrelay = \"auto\"\n" +
            std::string{first_backend},
        &flags);
    CHECK(reading.told == "");
    const Settings& settings = reading.settings;
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
    const Node listen = array_of({word(":1", "--listen"), word(":2", "--listen")});
    const Node backends = array_of({table_of(
        {option("address", "10.0.0.1:1", "--backend"), option("weight", "3", "--backend")})});
    const Node services = array_of({table_of({option("name", "default", "--listen"),
                                              {"listen", {}, listen},
                                              {"backend", {}, backends}})});
    const Node flags =
        table_of({{"defaults", {}, table_of({option("idle_timeout", "5m", "--idle-timeout")})},
                  {"service", {}, services}});
    Diagnostics diagnostics;
    const Settings settings = read_settings(nullptr, &flags, diagnostics);
    CHECK(told(diagnostics) == "");
    REQUIRE(settings.services.size() == 1);
    CHECK(settings.services[0].values.config.name == "default");
    CHECK(settings.services[0].values.config.idle_timeout == 5min);
    CHECK(value_of(settings, In::service, "listen") == ":1 :2");
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
    CHECK(
        read_config(smallest, &flags).told ==
        "--workers: error: \"many\" is not a whole number from 1 to 256, or auto\n"
        "--log-level: error: unknown level \"loud\"; use debug, info, warning or error\n"
        "--idle-timeout: error: bad duration \"soon\": write a whole number and a unit, like 250ms, 5s, 10m or 2h, or \"off\"\n"
        "--drain-timeout: warning: drain_timeout is off: a stop may never end");
}

TEST_CASE("config reader: a wrong option is told once, however many services there are",
          "[control][config_reader]") {
    const Node flags =
        table_of({{"defaults", {}, table_of({option("idle_timeout", "soon", "--idle-timeout")})}});
    CHECK(
        read_config(
            file_with(
                In::backend,
                "[[service]]\nlisten = \":1\"\n[[service.backend]]\naddress = \"127.0.0.1:3306\""),
            &flags)
            .told ==
        R"(--idle-timeout: error: bad duration "soon": write a whole number and a unit, like 250ms, 5s, 10m or 2h, or "off")");
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
    const Reading reading = read_config(
        "[defaults.check]\n"
        "type = \"mysql\"\n"
        "user = \"eplb\"\n"
        "rise = 5\n"
        "[[service]]\n"
        "listen = \":5555\"\n"
        "[[service.backend]]\n"
        "address = \"127.0.0.1:3306\"\n"
        "[service.check]\n"
        "rise = 7\n"
        "port = 3307\n");
    CHECK(reading.told.empty());
    const auto& check = reading.settings.services.at(0).check;
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
    for (const std::string_view line :
         {"check = { type = \"redis\", rise = 3 }", "check.type = \"redis\"\ncheck.rise = 3"}) {
        INFO(line);
        const Reading reading = read_config(file_with(In::service, line));
        CHECK(reading.told.empty());
        CHECK(reading.settings.services.at(0).check.values.type == Type::redis);
        CHECK(reading.settings.services[0].check.values.rise == 3);
    }
}
