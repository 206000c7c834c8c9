#include "control/reload_plan.hpp"

#include "config/config_file.hpp"
#include "config/config_keys.hpp"
#include "config/config_reader.hpp"
#include "config/toml_document.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace eplb::control;
using eplb::Address;
using eplb::BackendStatus;
using eplb::ListenerStatus;

namespace {

using Lines = std::vector<std::string>;

ResolvedSettings from(std::string_view text) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    ResolvedSettings result;
    result.settings = read_settings(&root, nullptr, diagnostics);
    result.config = resolve(result.settings, diagnostics);
    INFO(to_text(diagnostics, "f", text));
    CHECK_FALSE(diagnostics.has_errors());
    return result;
}

ReloadPlan plan(std::string_view running, std::string_view wanted,
                const std::vector<BackendStatus>& backends = {}) {
    return plan_reload(from(running), from(wanted), backends);
}

Lines lines(std::string_view running, std::string_view wanted,
            const std::vector<BackendStatus>& backends = {}) {
    return plan(running, wanted, backends).lines;
}

BackendStatus status(std::string service, std::string name, std::string_view address,
                     std::size_t active) {
    BackendStatus result;
    result.service = std::move(service);
    result.name = std::move(name);
    result.address = Address::parse(address);
    result.active = active;
    return result;
}

ListenerStatus listening(std::string service, std::string_view address, std::size_t active) {
    return {std::move(service), Address::parse(address), active};
}

std::string backend(std::string_view address, std::string_view more = "") {
    return "[[service.backend]]\naddress = \"" + std::string{address} + "\"\n" + std::string{more} +
           "\n";
}

std::string service(std::string_view name, std::string_view listen, std::string_view more = "") {
    return "[[service]]\nname = \"" + std::string{name} + "\"\nlisten = " + std::string{listen} +
           "\n" + std::string{more} + "\n";
}

const std::string mysql = service("mysql", "\":5555\"");
const std::string db1 = backend("10.0.0.1:3306", "name = \"db1\"");
const std::string db2 = backend("10.0.0.2:3306", "name = \"db2\"");
const std::string kept = "= listener [::]:5555 (socket kept)";

}  // namespace

TEST_CASE("reload plan: what waits for the next start is said each time, until it is taken back",
          "[control][reload_plan]") {
    const ResolvedSettings running = from(mysql + db1);
    ResolvedSettings now = from("workers = 4\n" + mysql + db1 + db2);
    for (int i = 0; i < 2; ++i) {
        keep_until_restart(now, running);
        CHECK(now.config.workers == 1);
        const ReloadPlan again = plan_reload(now, from("workers = 4\n" + mysql + db1 + db2), {});
        CHECK(again.lines == Lines{"~ workers 1 -> 4 (at the next start)", kept});
        CHECK(again.needs_restart == Lines{"workers"});
    }
    CHECK_FALSE(plan_reload(now, from(mysql + db1 + db2), {}).changes);
}

TEST_CASE("reload plan: of the same configuration nothing changes, and listeners are kept",
          "[control][reload_plan]") {
    const ReloadPlan same = plan(mysql + db1 + db2, mysql + db1 + db2);
    CHECK(same.lines == Lines{kept});
    CHECK_FALSE(same.changes);
    CHECK(same.deserted_services.empty());
    CHECK(same.needs_restart.empty());
    // What is said in other words, or in another order, is the same.
    CHECK_FALSE(plan(mysql + db1 + db2, mysql + db2 + db1).changes);
    CHECK_FALSE(plan(mysql + db1, "workers = 1\n[defaults]\nidle_timeout = \"0\"\n" +
                                      service("mysql", "[\"[::]:5555\"]") + db1)
                    .changes);
    CHECK_FALSE(plan_reload({}, {}, {}).changes);
}

