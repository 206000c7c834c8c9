#include "config/config_reader.hpp"
#include "support/catch.hpp"
#include "support/config_reading.hpp"

#include <fmt/format.h>
#include <string>
#include <string_view>

// What is told of services, listeners and backends that are in each other's way.

using namespace eplb::test;

TEST_CASE("config reader: listeners that are in each other's way are told",
          "[control][config_reader]") {
    struct Row {
        std::string_view first;
        std::string_view second;
        std::string_view told;
    };
    constexpr Row rows[] = {
        {":1", ":1", "8:10: error: listener :1 is given twice; first in line 3"},
        {":1", "[::]:1", "8:10: error: listener [::]:1 is given twice; first in line 3"},
        {"127.0.0.1:1", "127.0.0.1:1",
         "8:10: error: listener 127.0.0.1:1 is given twice; first in line 3"},
        {"127.0.0.1:1", "[::ffff:127.0.0.1]:1",
         "8:10: error: listener [::ffff:127.0.0.1]:1 is given twice; first in line 3"},
        {"unix:/run/x", "unix:/run/x",
         "8:10: error: listener unix:/run/x is given twice; first in line 3"},
        {":1", "127.0.0.1:1",
         "8:10: error: listener 127.0.0.1:1 is in the way of :1 in line 3: one of them is for all addresses"},
        {"127.0.0.1:1", ":1",
         "8:10: error: listener :1 is in the way of 127.0.0.1:1 in line 3: one of them is for all addresses"},
        {"0.0.0.0:1", "127.0.0.1:1",
         "8:10: error: listener 127.0.0.1:1 is in the way of 0.0.0.0:1 in line 3: one of them is for all addresses"},
        {"[::1]:1", "[::]:1",
         "8:10: error: listener [::]:1 is in the way of [::1]:1 in line 3: one of them is for all addresses"},
        {"0.0.0.0:1", "[::]:1",
         "8:10: error: listener [::]:1 is in the way of 0.0.0.0:1 in line 3: one of them is for all addresses"},
        {":1", ":2", ""},
        {"0.0.0.0:1", "[::1]:1", ""},
        {"127.0.0.1:1", "127.0.0.2:1", ""},
        {"unix:/run/x", "unix:/run/y", ""},
        // What a name stands for is not known yet.
        {"localhost:1", "127.0.0.1:1", ""},
        {"localhost:1", "localhost:2", ""},
        {"localhost:1", "localhost:1",
         "8:10: error: listener localhost:1 is given twice; first in line 3"},
    };
    for (const Row& row : rows) {
        const std::string file = fmt::format(
            "[[service]]\nname = \"a\"\nlisten = \"{}\"\n[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
            "[[service]]\nname = \"b\"\nlisten = \"{}\"\n[[service.backend]]\naddress = \"10.0.0.1:1\"\n",
            row.first, row.second);
        INFO(file);
        CHECK(read_config(file).told == row.told);
    }
}

