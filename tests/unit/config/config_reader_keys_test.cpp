#include "config/config_keys.hpp"
#include "config/config_reader.hpp"
#include "support/catch.hpp"
#include "support/config_reading.hpp"
#include "support/config_values.hpp"

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

// What is told of keys and tables that are not there, are there twice, or are not what they should be.

using namespace eplb::control;
using namespace eplb::test;

TEST_CASE("config reader: no key is there twice, nor called like a table",
          "[control][config_reader]") {
    const std::size_t count = process_keys().size() + log_keys().size() + dns_keys().size() +
                              service_keys().size() + own_service_keys().size() +
                              check_keys().size() + backend_keys().size();
    const std::set<std::string> names = names_of_keys();
    CHECK(names.size() == count);
    for (const std::string& name : names) {
        const std::string key = name.substr(name.find('.') + 1);
        for (const std::string_view table : {"log", "defaults", "service", "backend"})
            CHECK(key != table);
    }
}

TEST_CASE("config reader: a key that nobody knows is told, with what it looks like",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::process, "wrokers = 2",
         R"(1:1: error: unknown key "wrokers"; did you mean "workers"?)"},
        {In::process, "colour = 2", R"(1:1: error: unknown key "colour")"},
        {In::process, R"("two words" = 2)", R"(1:1: error: unknown key "two words")"},
        {In::process, "Workers = 2",
         R"(1:1: error: unknown key "Workers"; did you mean "workers"?)"},
        {In::process, "[lgo]\nlevel = \"info\"",
         R"(1:2: error: unknown key "lgo"; did you mean "log"?)"},
        {In::process, "[default]\nrelay = \"copy\"",
         R"(1:2: error: unknown key "default"; did you mean "defaults"?)"},
        {In::log, R"(levle = "info")",
         R"(2:1: error: unknown key "levle" in [log]; did you mean "level"?)"},
        {In::process, R"(timeout = "1s")",
         R"(1:1: error: unknown key "timeout"; it belongs into [dns])"},
        {In::dns, "severs = []",
         R"(2:1: error: unknown key "severs" in [dns]; did you mean "servers"?)"},
        {In::log, "colour = true", R"(2:1: error: unknown key "colour" in [log])"},
        {In::defaults, R"(idel_timeout = "5s")",
         R"(2:1: error: unknown key "idel_timeout" in [defaults]; did you mean "idle_timeout"?)"},
        {In::service, R"(  realy = "copy")",
         R"(3:3: error: unknown key "realy" in [[service]]; did you mean "relay"?)"},
        {In::service, R"(lisen = ":5556")",
         R"(3:1: error: unknown key "lisen" in [[service]]; did you mean "listen"?)"},
        {In::backend, "[[service.backends]]\naddress = \"10.0.0.1:1\"",
         R"(5:11: error: unknown key "backends" in [[service]]; did you mean "backend"?)"},
        {In::backend, "wieght = 2",
         R"(5:1: error: unknown key "wieght" in [[service.backend]]; did you mean "weight"?)"},
        {In::backend, "port = 3306", R"(5:1: error: unknown key "port" in [[service.backend]])"},
        {In::backend, "[service.backend.x]",
         R"(5:18: error: unknown key "x" in [[service.backend]])"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a key in the wrong table is told where it belongs",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::process, R"(level = "info")",
         R"(1:1: error: unknown key "level"; it belongs into [log])"},
        {In::process, R"(sessions = "off")",
         R"(1:1: error: unknown key "sessions"; it belongs into [log])"},
        {In::process, R"(relay = "copy")",
         R"(1:1: error: unknown key "relay"; it belongs into [[service]] or [defaults])"},
        {In::process, R"(listen = ":5555")",
         R"(1:1: error: unknown key "listen"; it belongs into [[service]])"},
        {In::process, R"(address = "10.0.0.1:1")",
         R"(1:1: error: unknown key "address"; it belongs into [[service.backend]])"},
        {In::log, "workers = 2",
         R"(2:1: error: unknown key "workers" in [log]; it belongs above all [tables])"},
        {In::log, R"(relay = "copy")",
         R"(2:1: error: unknown key "relay" in [log]; it belongs into [[service]] or [defaults])"},
        {In::defaults, R"(name = "x")",
         R"(2:1: error: unknown key "name" in [defaults]; it belongs into [[service]])"},
        {In::defaults, R"(listen = ":1")",
         R"(2:1: error: unknown key "listen" in [defaults]; it belongs into [[service]])"},
        {In::defaults, "weight = 1",
         R"(2:1: error: unknown key "weight" in [defaults]; it belongs into [[service.backend]])"},
        {In::defaults, R"(level = "info")",
         R"(2:1: error: unknown key "level" in [defaults]; it belongs into [log])"},
        {In::service, "weight = 1",
         R"(3:1: error: unknown key "weight" in [[service]]; it belongs into [[service.backend]])"},
        {In::service, R"(control = "off")",
         R"(3:1: error: unknown key "control" in [[service]]; it belongs above all [tables])"},
        {In::backend, R"(relay = "copy")",
         R"(5:1: error: unknown key "relay" in [[service.backend]]; it belongs into [[service]] or [defaults])"},
        {In::backend, "workers = 2",
         R"(5:1: error: unknown key "workers" in [[service.backend]]; it belongs above all [tables])"},
        {In::backend, R"(listen = ":1")",
         R"(5:1: error: unknown key "listen" in [[service.backend]]; it belongs into [[service]])"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a table in the wrong place is told where it belongs",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        // The likeliest slip of all.
        {In::file, "[[service]]\nlisten = \":5555\"\n[[backend]]\naddress = \"127.0.0.1:3306\"\n",
         "1:1: error: [[service]] has no backend; add: [[service.backend]] with address = \"127.0.0.1:3306\"\n"
         "3:3: error: unknown key \"backend\"; write [[service.backend]] below its [[service]]"},
        {In::backend, "[service.log]\nlevel = \"info\"",
         R"(5:10: error: unknown key "log" in [[service]]; write [log])"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a key that is given twice is an error", "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::process, "workers = 1\nworkers = 2",
         R"(2:1: error: "workers" is given twice; first in line 1)"},
        {In::backend, "weight = 1\nweight = 1",
         R"(6:1: error: "weight" is given twice; first in line 5)"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: what has to be there is told with an example",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::file, "",
         R"(1:1: error: no service; add: [[service]] with listen = ":5555", and below it [[service.backend]] with address = "127.0.0.1:3306")"},
        {In::file, "# nothing\n\n",
         R"(1:1: error: no service; add: [[service]] with listen = ":5555", and below it [[service.backend]] with address = "127.0.0.1:3306")"},
        {In::file, "workers = 2\n[log]\n[defaults]\n",
         R"(1:1: error: no service; add: [[service]] with listen = ":5555", and below it [[service.backend]] with address = "127.0.0.1:3306")"},
        {In::file, "[[services]]\nlisten = \":5555\"\n",
         "1:1: error: no service; add: [[service]] with listen = \":5555\", and below it [[service.backend]] with address = \"127.0.0.1:3306\"\n"
         "1:3: error: unknown key \"services\"; did you mean \"service\"?"},
        {In::file, "[[service]]\n",
         "1:1: error: [[service]] has no listen; add: listen = \":5555\"\n"
         "1:1: error: [[service]] has no backend; add: [[service.backend]] with address = \"127.0.0.1:3306\""},
        {In::file, "\n  [[service]]\nlisten = \":5555\"\n",
         R"(2:3: error: [[service]] has no backend; add: [[service.backend]] with address = "127.0.0.1:3306")"},
        {In::file,
         "[[service]]\n"
         "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n",
         R"(1:1: error: [[service]] has no listen; add: listen = ":5555")"},
        {In::file,
         "[[service]]\nlisten = \":5555\"\n"
         "[[service.backend]]\n",
         R"(3:1: error: [[service.backend]] has no address; add: address = "127.0.0.1:3306")"},
        {In::backend, "[[service.backend]]\nname = \"x\"\nweight = 2",
         R"(5:1: error: [[service.backend]] has no address; add: address = "127.0.0.1:3306")"},
        {In::backend, "[[service]]\nlisten = \":1\"",
         R"(5:1: error: [[service]] has no backend; add: [[service.backend]] with address = "127.0.0.1:3306")"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: an empty list of services or backends is none",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::file, "service = []\n",
         R"(1:1: error: no service; add: [[service]] with listen = ":5555", and below it [[service.backend]] with address = "127.0.0.1:3306")"},
        {In::file, "[[service]]\nlisten = \":1\"\nbackend = []\n",
         R"(1:1: error: [[service]] has no backend; add: [[service.backend]] with address = "127.0.0.1:3306")"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: a table that is something else is told how it is written",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::process, R"(log = "info")", R"(1:1: error: "log" is a table; write [log])"},
        {In::process, "[[log]]\nlevel = \"info\"", R"(1:3: error: "log" is a table; write [log])"},
        {In::process, "defaults = 5", R"(1:1: error: "defaults" is a table; write [defaults])"},
        {In::process, "[[defaults]]", R"(1:3: error: "defaults" is a table; write [defaults])"},
        {In::file, "[service]\nlisten = \":5555\"\n",
         "1:2: error: there may be several of them: write [[service]]"},
        {In::file, "service = \":5555\"\n",
         "1:1: error: there may be several of them: write [[service]]"},
        {In::file, "service = [\":5555\"]\n",
         "1:1: error: there may be several of them: write [[service]]"},
        {In::file, "[[service.backend]]\naddress = \"127.0.0.1:1\"\n",
         "1:3: error: there may be several of them: write [[service]]"},
        {In::file,
         "[[service]]\nlisten = \":5555\"\n"
         "[service.backend]\naddress = \"127.0.0.1:1\"\n",
         "3:10: error: there may be several of them: write [[service.backend]]"},
        {In::file, "[[service]]\nlisten = \":5555\"\nbackend = \"127.0.0.1:1\"\n",
         "3:1: error: there may be several of them: write [[service.backend]]"},
        {In::file, "[[service]]\nlisten = \":5555\"\nbackend = [\"127.0.0.1:1\"]\n",
         "3:1: error: there may be several of them: write [[service.backend]]"},
        {In::process, "workers.count = 2",
         R"(1:1: error: workers: expected a whole number from 1 to 256, or "auto", got a table)"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: in a list of listeners, each bad one is told at its own place",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::listen, "listen = [\":1\", 5555, \n  \":0\"]",
         "2:17: error: listen: expected an address like \":5555\", got a number\n"
         "3:3: error: listen: bad address \":0\": ports are numbers from 1 to 65535"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: in other lists too, each bad item is told at its own place",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::service, R"(allow = ["10.0.0.0/8", "10.0.0.1/8", ""])",
         "3:24: error: allow: bad network \"10.0.0.1/8\": it has bits set behind the prefix; did you mean 10.0.0.0/8?\n"
         "3:38: error: allow: bad network \"\": it is empty"},
        {In::service, R"(source = ["10.0.0.1", "x"])",
         R"(3:23: error: source: "x" is not an IP address of this machine, like 10.0.0.1)"},
        {In::service, "proxy_tlvs = [\"crc32c\", \"alpn\"]\nsend_proxy = \"v2\"",
         R"(3:25: error: proxy_tlvs: there is no "alpn"; use crc32c, unique_id or authority)"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: what is no text in a list is told as what it is, where it is",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::service, "allow = [7]",
         R"(3:10: error: allow: expected networks like ["10.0.0.0/8"], got a number)"},
        {In::service, "deny = [7]",
         R"(3:9: error: deny: expected networks like ["10.0.0.0/8"], got a number)"},
        {In::service, "trusted_proxies = [7]",
         R"(3:20: error: trusted_proxies: expected networks like ["10.0.0.0/8"], got a number)"},
        {In::service, "source = [7]",
         R"(3:11: error: source: expected IP addresses like ["10.0.0.1"], got a number)"},
        {In::service, "proxy_tlvs = [7]",
         R"(3:15: error: proxy_tlvs: expected names like ["crc32c"], got a number)"},
    };
    check_rows(rows);
}

TEST_CASE("config reader: the parts of keepalive are told at their own places",
          "[control][config_reader]") {
    constexpr Told rows[] = {
        {In::service, R"(keepalive = {idle = 60, interval = "0", count = 0})",
         "3:21: error: keepalive: a duration needs a unit; did you mean \"60s\"?\n"
         "3:36: error: keepalive: this cannot be turned off\n"
         "3:49: error: keepalive: 0 is not a whole number from 1 to 127"},
        {In::service, R"(keepalive = {idel = "60s", idle = "9h6m"})",
         "3:14: error: keepalive: unknown key \"idel\"; use idle, interval or count\n"
         "3:35: error: keepalive: bad duration \"9h6m\": unknown unit \"h6m\"; use us, ms, s, m, h or d"},
        {In::service, R"(keepalive = {idle = "32768s", interval = "500ms"})",
         "3:21: error: keepalive: 32768s is longer than 32767s\n"
         "3:42: error: keepalive: 500ms is shorter than 1s"},
    };
    check_rows(rows);
    // Whichever way it is written.
    const Reading reading =
        read_config(file_with(In::service, "keepalive.idle = \"30s\"\nkeepalive.count = 3"));
    CHECK(reading.told == "");
    CHECK(value_of(reading.settings, In::service, "keepalive") == "30s 10s 3");
}