TEST_CASE("reload plan: a weight that changes is told", "[control][reload_plan]") {
    const ReloadPlan changed =
        plan(mysql + db1 + "weight = 1\n" + db2, mysql + db1 + "weight = 3\n" + db2);
    CHECK(changed.lines == Lines{kept, "~ service mysql: backend db1 weight 1 -> 3"});
    CHECK(changed.changes);
    CHECK(lines(mysql + backend("10.0.0.1:1"), mysql + backend("10.0.0.1:1", "weight = 2")) ==
          Lines{kept, "~ service mysql: backend 10.0.0.1:1 weight 1 -> 2"});
}

TEST_CASE("reload plan: keys that change are told with both values, as TOML has them",
          "[control][reload_plan]") {
    const ReloadPlan changed =
        plan(mysql + db1, "max_connections = 100\n[log]\nlevel = \"debug\"\nsessions = \"off\"\n" +
                              service("mysql", "\":5555\"",
                                      "idle_timeout = \"5m\"\nrelay = \"copy\"\nbacklog = 7\n"
                                      "pipe_size = \"1MiB\"\non_remove = \"keep\"") +
                              db1);
    CHECK(changed.lines == Lines{
                               "~ max_connections \"auto\" -> 100",
                               "~ log level \"info\" -> \"debug\"",
                               "~ log sessions \"close\" -> \"off\"",
                               "~ service mysql: idle_timeout \"off\" -> \"5m\"",
                               "~ service mysql: on_remove \"drain\" -> \"keep\"",
                               "~ service mysql: relay \"auto\" -> \"copy\"",
                               "~ service mysql: pipe_size \"auto\" -> \"1MiB\"",
                               "~ service mysql: backlog 4096 -> 7",
                               kept,
                           });
    CHECK(changed.changes);
    CHECK(changed.needs_restart.empty());
}

TEST_CASE("reload plan: what takes a restart is told as such", "[control][reload_plan]") {
    const ReloadPlan changed =
        plan(mysql + db1,
             "workers = \"auto\"\nbusy_poll = \"50us\"\ncontrol = \"unix:/run/x\"\n" + mysql + db1);
    CHECK(changed.lines == Lines{"~ workers 1 -> \"auto\" (at the next start)",
                                 "~ busy_poll \"off\" -> \"50us\" (at the next start)",
                                 "~ control \"off\" -> \"unix:/run/x\" (at the next start)", kept});
    CHECK(changed.needs_restart == Lines{"workers", "busy_poll", "control"});
    CHECK(changed.changes);
}

TEST_CASE("reload plan: what takes a restart is what the reference says takes one",
          "[control][reload_plan]") {
    for (const auto& key : process_keys()) {
        INFO(key.name);
        const std::string value = key.name == "busy_poll"         ? "\"1us\""
                                  : key.name == "control"         ? "\"unix:/x\""
                                  : key.name == "max_connections" ? "100"
                                                                  : "2";
        const ReloadPlan one = plan(mysql + db1, key.name + " = " + value + "\n" + mysql + db1);
        const bool documented = key.details.find("at the next start") != std::string::npos;
        CHECK(documented == !one.needs_restart.empty());
    }
}

TEST_CASE("reload plan: a backend that goes is told with its sessions and what becomes of them",
          "[control][reload_plan]") {
    const std::vector<BackendStatus> backends{
        status("mysql", "db1", "10.0.0.1:3306", 5),
        status("mysql", "db2", "10.0.0.2:3306", 312),
    };
    const auto gone = [&](std::string_view more, std::vector<BackendStatus> told) {
        const Lines all = lines(service("mysql", "\":5555\"", more) + db1 + db2,
                                service("mysql", "\":5555\"", more) + db1, told);
        REQUIRE(all.size() >= 2);
        CHECK(all[0] == kept);
        return Lines{all.begin() + 1, all.end()};
    };
    CHECK(gone("", backends) == Lines{"- backend db2 (312 sessions: drain 30s)",
                                      "! 312 sessions will be reset, unless over within 30s"});
    CHECK(gone("drain_timeout = \"5m\"", backends) ==
          Lines{"- backend db2 (312 sessions: drain 5m)",
                "! 312 sessions will be reset, unless over within 5m"});
    CHECK(gone("drain_timeout = \"off\"", backends) ==
          Lines{"- backend db2 (312 sessions: drain)"});
    CHECK(gone("on_remove = \"close\"", backends) ==
          Lines{"- backend db2 (312 sessions: close)", "! 312 sessions will be reset at once"});
    CHECK(gone("on_remove = \"keep\"", backends) == Lines{"- backend db2 (312 sessions: keep)"});
    CHECK(gone("", {}) == Lines{"- backend db2 (0 sessions: drain 30s)"});
    CHECK(gone("", {status("mysql", "db2", "10.0.0.2:3306", 1)}) ==
          Lines{"- backend db2 (1 session: drain 30s)",
                "! 1 session will be reset, unless over within 30s"});
    // Sessions of others, and of one that was there before, are not its own.
    BackendStatus before = status("mysql", "db2", "10.0.0.2:3306", 9);
    before.removed = true;
    CHECK(gone("", {before, status("other", "db2", "10.0.0.2:3306", 8),
                    status("mysql", "db3", "10.0.0.2:3306", 7),
                    status("mysql", "db2", "10.0.0.3:3306", 6),
                    status("mysql", "db2", "10.0.0.2:3306", 5)}) ==
          Lines{"- backend db2 (5 sessions: drain 30s)",
                "! 5 sessions will be reset, unless over within 30s"});
}