TEST_CASE("config reader: listeners of one service that are in each other's way are told",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::listen, R"(listen = [":1", ":1"])",
         "2:17: error: listener :1 is given twice; first in line 2"},
        // One that is in the way of several is told once.
        {In::listen, R"(listen = ["127.0.0.1:1", "[::1]:1", ":1"])",
         "2:37: error: listener :1 is in the way of 127.0.0.1:1 in line 2: one of them is for all addresses"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a listener that is in nobody's way hides none that is",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::listen, R"(listen = ["[::1]:1", "127.0.0.1:1", "0.0.0.0:1"])",
         "2:37: error: listener 0.0.0.0:1 is in the way of 127.0.0.1:1 in line 2: one of them is for all addresses"},
        {In::listen, R"(listen = ["[::1]:1", "0.0.0.0:1", "127.0.0.1:1"])",
         "2:35: error: listener 127.0.0.1:1 is in the way of 0.0.0.0:1 in line 2: one of them is for all addresses"},
        {In::listen, R"(listen = ["127.0.0.1:1", "[::1]:1", "[::]:1"])",
         "2:37: error: listener [::]:1 is in the way of 127.0.0.1:1 in line 2: one of them is for all addresses"},
        {In::listen, R"(listen = ["[::1]:1", "[::2]:1", "0.0.0.0:1", "[::1]:2"])", ""},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a backend that leads back to its own service is told",
          "[control][config_reader]") {
    struct Row {
        std::string_view listener;
        std::string_view backend;
        std::string_view told;
    };
    constexpr Row rows[] = {
        {"127.0.0.1:1", "127.0.0.1:1",
         "4:11: error: backend 127.0.0.1:1 is our own listener 127.0.0.1:1 in line 2: every connection would loop"},
        {":1", "127.0.0.1:1",
         "4:11: error: backend 127.0.0.1:1 is our own listener :1 in line 2: every connection would loop"},
        {":1", "127.9.9.9:1",
         "4:11: error: backend 127.9.9.9:1 is our own listener :1 in line 2: every connection would loop"},
        {":1", "[::1]:1",
         "4:11: error: backend [::1]:1 is our own listener :1 in line 2: every connection would loop"},
        {"[::]:1", "127.0.0.1:1",
         "4:11: error: backend 127.0.0.1:1 is our own listener [::]:1 in line 2: every connection would loop"},
        {"0.0.0.0:1", "127.0.0.1:1",
         "4:11: error: backend 127.0.0.1:1 is our own listener 0.0.0.0:1 in line 2: every connection would loop"},
        {"unix:/run/x", "unix:/run/x",
         "4:11: error: backend unix:/run/x is our own listener unix:/run/x in line 2: every connection would loop"},
        {"0.0.0.0:1", "[::1]:1", ""},
        {":1", "127.0.0.1:2", ""},
        {":1", "192.0.2.1:1", ""},
        {":1", "[2001:db8::1]:1", ""},
        {"127.0.0.1:1", "127.0.0.2:1", ""},
        {"unix:/run/x", "unix:/run/y", ""},
        // Not looked up here.
        {":1", "localhost:1", ""},
    };
    for (const Row& row : rows) {
        const std::string file =
            fmt::format("[[service]]\nlisten = \"{}\"\n[[service.backend]]\naddress = \"{}\"\n",
                        row.listener, row.backend);
        INFO(file);
        CHECK(read_config(file).told == row.told);
    }
}

TEST_CASE(
    "config reader: a loop through another service is told where it closes, and a chain is none",
    "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::file,
         "[[service]]\nname = \"a\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:2\"\n"
         "[[service]]\nname = \"b\"\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"[::1]:1\"\n",
         "10:11: error: backend [::1]:1 is our own listener :1 in line 3: every connection would loop (a -> b -> a)"},
        {In::file,
         "[[service]]\nname = \"a\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:2\"\n"
         "[[service]]\nname = \"b\"\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3\"\n",
         ""},
    };
    check_rows(rows);
}

TEST_CASE("config reader: services and backends of one name are told", "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::file,
         "[[service]]\nname = \"a\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nname = \"b\"\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nname = \"a\"\nlisten = \":3\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n",
         R"(12:8: error: there are two services "a"; the first is in line 1)"},
        {In::file,
         "[[service]]\nname = \"a\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nname = \"a\"\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nname = \"a\"\nlisten = \":3\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n",
         "7:8: error: there are two services \"a\"; the first is in line 1\n"
         "12:8: error: there are two services \"a\"; the first is in line 1"},
        // Without a name, a service is called like its first listener.
        {In::file,
         "[[service]]\nname = \":2\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n",
         R"(6:1: error: there are two services ":2"; the first is in line 1)"},
        {In::file,
         "[[service]]\nlisten = \":2\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nname = \":2\"\nlisten = \":1\"\n"
         "[[service.backend]]\naddress = \"10.0.0.1:1\"\n",
         R"(6:8: error: there are two services ":2"; the first is in line 1)"},
        {In::file,
         "[[service]]\nlisten = \":5555\"\n"
         "[[service.backend]]\nname = \"x\"\naddress = \"10.0.0.1:1\"\n"
         "[[service.backend]]\nname = \"y\"\naddress = \"10.0.0.2:1\"\n"
         "[[service.backend]]\nname = \"x\"\naddress = \"10.0.0.3:1\"\n",
         R"(10:8: error: there are two backends "x"; the first is in line 3)"},
        // Those of another service may be called the same.
        {In::file,
         "[[service]]\nlisten = \":5555\"\n"
         "[[service.backend]]\nname = \"x\"\naddress = \"10.0.0.1:1\"\n"
         "[[service]]\nlisten = \":1\"\n"
         "[[service.backend]]\nname = \"x\"\naddress = \"10.0.0.1:1\"\n",
         ""},
    };
    check_rows(rows);
}

TEST_CASE("config reader: services without names that share a listener are told once",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::process,
         "[[service]]\nlisten = \":5555\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"",
         "6:10: error: listener :5555 is given twice; first in line 2"},
        {In::listen,
         "listen = \"localhost:1\"\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n"
         "[[service]]\nlisten = \"localhost:1\"",
         "6:10: error: listener localhost:1 is given twice; first in line 2"},
    };
    check_rows(rows);
}
