#include "config/config_reader.hpp"
#include "support/catch.hpp"
#include "support/config_reading.hpp"

#include <fmt/format.h>
#include <string>
#include <string_view>

// What is told of values that a key can have, and that make no sense together or are a risk.

using namespace eplb::test;

TEST_CASE("config reader: who may say who the client is has to be told",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::service, R"(accept_proxy = "v2")",
         R"(3:16: error: accept_proxy: who may say who the client is? add: trusted_proxies = ["10.0.0.0/8"], or whatever network your proxies are in)"},
        {In::service, "accept_proxy = \"v1\"\ntrusted_proxies = []",
         R"(3:16: error: accept_proxy: who may say who the client is? add: trusted_proxies = ["10.0.0.0/8"], or whatever network your proxies are in)"},
        {In::service, "accept_proxy = \"any\"\ntrusted_proxies = [\"10.0.0.0/8\"]", ""},
        {In::service, R"(trusted_proxies = ["10.0.0.0/8"])",
         "3:19: warning: trusted_proxies: without accept_proxy nobody is asked"},
        {In::service, "accept_proxy = \"off\"\ntrusted_proxies = [\"10.0.0.0/8\"]",
         "4:19: warning: trusted_proxies: without accept_proxy nobody is asked"},
        {In::service, "trusted_proxies = []", ""},
        {In::service, "accept_proxy = \"v2\"\ntrusted_proxies = [\"::/0\", \"0.0.0.0/0\"]",
         "4:19: warning: trusted_proxies: ::/0 lets everybody say who they are\n"
         "4:19: warning: trusted_proxies: 0.0.0.0/0 lets everybody say who they are"},
        {In::file,
         "[defaults]\ntrusted_proxies = \"unix:\"\n"
         "[[service]]\nlisten = \":5555\"\naccept_proxy = \"v2\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n",
         ""},
        {In::file,
         "[defaults]\naccept_proxy = \"v2\"\n"
         "[[service]]\nlisten = \":5555\"\ntrusted_proxies = \"unix:\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n",
         ""},
        {In::service, R"(proxy_tlvs = ["crc32c"])",
         R"(3:14: warning: proxy_tlvs: only send_proxy = "v2" has room for them)"},
        {In::service, "proxy_tlvs = [\"crc32c\"]\nsend_proxy = \"v1\"",
         R"(3:14: warning: proxy_tlvs: only send_proxy = "v2" has room for them)"},
        {In::service, "proxy_tlvs = [\"crc32c\"]\nsend_proxy = \"v2\"", ""},
        {In::service, "proxy_tlvs = []", ""},
    };
    check_rows(rows);
}

TEST_CASE("config reader: services whose backends all have weight 0 are not judged here",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::backend, "weight = 0", ""},
    };
    check_rows(rows);
}

TEST_CASE("config reader: what is legal but risky is a warning", "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::service, R"(connect_timeout = "off")",
         "3:19: warning: connect_timeout is off: a backend that does not answer keeps its clients for minutes"},
        {In::service, R"(half_close_timeout = "0")",
         "3:22: warning: half_close_timeout is off: a session that one side has left may stay for ever"},
        {In::service, R"(drain_timeout = "0s")",
         "3:17: warning: drain_timeout is off: a stop may never end"},
        {In::service, R"(idle_timeout = "off")", ""},
        {In::service, R"(pipe_size = "100KiB")",
         "3:13: warning: pipe_size: the kernel rounds it up to a power of two"},
        {In::service, R"(pipe_size = "128KiB")", ""},
        {In::service, R"(pipe_size = "auto")", ""},
        {In::defaults, R"(drain_timeout = "off")",
         "2:17: warning: drain_timeout is off: a stop may never end"},
        {In::service, "[[service.backend]]\naddress = \"127.0.0.1:3306\"",
         "6:11: warning: backend 127.0.0.1:3306 is given twice, and gets twice its share; weight says that more plainly"},
        {In::backend, "[[service.backend]]\naddress = \"127.0.0.1:3306\"\nname = \"x\"",
         "6:11: warning: backend 127.0.0.1:3306 is given twice, and gets twice its share; weight says that more plainly"},
        {In::listen, R"(listen = [":1", "unix:x.sock"])",
         "2:17: warning: unix:x.sock: where that is depends on the directory that eplb is started in; write unix:/..."},
        {In::listen, R"(listen = ["unix:/x.sock", "unix:@x"])", ""},
    };
    for (const Told& row : rows) {
        const std::string file = file_with(row.where, row.lines);
        INFO(file);
        const Reading reading = read_config(file);
        CHECK(reading.told == row.told);
        CHECK(reading.settings.services.size() == 1);
    }
}