TEST_CASE("reload plan: what becomes of sessions is what the running configuration says",
          "[control][reload_plan]") {
    CHECK(lines(service("mysql", "\":5555\"", "on_remove = \"keep\"") + db1 + db2,
                service("mysql", "\":5555\"", "on_remove = \"close\"") + db1) ==
          Lines{"~ service mysql: on_remove \"keep\" -> \"close\"", kept,
                "- backend db2 (0 sessions: keep)"});
}

TEST_CASE("reload plan: a backend that comes is told with its weight", "[control][reload_plan]") {
    const ReloadPlan changed = plan(mysql + db1, mysql + db1 + db2 + "weight = 7\n");
    CHECK(changed.lines == Lines{kept, "+ backend db2 weight 7"});
    CHECK(changed.changes);
    CHECK(lines(mysql + db1, mysql + db1 + backend("[::1]:1") + backend("unix:/x", "weight = 0")) ==
          Lines{kept, "+ backend [::1]:1 weight 1", "+ backend unix:/x weight 0"});
}

TEST_CASE("reload plan: a backend with another address is another one, with another name it is not",
          "[control][reload_plan]") {
    CHECK(lines(mysql + db1, mysql + backend("10.0.0.9:3306", "name = \"db1\"")) ==
          Lines{kept, "- backend db1/10.0.0.1:3306 (0 sessions: drain 30s)",
                "+ backend db1/10.0.0.9:3306 weight 1"});
    CHECK(lines(mysql + db1, mysql + backend("10.0.0.1:3306", "name = \"db9\"")) ==
          Lines{kept, "~ service mysql: backend db1 renamed db9"});
    CHECK(lines(mysql + backend("10.0.0.1:3306"), mysql + db1 + "weight = 2\n",
                {status("mysql", "", "10.0.0.1:3306", 7)}) ==
          Lines{kept, "~ service mysql: backend 10.0.0.1:3306 renamed db1",
                "~ service mysql: backend db1 weight 1 -> 2"});
    // Names that were swapped.
    CHECK(lines(mysql + db1 + db2, mysql + backend("10.0.0.2:3306", "name = \"db1\"") +
                                       backend("10.0.0.1:3306", "name = \"db2\"")) ==
          Lines{kept, "~ service mysql: backend db2/10.0.0.2:3306 renamed db1/10.0.0.2:3306",
                "~ service mysql: backend db1/10.0.0.1:3306 renamed db2/10.0.0.1:3306"});
}

