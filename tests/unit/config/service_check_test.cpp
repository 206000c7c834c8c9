#include "config/service_check.hpp"

#include "support/catch.hpp"
#include "support/config_reading.hpp"

#include <fmt/format.h>
#include <span>
#include <string>
#include <string_view>

// That the reader tells all of it, and where, is in config_reader_warnings_test.cpp.

using namespace eplb::control;
using namespace eplb::test;
using eplb::Address;

namespace {

// What is told of the first service of a file, and of it alone.
std::string told_of(const std::string& file) {
    const Settings settings = read_config(file).settings;
    Diagnostics diagnostics;
    check_service_values(settings.services.at(0), diagnostics);
    return told(diagnostics);
}

void check_each(std::span<const Told> rows) {
    for (const Told& row : rows) {
        const std::string file = file_with(row.where, row.lines);
        INFO(file);
        CHECK(told_of(file) == row.told);
    }
}

}  // namespace

TEST_CASE("service check: what nobody said is warned of to nobody", "[control][service_check]") {
    Service service;
    service.values.config.connect_timeout = eplb::Duration{0};
    service.values.config.half_close_timeout = eplb::Duration{0};
    service.values.config.drain_timeout = eplb::Duration{0};
    service.values.config.pipe_bytes = 100'000;
    service.values.config.rebalance = eplb::Rebalance::idle;
    service.values.config.proxy_tlvs.crc32c = true;
    service.values.config.accept_proxy = eplb::AcceptProxy::v2;
    service.values.config.max_ejection_time = eplb::Duration{1};
    service.check.values.type = eplb::CheckConfig::Type::mysql;
    Diagnostics diagnostics;
    check_service_values(service, diagnostics);
    CHECK(told(diagnostics) == "");
}

TEST_CASE("service check: a plain check of a database is warned of, by the port that is asked",
          "[control][service_check]") {
    struct Row {
        std::string_view check;  ///< beside its type
        std::string_view backend;
        std::string_view told;
    };
    constexpr std::string_view mysql =
        "4:8: warning: tcp: MySQL counts each check as a failed handshake, and after max_connect_errors refuses this machine; write type = \"mysql\"";
    constexpr std::string_view postgres =
        "4:8: warning: tcp: PostgreSQL logs each check as a mistake; write type = \"postgres\"";
    constexpr Row rows[] = {
        {"", "127.0.0.1:3306", mysql},
        {"", "127.0.0.1:5432", postgres},
        {"", "127.0.0.1:3307", ""},
        {"", "[::1]:3306", mysql},
        {"", "db.example:3306", mysql},
        // The port that is asked, not the one of the backend.
        {"port = 3306", "127.0.0.1:1", mysql},
        {"port = 8008", "127.0.0.1:3306", ""},
        {R"(address = "10.0.0.9:5432")", "127.0.0.1:3306", postgres},
        {"address = \"10.0.0.9:1\"\nport = 3306", "127.0.0.1:1", mysql},
        {R"(address = "unix:/run/x")", "127.0.0.1:3306", ""},
        {"port = 3306", "unix:/run/x", ""},
        {"port = 3306", "srv:_db._tcp.example", mysql},
        {"", "srv:_db._tcp.example", ""},
    };
    for (const Row& row : rows) {
        const std::string file = fmt::format(
            "{}[service.check]\ntype = \"tcp\"\n{}\n[[service.backend]]\naddress = \"{}\"\n",
            service_head, row.check, row.backend);
        INFO(file);
        CHECK(told_of(file) == row.told);
    }
}

TEST_CASE("service check: of several plain checks of databases the first is told",
          "[control][service_check]") {
    constexpr Told rows[] = {
        {In::file,
         "[[service]]\nlisten = \":1\"\n[service.check]\ntype = \"tcp\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:1\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:5432\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n",
         R"(4:8: warning: tcp: PostgreSQL logs each check as a mistake; write type = "postgres")"},
        {In::file,
         "[[service]]\nlisten = \":1\"\n[service.check]\ntype = \"tcp\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:5432\"\n",
         R"(4:8: warning: tcp: MySQL counts each check as a failed handshake, and after max_connect_errors refuses this machine; write type = "mysql")"},
    };
    check_each(rows);
}

TEST_CASE(
    "service check: what a check has no use for is told where it was said for this service alone",
    "[control][service_check]") {
    constexpr Told rows[] = {
        {In::check, "type = \"tcp\"\nport = 1\nrise = 3\ninterval = \"1s\"", ""},
        {In::check, "type = \"redis\"\npath = \"/x\"\nuser = \"x\"",
         "5:8: warning: path: this type of check has no use for it"},
        {In::check, "type = \"http\"\npath = \"/x\"\nport = 1\nhost = \"x\"\nstatus = 200", ""},
        {In::check, "type = \"none\"\nrise = 3",
         "5:8: warning: rise: without a type there are no checks"},
        {In::file,
         "[defaults.check]\npath = \"/x\"\n[[service]]\nlisten = \":1\"\n[service.check]\ntype = \"tcp\"\nport = 1\n[[service.backend]]\naddress = \"127.0.0.1:1\"\n",
         ""},
        {In::check, "type = \"send_expect\"\nsend = \"x\"\nport = 1", ""},
        {In::check, "type = \"send_expect\"\nexpect = \"x\"\nport = 1", ""},
        {In::check, "type = \"mysql\"\nuser = \"eplb\"", ""},
        // What is built in is longer, and nobody said it.
        {In::check, "type = \"redis\"\ninterval = \"10ms\"", ""},
        {In::check, "type = \"redis\"\ninterval = \"10ms\"\nfast_interval = \"10ms\"", ""},
        {In::check, "type = \"redis\"\ninterval = \"10ms\"\nfast_interval = \"11ms\"",
         "6:17: warning: fast_interval is longer than interval, which wins"},
    };
    check_each(rows);
}