TEST_CASE(
    "config reader: what is wrong with [defaults] is told once, however many services there are",
    "[control][config_reader]") {
    struct Row {
        std::string_view line;
        std::string_view told;
    };
    constexpr Row rows[] = {
        {R"(drain_timeout = "off")", "2:17: warning: drain_timeout is off: a stop may never end"},
        {R"(pipe_size = "100KiB")",
         "2:13: warning: pipe_size: the kernel rounds it up to a power of two"},
        {R"(accept_proxy = "v2")",
         R"(2:16: error: accept_proxy: who may say who the client is? add: trusted_proxies = ["10.0.0.0/8"], or whatever network your proxies are in)"},
        {R"(trusted_proxies = ["10.0.0.0/8"])",
         "2:19: warning: trusted_proxies: without accept_proxy nobody is asked"},
        {R"(proxy_tlvs = ["crc32c"])",
         R"(2:14: warning: proxy_tlvs: only send_proxy = "v2" has room for them)"},
    };
    for (const Row& row : rows) {
        const std::string file = fmt::format("[defaults]\n{}\n{}[[service]]\nlisten = \":1\"\n{}",
                                             row.line, smallest, first_backend);
        INFO(file);
        CHECK(read_config(file).told == row.told);
    }
}

TEST_CASE("config reader: what is wrong with a check is told where it is",
          "[control][config_reader]") {
    struct Row {
        std::string_view service;
        std::string_view backend;
        std::string_view told;
    };
    constexpr Row rows[] = {
        {"[service.check]\ntipe = \"tcp\"", "127.0.0.1:1",
         R"(4:1: error: unknown key "tipe" in [service.check]; did you mean "type"?)"},
        {R"(check = "tcp")", "127.0.0.1:1",
         R"(3:1: error: "check" is a table; write [service.check])"},
        {"[service.check]\ntype = \"send_expect\"", "127.0.0.1:1",
         R"(4:8: error: send_expect has neither send nor expect; write type = "tcp")"},
        {"[service.check]\ntype = \"mysql\"", "127.0.0.1:1",
         R"(4:8: warning: mysql: without a user, MariaDB logs each check; add: user = "eplb", who needs no password and no rights)"},
        {"[service.check]\ntype = \"tcp\"", "127.0.0.1:3306",
         R"(4:8: warning: tcp: MySQL counts each check as a failed handshake, and after max_connect_errors refuses this machine; write type = "mysql")"},
        {"[service.check]\ntype = \"tcp\"", "db.example:5432",
         R"(4:8: warning: tcp: PostgreSQL logs each check as a mistake; write type = "postgres")"},
        {"[service.check]\ntype = \"tcp\"\nport = 8080", "db.example:5432", ""},
        {"[service.check]\ntype = \"tcp\"\nport = 3306", "unix:/run/x", ""},
        {"[service.check]\ntype = \"tcp\"\npath = \"/x\"", "127.0.0.1:1",
         "5:8: warning: path: this type of check has no use for it"},
        {"[service.check]\nrise = 3", "127.0.0.1:1",
         "4:8: warning: rise: without a type there are no checks"},
        {"[service.check]\ntype = \"tcp\"\nfast_interval = \"3s\"", "127.0.0.1:1",
         "5:17: warning: fast_interval is longer than interval, which wins"},
        {"balance = \"first\"\nrebalance = \"idle\"", "127.0.0.1:1",
         "4:13: warning: rebalance: with this balance who comes back would often come to the same backend; it does nothing"},
        {"rebalance = \"idle\"\nrebalance_idle = \"7s\"", "127.0.0.1:1",
         "3:13: warning: rebalance: a session that is quiet for 7s inside an open transaction is reset like any other, and the database rolls its work back; only for clients that never pause there for so long"},
        {R"(max_ejection_time = "1s")", "127.0.0.1:1",
         "3:21: warning: max_ejection_time is shorter than ejection_time, and wins"},
    };
    for (const Row& row : rows) {
        const std::string file = fmt::format("{}{}\n[[service.backend]]\naddress = \"{}\"\n",
                                             service_head, row.service, row.backend);
        INFO(file);
        CHECK(read_config(file).told == row.told);
    }
}