TEST_CASE("reload plan: sessions that will be reset are told in sum, by when",
          "[control][reload_plan]") {
    const std::string a = service("a", "\":1\"", "on_remove = \"close\"");
    const std::string b = service("b", "\":2\"");
    const ReloadPlan fewer =
        plan(a + db1 + db2 + b + db1 + db2, a + db2,
             {status("a", "db1", "10.0.0.1:3306", 3), status("a", "db2", "10.0.0.2:3306", 100),
              status("b", "db1", "10.0.0.1:3306", 5), status("b", "db2", "10.0.0.2:3306", 7)});
    CHECK(
        fewer.lines ==
        Lines{"- service b", "- listener [::]:2 of b", "- backend db1 of b (5 sessions: drain 30s)",
              "- backend db2 of b (7 sessions: drain 30s)", "= listener [::]:1 of a (socket kept)",
              "- backend db1 of a (3 sessions: close)", "! 3 sessions will be reset at once",
              "! 12 sessions will be reset, unless over within 30s"});
}

TEST_CASE("reload plan: a listener that goes is told with its sessions, which are cut as well",
          "[control][reload_plan]") {
    const std::vector<ListenerStatus> listeners{listening("mysql", "[::]:5555", 7),
                                                listening("mysql", "127.0.0.1:1", 12)};
    const std::vector<BackendStatus> backends{status("mysql", "db1", "10.0.0.1:3306", 14),
                                              status("mysql", "db2", "10.0.0.2:3306", 5)};
    const auto told = [&](const std::string& policy, const std::string& left) {
        const auto two = service("mysql", "[\":5555\", \"127.0.0.1:1\"]", policy);
        return plan_reload(from(two + db1 + db2),
                           from(service("mysql", "\":5555\"", policy) + left), backends, listeners)
            .lines;
    };
    CHECK(told("", db1 + db2) == Lines{"- listener 127.0.0.1:1 (12 sessions: drain 30s)", kept,
                                       "! 12 sessions will be reset, unless over within 30s"});
    CHECK(told("on_remove = \"close\"", db1 + db2) ==
          Lines{"- listener 127.0.0.1:1 (12 sessions: close)", kept,
                "! 12 sessions will be reset at once"});
    CHECK(told("on_remove = \"keep\"", db1 + db2) ==
          Lines{"- listener 127.0.0.1:1 (12 sessions: keep)", kept});
    // Some may have lost both.
    CHECK(told("", db1) == Lines{"- listener 127.0.0.1:1 (12 sessions: drain 30s)", kept,
                                 "- backend db2 (5 sessions: drain 30s)",
                                 "! up to 17 sessions will be reset, unless over within 30s"});
}

TEST_CASE("reload plan: the sessions of a service that goes are told once",
          "[control][reload_plan]") {
    const std::string redis = service("redis", "\":6379\"");
    const std::string large = backend("10.0.0.9:6379", "name = \"large\"");
    const std::vector<BackendStatus> backends{status("redis", "large", "10.0.0.9:6379", 3)};
    // One of them waits for a backend.
    const std::vector<ListenerStatus> listeners{listening("redis", "[::]:6379", 4)};
    CHECK(plan_reload(from(mysql + db1 + redis + large), from(mysql + db1), backends, listeners)
              .lines == Lines{"- service redis",
                              "- listener [::]:6379 of redis (4 sessions: drain 30s)",
                              "- backend large of redis (3 sessions: drain 30s)",
                              "= listener [::]:5555 of mysql (socket kept)",
                              "! 4 sessions will be reset, unless over within 30s"});
}

TEST_CASE("reload plan: a listener that goes to another service loses nobody",
          "[control][reload_plan]") {
    const std::vector<ListenerStatus> listeners{listening("a", "[::]:1", 4),
                                                listening("a", "[::]:2", 5)};
    const ReloadPlan moved = plan_reload(
        from(service("a", "[\":1\", \":2\"]") + db1 + service("b", "\":3\"") + db1),
        from(service("a", "\":1\"") + db1 + service("b", "[\":3\", \":2\"]") + db1), {}, listeners);
    for (const std::string& line : moved.lines) CHECK_FALSE(line.starts_with('!'));
}