TEST_CASE("service check: moving sessions is for balances that send them elsewhere",
          "[control][service_check]") {
    constexpr std::string_view risk =
        "4:13: warning: rebalance: a session that is quiet for 5s inside an open transaction is reset like any other, and the database rolls its work back; only for clients that never pause there for so long";
    constexpr std::string_view useless =
        "4:13: warning: rebalance: with this balance who comes back would often come to the same backend; it does nothing";
    constexpr Told rows[] = {
        {In::service, "balance = \"round_robin\"\nrebalance = \"idle\"\nrebalance_idle = \"5s\"",
         risk},
        {In::service, "balance = \"leastconn\"\nrebalance = \"idle\"\nrebalance_idle = \"5s\"",
         risk},
        {In::service, "balance = \"random\"\nrebalance = \"idle\"\nrebalance_idle = \"5s\"", risk},
        {In::service, "balance = \"first\"\nrebalance = \"idle\"", useless},
        {In::service, "balance = \"source_hash\"\nrebalance = \"idle\"", useless},
        {In::service, "balance = \"consistent\"\nrebalance = \"idle\"", useless},
        {In::service, "balance = \"least_time\"\nrebalance = \"idle\"", useless},
        {In::service, "balance = \"peak_ewma\"\nrebalance = \"idle\"", useless},
        {In::service, "balance = \"first\"\nrebalance = \"off\"", ""},
    };
    check_each(rows);
}

TEST_CASE("service check: the longest ejection may be the only one", "[control][service_check]") {
    constexpr Told rows[] = {
        {In::service, "ejection_time = \"1h\"", ""},
        {In::service, "ejection_time = \"5s\"\nmax_ejection_time = \"5s\"", ""},
        {In::service, "ejection_time = \"5s\"\nmax_ejection_time = \"4s\"",
         "4:21: warning: max_ejection_time is shorter than ejection_time, and wins"},
    };
    check_each(rows);
}

TEST_CASE("service check: what goes by a client's address says nothing of clients of Unix sockets",
          "[control][service_check]") {
    constexpr std::string_view limits =
        "\nmax_connections_per_source = 5\nconnection_rate_per_source = \"5/s\"";
    const auto told_with = [&](std::string_view listen, std::string_view balance,
                               std::string_view more) {
        return told_of(file_with(In::listen, fmt::format("listen = [{}]\nbalance = \"{}\"{}{}",
                                                         listen, balance, limits, more)));
    };
    constexpr std::string_view with_socket = R"(":1", "unix:/run/x", "unix:@y")";
    for (const std::string_view balance : {"source_hash", "consistent"}) {
        INFO(balance);
        CHECK(
            told_with(with_socket, balance, "") ==
            "3:11: warning: balance: clients of unix:/run/x have no address: they get each backend in turn\n"
            "4:30: warning: max_connections_per_source: clients of unix:/run/x have no address: they are not counted\n"
            "5:30: warning: connection_rate_per_source: clients of unix:/run/x have no address: they are not counted");
        // Unless a header brings one, or there are none.
        CHECK(told_with(with_socket, balance,
                        "\naccept_proxy = \"any\"\ntrusted_proxies = \"unix:\"") == "");
        CHECK(told_with(R"(":1")", balance, "") == "");
    }
    CHECK(
        told_with(with_socket, "leastconn", "") ==
        "4:30: warning: max_connections_per_source: clients of unix:/run/x have no address: they are not counted\n"
        "5:30: warning: connection_rate_per_source: clients of unix:/run/x have no address: they are not counted");
    constexpr Told rows[] = {
        {In::listen, "listen = \"unix:/run/x\"", ""},
        {In::listen,
         "listen = \"unix:/run/x\"\nmax_connections_per_source = 0\nconnection_rate_per_source = \"off\"",
         ""},
    };
    check_each(rows);
}

TEST_CASE("service check: each socket whose place depends on where the program starts is told",
          "[control][service_check]") {
    CHECK(
        told_of(
            file_with(In::listen, R"(listen = ["unix:a", "unix:/b", "unix:c/d", "unix:@e"])")) ==
        "2:11: warning: unix:a: where that is depends on the directory that eplb is started in; write unix:/...\n"
        "2:32: warning: unix:c/d: where that is depends on the directory that eplb is started in; write unix:/...");
}

TEST_CASE("service check: an endpoint is an address, or a name, or nothing at all",
          "[control][service_check]") {
    CHECK(address_of({"127.0.0.1:1", {}}) == Address::parse("127.0.0.1:1"));
    CHECK(address_of({":1", {}}) == Address::parse(":1"));
    CHECK(address_of({"unix:@x", {}}) == Address::parse("unix:@x"));
    for (const char* const text :
         {"localhost:1", "srv:_db._tcp.example", "", "nonsense", "127.0.0.1:99999"}) {
        INFO(text);
        CHECK_FALSE(address_of({text, {}}));
    }
}