TEST_CASE("reload plan: in a summary, what stays as it is is counted", "[control][reload_plan]") {
    std::string listen = "[\":1\"";
    for (int port = 2; port <= 4000; ++port) listen += ", \":" + std::to_string(port) + "\"";
    const std::string many = service("mysql", listen + "]");
    const ReloadPlan changed = plan(many + db1, many + db1 + db2);
    CHECK(changed.lines.size() == 4001);
    CHECK(changed.summary() ==
          Lines{"= 4000 listeners and backends stay as they are", "+ backend db2 weight 1"});
    const ReloadPlan one = plan(mysql + db1, mysql + db1 + db2);
    CHECK(one.summary() == one.lines);
}

TEST_CASE("reload plan: of two backends that are the same, one can come or go",
          "[control][reload_plan]") {
    const std::string same = backend("10.0.0.1:1");
    CHECK(lines(mysql + same + same, mysql + same) ==
          Lines{kept, "- backend 10.0.0.1:1 (0 sessions: drain 30s)"});
    CHECK(lines(mysql + same, mysql + same + same) == Lines{kept, "+ backend 10.0.0.1:1 weight 1"});
    CHECK(lines(mysql + same + "weight = 2\n" + same + "weight = 5\n",
                mysql + same + "weight = 2\n" + same + "weight = 5\n") == Lines{kept});
}

TEST_CASE("reload plan: listeners are kept, come and go", "[control][reload_plan]") {
    const ReloadPlan changed = plan(service("mysql", "[\":5555\", \"127.0.0.1:1\"]") + db1,
                                    service("mysql", "[\"unix:/x\", \":5555\"]") + db1);
    CHECK(changed.lines == Lines{"- listener 127.0.0.1:1", "+ listener unix:/x", kept});
    CHECK(changed.changes);
    CHECK_FALSE(
        plan(service("mysql", "[\":1\", \":2\"]") + db1, service("mysql", "[\":2\", \":1\"]") + db1)
            .changes);
}

TEST_CASE("reload plan: a service that has no name is the one whose listener it has",
          "[control][reload_plan]") {
    const std::string one = "[[service]]\nlisten = \":1\"\n" + db1;
    CHECK(lines(one, "[[service]]\nlisten = [\":2\", \":1\"]\n" + db1) ==
          Lines{"~ service :1 renamed :2", "+ listener [::]:2", "= listener [::]:1 (socket kept)"});
    CHECK(lines(one, service("db", "\":1\"") + db1) ==
          Lines{"~ service :1 renamed db", "= listener [::]:1 (socket kept)"});
    // Without a common listener nothing says so.
    CHECK(lines("[[service]]\nlisten = \":1\"\n" + db1, "[[service]]\nlisten = \":2\"\n" + db1,
                {status(":1", "db1", "10.0.0.1:3306", 2)}) ==
          Lines{"- service :1", "- listener [::]:1", "- backend db1 (2 sessions: drain 30s)",
                "+ service :2", "+ listener [::]:2", "+ backend db1 weight 1",
                "! 2 sessions will be reset, unless over within 30s"});
}

TEST_CASE("reload plan: services come and go, with all that is theirs", "[control][reload_plan]") {
    const std::string redis = service("redis", "\":6379\"", "on_remove = \"close\"");
    const std::string large = backend("10.0.0.9:6379", "name = \"large\"");
    const ReloadPlan more = plan(mysql + db1, mysql + db1 + redis + large);
    CHECK(more.lines == Lines{"= listener [::]:5555 of mysql (socket kept)", "+ service redis",
                              "+ listener [::]:6379 of redis",
                              "+ backend large of redis weight 1"});
    CHECK(more.changes);
    const ReloadPlan fewer = plan(mysql + db1 + redis + large, mysql + db1,
                                  {status("redis", "large", "10.0.0.9:6379", 3)});
    CHECK(fewer.lines == Lines{"- service redis", "- listener [::]:6379 of redis",
                               "- backend large of redis (3 sessions: close)",
                               "= listener [::]:5555 of mysql (socket kept)",
                               "! 3 sessions will be reset at once"});
    CHECK(fewer.changes);
}

TEST_CASE("reload plan: of several services, each line says which it is about",
          "[control][reload_plan]") {
    const std::string a = service("a", "\":1\"");
    const std::string b = service("b", "\":2\"");
    CHECK(lines(a + db1 + db2 + b + db1, a + db1 + b + db1 + "weight = 2\n" + db2) ==
          Lines{"= listener [::]:1 of a (socket kept)",
                "- backend db2 of a (0 sessions: drain 30s)",
                "= listener [::]:2 of b (socket kept)", "~ service b: backend db1 weight 1 -> 2",
                "+ backend db2 of b weight 1"});
    // Their order is none of our business.
    CHECK_FALSE(plan(a + db1 + b + db2, b + db2 + a + db1).changes);
}

TEST_CASE("reload plan: a listener that goes to another service keeps its socket",
          "[control][reload_plan]") {
    const auto two = [](std::string_view first, std::string_view second) {
        return service("a", first) + db1 + service("b", second) + db1;
    };
    const ReloadPlan moved =
        plan(two("[\":1\", \":9\"]", "\":2\""), two("\":1\"", "[\":2\", \":9\"]"));
    CHECK(moved.lines == Lines{"= listener [::]:1 of a (socket kept)",
                               "= listener [::]:2 of b (socket kept)",
                               "~ listener [::]:9 goes to service b (socket kept)"});
    CHECK(moved.changes);
    // All of them, to a service that was there before.
    CHECK(lines(two("\":1\"", "\":2\""), service("b", "[\":2\", \":1\"]") + db1) ==
          Lines{"- service a", "- backend db1 of a (0 sessions: drain 30s)",
                "= listener [::]:2 of b (socket kept)",
                "~ listener [::]:1 goes to service b (socket kept)"});
}

TEST_CASE("reload plan: a service that is called otherwise is renamed, with whatever else changes",
          "[control][reload_plan]") {
    const ReloadPlan renamed =
        plan(mysql + db1, service("mariadb", "\":5555\"", "idle_timeout = \"5m\"") + db1 + db2,
             {status("mysql", "db1", "10.0.0.1:3306", 9)});
    CHECK(renamed.changes);
    CHECK(renamed.lines == Lines{"~ service mysql renamed mariadb",
                                 "~ service mariadb: idle_timeout \"off\" -> \"5m\"", kept,
                                 "+ backend db2 weight 1"});
    // Somebody else has its old name.
    const std::string other = service("mysql", "\":6666\"");
    CHECK(lines(mysql + db1, service("old", "\":5555\"") + db1 + other + db2) ==
          Lines{"~ service mysql renamed old", "= listener [::]:5555 of old (socket kept)",
                "+ service mysql", "+ listener [::]:6666 of mysql",
                "+ backend db2 of mysql weight 1"});
    // Names that were swapped.
    CHECK(lines(mysql + db1 + service("b", "\":2\"") + db2,
                service("b", "\":5555\"") + db1 + service("mysql", "\":2\"") + db2) ==
          Lines{"~ service mysql renamed b", "= listener [::]:5555 of b (socket kept)",
                "~ service b renamed mysql", "= listener [::]:2 of mysql (socket kept)"});
}

TEST_CASE("reload plan: a service that would be left without backends is named",
          "[control][reload_plan]") {
    const std::string a = service("a", "\":1\"");
    const std::string b = service("b", "\":2\"");
    CHECK(plan(a + db1 + b + db2, a + db1 + "weight = 0\n" + b + db2).deserted_services ==
          Lines{"a"});
    CHECK(plan(a + db1, a + db1 + "weight = 0\n" + b + db2 + "weight = 0\n").deserted_services ==
          Lines{"a", "b"});
    CHECK(plan(a + db1 + "weight = 0\n", a + db1 + "weight = 0\n" + db2).deserted_services ==
          Lines{});
    // One that goes is left by nobody.
    CHECK(plan(a + db1 + b + db2, a + db1).deserted_services == Lines{});
}

TEST_CASE("reload plan: a name that resolves to something else is another backend",
          "[control][reload_plan]") {
    ResolvedSettings running = from(mysql + backend("10.0.0.1:1", "name = \"db\""));
    ResolvedSettings wanted = running;
    wanted.config.services[0].backends[0].address = Address::parse("10.0.0.2:1");
    const ReloadPlan changed = plan_reload(running, wanted, {});
    CHECK(changed.lines == Lines{kept, "- backend db/10.0.0.1:1 (0 sessions: drain 30s)",
                                 "+ backend db/10.0.0.2:1 weight 1"});
    CHECK(changed.changes);
}

TEST_CASE("reload plan: of the addresses of one name, each is told by its address",
          "[control][reload_plan]") {
    ResolvedSettings running = from(mysql + backend("10.0.0.1:1", "name = \"db\""));
    ResolvedSettings wanted = running;
    std::vector<eplb::BackendConfig>& backends = wanted.config.services[0].backends;
    backends.push_back({.address = Address::parse("10.0.0.2:1"), .name = "db", .backup = true});
    CHECK(plan_reload(running, wanted, {}).lines ==
          Lines{kept, "+ backend db/10.0.0.2:1 weight 1 backup"});
    running = wanted;
    backends[0].weight = 4;
    backends[0].backup = true;
    backends[1].backup = false;
    const ReloadPlan changed = plan_reload(running, wanted, {});
    CHECK(changed.changes);
    CHECK(changed.lines == Lines{kept, "~ service mysql: backend db/10.0.0.1:1 weight 1 -> 4",
                                 "~ service mysql: backend db/10.0.0.1:1 is a backup",
                                 "~ service mysql: backend db/10.0.0.2:1 is no backup"});
}

TEST_CASE("reload plan: what changes of a check is told, but no password",
          "[control][reload_plan]") {
    const std::string listen = service("cache", "\":5555\"");
    const std::string old = "[service.check]\ntype = \"redis\"\npassword = \"hunter2\"\n";
    const std::string now =
        "[service.check]\ntype = \"redis\"\npassword = \"hunter3\"\ninterval = \"5s\"\n";
    CHECK(lines(listen + old + db1, listen + now + db1) ==
          Lines{"~ service cache: check interval \"2s\" -> \"5s\"",
                "~ service cache: check password is another one", kept});
}

TEST_CASE("reload plan: what is absent, what is back, and what is forgotten is told",
          "[control][reload_plan]") {
    const ResolvedSettings both = from(mysql + db1 + db2);
    const auto with = [&](std::optional<eplb::OnRemove> absent) {
        ResolvedSettings settings = both;
        eplb::BackendConfig& backend = settings.config.services[0].backends[1];
        backend.absent = absent;
        if (absent) backend.weight = 0;
        return settings;
    };
    const ResolvedSettings kept_one = with(eplb::OnRemove::keep);
    const ResolvedSettings closed = with(eplb::OnRemove::close);
    const ResolvedSettings none = from(mysql + db1);
    const std::vector<BackendStatus> sessions{status("mysql", "db2", "10.0.0.2:3306", 2)};
    const auto told = [&](const ResolvedSettings& running, const ResolvedSettings& wanted) {
        return plan_reload(running, wanted, sessions).lines;
    };
    const std::string is_absent =
        "backend db2 is absent from what its name stands for (2 sessions: keep)";
    CHECK(told(both, kept_one) == Lines{kept, "~ " + is_absent});
    CHECK(told(kept_one, kept_one) == Lines{kept, "= " + is_absent});
    CHECK_FALSE(plan_reload(kept_one, kept_one, sessions).changes);
    CHECK(told(kept_one, both) == Lines{kept, "~ backend db2 is back (2 sessions)"});
    CHECK(told(kept_one, none) == Lines{kept, "- backend db2 (2 sessions: drain 30s)",
                                        "! 2 sessions will be reset, unless over within 30s"});
    CHECK(told(none, kept_one) == Lines{kept});
    CHECK(told(both, closed) ==
          Lines{kept, "- backend db2 (2 sessions: close)", "! 2 sessions will be reset at once"});
    CHECK(told(closed, closed) == Lines{kept});
    CHECK(told(closed, none) == Lines{kept});
    CHECK(told(closed, both) == Lines{kept, "+ backend db2 weight 1"});
    CHECK(told(kept_one, closed) ==
          Lines{kept, "- backend db2 (2 sessions: close)", "! 2 sessions will be reset at once"});
}
