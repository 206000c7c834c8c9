#include "proxy/roster.hpp"

#include "balance/balance_table.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::AcceptProxy;
using eplb::Address;
using eplb::Backend;
using eplb::BackendConfig;
using eplb::BackendStatus;
using eplb::Cidr;
using eplb::Config;
using eplb::Duration;
using eplb::FrontendSpec;
using eplb::Generation;
using eplb::OnRemove;
using eplb::RelayMode;
using eplb::Roster;
using eplb::SendProxy;
using eplb::ServiceConfig;
using eplb::ServiceSpec;
using eplb::SourceLimits;
using eplb::test::contains;

namespace {

BackendConfig backend(std::string name, std::string_view address, std::uint32_t weight = 1) {
    return {Address::parse(address), std::move(name), weight};
}

ServiceConfig service(std::string name, const std::vector<std::string>& listen,
                      std::vector<BackendConfig> backends) {
    ServiceConfig config;
    config.name = std::move(name);
    for (const std::string& text : listen) config.listen.push_back(Address::parse(text));
    config.backends = std::move(backends);
    return config;
}

Config config_of(std::vector<ServiceConfig> services) {
    Config config;
    config.services = std::move(services);
    return config;
}

// Goes over to it as a proxy does, and returns what was drafted.
Roster::Draft go_over(Roster& roster, const Config& config) {
    Roster::Draft draft = roster.draft(config);
    roster.commit(draft);
    return draft;
}

const ServiceSpec& spec_of(const Generation& generation, std::string_view name) {
    const auto found = std::ranges::find_if(
        generation.services, [&](const auto& spec) { return spec->config->name == name; });
    if (found == generation.services.end()) FAIL("there is no service " << name);
    return **found;
}

const ServiceSpec& spec_of(const Roster& roster, std::string_view name) {
    return spec_of(roster.generation(), name);
}

std::shared_ptr<Backend> usable(const Roster& roster, std::string_view service,
                                std::string_view name) {
    for (const auto& candidate : spec_of(roster, service).primaries) {
        if (candidate->name() == name) return candidate;
    }
    return nullptr;
}

// "service name weight active", and "removed".
std::vector<std::string> told(const Roster& roster) {
    std::vector<std::string> lines;
    for (const BackendStatus& status : roster.backends()) {
        lines.push_back(status.service + ' ' + status.name + ' ' + std::to_string(status.weight) +
                        ' ' + std::to_string(status.active) + (status.removed ? " removed" : ""));
    }
    return lines;
}

using Lines = std::vector<std::string>;

const BackendConfig a = backend("a", "10.0.0.1:1");
const BackendConfig b = backend("b", "10.0.0.2:1");
const BackendConfig c = backend("c", "10.0.0.3:1");

Config one(std::vector<BackendConfig> backends) {
    return config_of({service("db", {"127.0.0.1:1"}, std::move(backends))});
}

}  // namespace

TEST_CASE("roster: at the beginning there is nothing", "[proxy][roster]") {
    const Roster roster;
    CHECK(roster.generation().services.empty());
    CHECK(roster.generation().frontends.empty());
    CHECK(roster.backends().empty());
    CHECK(roster.config().services.empty());
}

TEST_CASE("roster: a draft says all of a service, and is nothing until it is committed",
          "[proxy][roster]") {
    ServiceConfig config =
        service("db", {"127.0.0.1:1", "unix:/x"}, {a, backend("z", "[::1]:1", 0)});
    config.connect_timeout = 1s;
    config.idle_timeout = 2s;
    config.half_close_timeout = 3s;
    config.relay = RelayMode::copy;
    config.pipe_bytes = 65536;
    config.backlog = 7;
    config.fast_open = 8;
    config.defer_accept = 9s;
    config.unix_mode = 0600;
    config.unix_owner = {10, 11};
    config.socket.mark = 12;
    config.sources = {Address::parse("10.0.0.9:0")};
    config.allow = {Cidr::parse("10.0.0.0/8")};
    config.deny = {Cidr::parse("10.0.0.1")};
    config.trusted_proxies = {Cidr::parse("192.0.2.0/24")};
    config.accept_proxy = AcceptProxy::any;
    config.send_proxy = SendProxy::v2;
    config.proxy_tlvs.crc32c = true;
    Roster roster;
    Roster::Draft draft = roster.draft(config_of({config}));
    CHECK(roster.backends().empty());
    CHECK(roster.generation().services.empty());
    CHECK(roster.config().services.empty());

    REQUIRE(draft.generation().services.size() == 1);
    const ServiceSpec& spec = *draft.generation().services[0];
    CHECK(spec.id != 0);
    CHECK(spec.config->name == "db");
    CHECK(spec.config->connect_timeout == 1s);
    CHECK(spec.config->idle_timeout == 2s);
    CHECK(spec.config->half_close_timeout == 3s);
    CHECK(spec.config->relay == RelayMode::copy);
    CHECK(spec.config->pipe_bytes == 65536);
    CHECK(spec.config->socket == config.socket);
    CHECK(spec.config->sources == config.sources);
    CHECK(spec.access.admits(Address::parse("10.0.0.2:1")));
    CHECK_FALSE(spec.access.admits(Address::parse("10.0.0.1:1")));
    CHECK_FALSE(spec.access.admits(Address::parse("192.0.2.1:1")));
    CHECK(spec.access.trusted_proxies.contains(Address::parse("192.0.2.1:1")));
    CHECK(spec.config->accept_proxy == AcceptProxy::any);
    CHECK(spec.config->send_proxy == SendProxy::v2);
    CHECK(spec.config->proxy_tlvs == config.proxy_tlvs);
    CHECK(spec.source_limits == nullptr);
    // One without a weight has an index, and takes no sessions.
    CHECK(spec.index_end == 2);
    REQUIRE(spec.primaries.size() == 1);
    CHECK(spec.primaries[0]->name() == "a");
    CHECK(spec.primaries[0]->address() == a.address);
    CHECK(spec.primaries[0]->weight() == 1);

    REQUIRE(draft.generation().frontends.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
        const FrontendSpec& frontend = draft.generation().frontends[i];
        CHECK(frontend.service == spec.id);
        CHECK(frontend.options.backlog == 7);
        CHECK(frontend.options.fast_open == 8);
        CHECK(frontend.options.defer_accept == 9s);
        CHECK(frontend.options.mode == mode_t{0600});
        CHECK(frontend.options.owner == uid_t{10});
        CHECK(frontend.options.group == gid_t{11});
        CHECK(frontend.options.socket == config.socket);
        CHECK(frontend.address == config.listen[i]);
        CHECK(draft.new_sockets.at(i).frontend == i);
        CHECK(draft.new_sockets[i].address == config.listen[i]);
    }
    CHECK(draft.new_sockets.size() == 2);
    CHECK(draft.removed_frontends.empty());
    CHECK(draft.removed_backends.empty());
    CHECK(draft.returned_backends.empty());

    roster.commit(draft);
    CHECK(roster.generation().services == draft.generation().services);
    CHECK(roster.config().services.size() == 1);
    CHECK(told(roster) == Lines{"db a 1 0", "db z 0 0"});
}

TEST_CASE("roster: ids differ from each other", "[proxy][roster]") {
    Roster roster;
    go_over(roster, config_of({service("x", {"127.0.0.1:1", "127.0.0.1:2"}, {a}),
                               service("y", {"127.0.0.1:3"}, {a})}));
    std::set<std::uint32_t> ids;
    for (const auto& spec : roster.generation().services) ids.insert(spec->id);
    for (const FrontendSpec& frontend : roster.generation().frontends) {
        ids.insert(frontend.id);
        ids.insert(frontend.socket);
    }
    CHECK(ids.size() == 2 + 3 + 3);
    CHECK_FALSE(ids.contains(0));
}

TEST_CASE("roster: what stays keeps its identity", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::uint32_t service_id = spec_of(roster, "db").id;
    const FrontendSpec frontend = roster.generation().frontends.at(0);
    const std::shared_ptr<Backend> first = usable(roster, "db", "a");
    const std::shared_ptr<Backend> second = usable(roster, "db", "b");

    Config changed = one({b, c, a});
    changed.services[0].idle_timeout = 5min;
    changed.services[0].backlog = 9;
    const Roster::Draft draft = go_over(roster, changed);
    CHECK(spec_of(roster, "db").id == service_id);
    CHECK(spec_of(roster, "db").config->idle_timeout == 5min);
    CHECK(roster.generation().frontends.at(0).id == frontend.id);
    CHECK(roster.generation().frontends[0].socket == frontend.socket);
    CHECK(roster.generation().frontends[0].options.backlog == 9);
    CHECK(draft.new_sockets.empty());
    CHECK(draft.removed_frontends.empty());
    CHECK(draft.removed_backends.empty());
    CHECK(draft.returned_backends.empty());
    CHECK(usable(roster, "db", "a") == first);
    CHECK(usable(roster, "db", "b") == second);
    CHECK(first->index() == 0);
    CHECK(second->index() == 1);
    CHECK(usable(roster, "db", "c")->index() == 2);
    CHECK(spec_of(roster, "db").index_end == 3);
    CHECK(told(roster) == Lines{"db b 1 0", "db c 1 0", "db a 1 0"});
}

TEST_CASE("roster: a backend is known by its service and its address, whatever it is called",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster,
            config_of({service("x", {"127.0.0.1:1"}, {a}), service("y", {"127.0.0.1:2"}, {b})}));
    const std::shared_ptr<Backend> first = usable(roster, "x", "a");
    SECTION("another name") {
        go_over(roster, config_of({service("x", {"127.0.0.1:1"}, {backend("b", "10.0.0.1:1")}),
                                   service("y", {"127.0.0.1:2"}, {b})}));
        CHECK(usable(roster, "x", "b") == first);
        CHECK(first->name() == "b");
    }
    SECTION("another address") {
        go_over(roster, config_of({service("x", {"127.0.0.1:1"}, {backend("a", "10.0.0.1:2")}),
                                   service("y", {"127.0.0.1:2"}, {b})}));
        CHECK(usable(roster, "x", "a") != first);
    }
    SECTION("another service") {
        go_over(roster, config_of({service("x", {"127.0.0.1:1"}, {b}),
                                   service("y", {"127.0.0.1:2"}, {a})}));
        CHECK(usable(roster, "y", "a") != first);
    }
}

TEST_CASE("roster: two backends that are the same are two", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, a}));
    const auto before = spec_of(roster, "db").primaries;
    REQUIRE(before.size() == 2);
    CHECK(before[0] != before[1]);
    CHECK(before[0]->index() != before[1]->index());
    go_over(roster, one({a, a, a}));
    const auto after = spec_of(roster, "db").primaries;
    REQUIRE(after.size() == 3);
    CHECK(after[0] == before[0]);
    CHECK(after[1] == before[1]);
    CHECK(after[2]->index() == 2);
    const Roster::Draft draft = go_over(roster, one({a}));
    CHECK(spec_of(roster, "db").primaries.at(0) == before[0]);
    CHECK(draft.removed_backends.size() == 2);
}

TEST_CASE("roster: weights change when a draft is committed, and not before", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::shared_ptr<Backend> first = usable(roster, "db", "a");
    const std::shared_ptr<Backend> second = usable(roster, "db", "b");
    BackendConfig heavier = a;
    heavier.weight = 7;
    BackendConfig idle = b;
    idle.weight = 0;
    Roster::Draft draft = roster.draft(one({heavier, idle}));
    CHECK(first->weight() == 1);
    CHECK(second->weight() == 1);
    REQUIRE(draft.generation().services.at(0)->primaries.size() == 1);
    CHECK(draft.generation().services[0]->index_end == 2);
    roster.commit(draft);
    CHECK(first->weight() == 7);
    CHECK(second->weight() == 0);
    CHECK(told(roster) == Lines{"db a 7 0", "db b 0 0"});
}

TEST_CASE("roster: a draft that is never committed leaves no trace", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    const std::shared_ptr<Backend> first = usable(roster, "db", "a");
    const auto services = roster.generation().services;
    const std::uint32_t frontend = roster.generation().frontends.at(0).id;
    {
        BackendConfig heavier = a;
        heavier.weight = 7;
        const Roster::Draft dropped = roster.draft(
            config_of({service("other", {"127.0.0.1:1", "127.0.0.1:2"}, {heavier, b})}));
        CHECK(dropped.new_sockets.size() == 1);
        CHECK(dropped.removed_backends.empty());
    }
    CHECK(roster.generation().services == services);
    CHECK(roster.generation().frontends.at(0).id == frontend);
    CHECK(usable(roster, "db", "a") == first);
    CHECK(told(roster) == Lines{"db a 1 0"});
    const Roster::Draft same = roster.draft(one({a}));
    CHECK(same.new_sockets.empty());
    CHECK(same.removed_backends.empty());
    CHECK(same.removed_frontends.empty());
}

TEST_CASE("roster: what goes is told with the policy that it had", "[proxy][roster]") {
    ServiceConfig first = service("x", {"127.0.0.1:1", "127.0.0.1:2"}, {a, b});
    first.on_remove = OnRemove::keep;
    first.drain_timeout = 7s;
    ServiceConfig second = service("y", {"127.0.0.1:3"}, {c});
    second.on_remove = OnRemove::close;
    second.drain_timeout = 9s;
    Roster roster;
    go_over(roster, config_of({first, second}));
    const FrontendSpec second_frontend = roster.generation().frontends.at(1);
    const FrontendSpec third_frontend = roster.generation().frontends.at(2);

    ServiceConfig less = service("x", {"127.0.0.1:1"}, {a});
    less.on_remove = OnRemove::drain;  // for the next time
    const Roster::Draft draft = roster.draft(config_of({less}));
    REQUIRE(draft.removed_frontends.size() == 2);
    CHECK(draft.removed_frontends[0].spec.id == second_frontend.id);
    CHECK(draft.removed_frontends[0].spec.socket == second_frontend.socket);
    CHECK(draft.removed_frontends[0].policy == OnRemove::keep);
    CHECK(draft.removed_frontends[0].drain_timeout == 7s);
    CHECK(draft.removed_frontends[1].spec.id == third_frontend.id);
    CHECK(draft.removed_frontends[1].policy == OnRemove::close);
    CHECK(draft.removed_frontends[1].drain_timeout == 9s);
    REQUIRE(draft.removed_backends.size() == 2);
    CHECK(draft.removed_backends[0].backend->name() == "b");
    CHECK(draft.removed_backends[0].policy == OnRemove::keep);
    CHECK(draft.removed_backends[0].drain_timeout == 7s);
    CHECK(draft.removed_backends[1].backend->name() == "c");
    CHECK(draft.removed_backends[1].policy == OnRemove::close);
    CHECK(draft.removed_backends[1].drain_timeout == 9s);
}

TEST_CASE("roster: a backend that was removed is known while it has sessions", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    {
        const Backend::Lease lease{*usable(roster, "db", "b")};
        go_over(roster, one({a}));
        CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1 removed"});
        // It is removed once, and stays known over further changes.
        const Roster::Draft again = go_over(roster, one({a}));
        CHECK(again.removed_backends.empty());
        go_over(roster, one({a, c}));
        CHECK(told(roster) == Lines{"db a 1 0", "db c 1 0", "db b 1 1 removed"});
    }
    CHECK(told(roster) == Lines{"db a 1 0", "db c 1 0"});
    go_over(roster, one({a, c}));
    CHECK(told(roster) == Lines{"db a 1 0", "db c 1 0"});
}

TEST_CASE("roster: it does not keep what was removed and has no sessions alive",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::weak_ptr<Backend> gone = usable(roster, "db", "b");
    // Workers may pick it until they work by the new generation, and that is before the next one.
    go_over(roster, one({a}));
    CHECK_FALSE(gone.expired());
    CHECK(told(roster) == Lines{"db a 1 0"});
    go_over(roster, one({a}));
    CHECK(gone.expired());
}

TEST_CASE("roster: a session that began on a backend just removed is still counted",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::shared_ptr<Backend> gone = usable(roster, "db", "b");
    go_over(roster, one({a}));
    const Backend::Lease lease{*gone};  // a worker that had not heard of it yet
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1 removed"});
    go_over(roster, one({a}));
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1 removed"});
}

TEST_CASE("roster: a backend that comes back is the one that it was", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::shared_ptr<Backend> old = usable(roster, "db", "b");
    old->count_failure();
    const Backend::Lease lease{*old};
    go_over(roster, one({a}));
    BackendConfig heavier = b;
    heavier.weight = 5;
    Roster::Draft draft = roster.draft(one({a, heavier}));
    REQUIRE(draft.returned_backends.size() == 1);
    CHECK(draft.returned_backends[0] == old);
    CHECK(draft.removed_backends.empty());
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1 removed"});
    roster.commit(draft);
    CHECK(usable(roster, "db", "b") == old);
    CHECK(told(roster) == Lines{"db a 1 0", "db b 5 1"});
    CHECK(roster.backends().at(1).failures == 1);
    CHECK(roster.backends().at(1).attempts == 1);
    // It can go again.
    CHECK(go_over(roster, one({a})).removed_backends.size() == 1);
}

TEST_CASE("roster: one that comes back after its sessions, and another configuration, is new",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    usable(roster, "db", "b")->count_failure();
    go_over(roster, one({a}));
    go_over(roster, one({a}));
    const Roster::Draft draft = go_over(roster, one({a, b}));
    CHECK(draft.returned_backends.empty());
    CHECK(roster.backends().at(1).failures == 0);
}

TEST_CASE("roster: an index is used again when nobody has it, and not before", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    {
        const Backend::Lease lease{*usable(roster, "db", "a")};
        go_over(roster, one({b}));
        CHECK(spec_of(roster, "db").index_end == 2);
        go_over(roster, one({b, c}));
        CHECK(usable(roster, "db", "c")->index() == 2);
        CHECK(spec_of(roster, "db").index_end == 3);
    }
    go_over(roster, one({b, c}));
    go_over(roster, one({b, c, backend("d", "10.0.0.4:1"), backend("e", "10.0.0.5:1")}));
    CHECK(usable(roster, "db", "d")->index() == 0);
    CHECK(usable(roster, "db", "e")->index() == 3);
    CHECK(spec_of(roster, "db").index_end == 4);
}

TEST_CASE("roster: no index below its end is there twice, whatever comes and goes",
          "[proxy][roster]") {
    Roster roster;
    std::vector<Backend::Lease> leases;
    for (unsigned round = 0; round < 64; ++round) {
        std::vector<BackendConfig> backends;
        for (unsigned i = 0; i < 6; ++i) {
            if ((round * 37 / 3) >> i & 1U)
                backends.push_back(
                    backend(std::to_string(i), "10.0.0." + std::to_string(i + 1) + ":1"));
        }
        if (backends.empty()) backends.push_back(a);
        go_over(roster, one(backends));
        const ServiceSpec& spec = spec_of(roster, "db");
        std::set<std::size_t> indexes;
        for (const auto& each : spec.primaries) {
            CHECK(each->index() < spec.index_end);
            indexes.insert(each->index());
        }
        CHECK(indexes.size() == backends.size());
        CHECK(spec.index_end <= 16);
        if (round % 3 == 0) leases.emplace_back(*spec.primaries[0]);
        if (round % 7 == 0) leases.clear();
    }
}

TEST_CASE("roster: ids of what is gone are not given to what comes", "[proxy][roster]") {
    Roster roster;
    std::set<std::uint32_t> ids;
    for (int round = 0; round < 5; ++round) {
        const std::string name = std::to_string(round);
        go_over(roster, config_of({service(name, {"127.0.0.1:1" + name}, {a})}));
        ids.insert(roster.generation().services.at(0)->id);
        ids.insert(roster.generation().frontends.at(0).id);
        ids.insert(roster.generation().frontends[0].socket);
        CHECK(ids.size() == static_cast<std::size_t>(round + 1) * 3);
    }
    // Not even if the name is the same.
    go_over(roster, config_of({service("0", {"127.0.0.1:10"}, {a})}));
    ids.insert(roster.generation().services.at(0)->id);
    ids.insert(roster.generation().frontends.at(0).id);
    ids.insert(roster.generation().frontends[0].socket);
    CHECK(ids.size() == 18);
}

TEST_CASE("roster: a service that comes back does not take the old one's backends",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    const std::shared_ptr<Backend> old = usable(roster, "db", "a");
    const Backend::Lease lease{*old};
    go_over(roster, config_of({service("other", {"127.0.0.1:2"}, {b})}));
    CHECK(told(roster) == Lines{"other b 1 0", "db a 1 1 removed"});
    const Roster::Draft draft = go_over(roster, one({a}));
    CHECK(usable(roster, "db", "a") != old);
    CHECK(draft.returned_backends.empty());
    CHECK(told(roster) == Lines{"db a 1 0", "db a 1 1 removed"});
}

TEST_CASE("roster: a listener that goes to another service keeps its socket, and is another one",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, config_of({service("x", {"127.0.0.1:1", "127.0.0.1:9"}, {a}),
                               service("y", {"127.0.0.1:2"}, {b})}));
    const FrontendSpec old = roster.generation().frontends.at(1);
    const FrontendSpec other = roster.generation().frontends.at(2);
    const Roster::Draft draft =
        go_over(roster, config_of({service("x", {"127.0.0.1:1"}, {a}),
                                   service("y", {"127.0.0.1:9", "127.0.0.1:2"}, {b})}));
    const FrontendSpec now = roster.generation().frontends.at(1);
    CHECK(now.address == Address::parse("127.0.0.1:9"));
    CHECK(now.socket == old.socket);
    CHECK(now.id != old.id);
    CHECK(now.service == spec_of(roster, "y").id);
    CHECK(roster.generation().frontends.at(2).id == other.id);
    CHECK(draft.new_sockets.empty());
    REQUIRE(draft.removed_frontends.size() == 1);
    CHECK(draft.removed_frontends[0].spec.id == old.id);
}

TEST_CASE("roster: a listener with any port keeps the one that the kernel chose",
          "[proxy][roster]") {
    Roster roster;
    Roster::Draft draft =
        roster.draft(config_of({service("x", {"127.0.0.1:0", "127.0.0.1:0"}, {a})}));
    REQUIRE(draft.new_sockets.size() == 2);
    draft.set_address(draft.new_sockets[0], Address::parse("127.0.0.1:4001"));
    draft.set_address(draft.new_sockets[1], Address::parse("127.0.0.1:4002"));
    roster.commit(draft);
    const auto before = roster.generation().frontends;
    CHECK(before[0].socket != before[1].socket);

    const Roster::Draft more = go_over(
        roster, config_of({service("x", {"127.0.0.1:0", "127.0.0.1:5", "127.0.0.1:0"}, {a})}));
    REQUIRE(more.new_sockets.size() == 1);
    CHECK(more.new_sockets[0].frontend == 1);
    const auto& after = roster.generation().frontends;
    REQUIRE(after.size() == 3);
    CHECK(after[0].socket == before[0].socket);
    CHECK(after[0].address == Address::parse("127.0.0.1:4001"));
    CHECK(after[2].socket == before[1].socket);
    CHECK(after[2].address == Address::parse("127.0.0.1:4002"));
    // The configuration says what it said.
    CHECK(roster.config().services.at(0).listen.at(0) == Address::parse("127.0.0.1:0"));
}

TEST_CASE("roster: clients are counted on over changes of a service and of its limits",
          "[proxy][roster]") {
    Roster roster;
    Config config = one({a});
    go_over(roster, config);
    CHECK(spec_of(roster, "db").source_limits == nullptr);
    config.services[0].max_connections_per_source = 2;
    go_over(roster, config);
    const std::shared_ptr<SourceLimits> limits = spec_of(roster, "db").source_limits;
    REQUIRE(limits != nullptr);
    config.services[0].max_connections_per_source = 3;
    go_over(roster, config);
    CHECK(spec_of(roster, "db").source_limits == limits);
    // Without limits they are counted on too: there may be limits again.
    config.services[0].max_connections_per_source = 0;
    go_over(roster, config);
    CHECK(spec_of(roster, "db").source_limits == limits);
    config.services[0].connection_rate_per_source = eplb::Rate::parse("1/s");
    config.services.push_back(service("other", {"127.0.0.1:2"}, {b}));
    config.services[1].max_connections_per_source = 1;
    go_over(roster, config);
    CHECK(spec_of(roster, "db").source_limits == limits);
    CHECK(spec_of(roster, "other").source_limits != nullptr);
    CHECK(spec_of(roster, "other").source_limits != limits);
}

TEST_CASE("roster: of two services with one name, the first one is the old one",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    const std::uint32_t id = spec_of(roster, "db").id;
    go_over(roster,
            config_of({service("db", {"127.0.0.1:1"}, {a}), service("db", {"127.0.0.1:2"}, {a})}));
    CHECK(roster.generation().services.at(0)->id == id);
    CHECK(roster.generation().services.at(1)->id != id);
    CHECK(roster.generation().services[0]->primaries.at(0) !=
          roster.generation().services[1]->primaries.at(0));
}

TEST_CASE("roster: what makes no sense is rejected, and everything is as it was",
          "[proxy][roster]") {
    struct Row {
        std::string what;
        Config config;
        std::string message;
    };
    const auto in = [](const std::vector<std::string>& listen,
                       std::vector<BackendConfig> backends) {
        return config_of({service("db", listen, std::move(backends))});
    };
    const std::vector<Row> table{
        {"one listener twice", in({"127.0.0.1:1", "127.0.0.1:1"}, {a}),
         "listener 127.0.0.1:1 is given twice"},
        {"one listener of two services",
         config_of({service("x", {"127.0.0.1:1"}, {a}), service("y", {"127.0.0.1:1"}, {a})}),
         "listener 127.0.0.1:1 is given twice"},
        {"a wildcard and one of its addresses", in({":1", "127.0.0.1:1"}, {a}),
         "listeners [::]:1 and 127.0.0.1:1 are in each other's way"},
        {"the other way round", in({"127.0.0.1:1", "0.0.0.0:1"}, {a}),
         "listeners 127.0.0.1:1 and 0.0.0.0:1 are in each other's way"},
        {"a Unix socket twice", in({"unix:/x", "unix:/x"}, {a}), "listener unix:/x is given twice"},
        {"a loop", in({"127.0.0.1:1"}, {a, backend("", "127.0.0.1:1")}),
         "backend 127.0.0.1:1 is our own listener 127.0.0.1:1: every connection would loop"},
        {"a loop through a wildcard", in({":1"}, {backend("", "127.0.0.1:1")}),
         "backend 127.0.0.1:1 is our own listener [::]:1: every connection would loop"},
        {"a loop through another service",
         config_of({service("x", {"127.0.0.1:1"}, {backend("", "127.0.0.1:2")}),
                    service("y", {"127.0.0.1:2"}, {a, backend("", "127.0.0.1:1")})}),
         "backend 127.0.0.1:1 is our own listener 127.0.0.1:1: every connection would loop (x -> y "
         "-> x)"},
        {"no backend", in({"127.0.0.1:1"}, {}),
         "service \"db\" has no backend with a weight above 0"},
        {"no backend with a weight", in({"127.0.0.1:1"}, {backend("", "10.0.0.1:1", 0)}),
         "service \"db\" has no backend with a weight above 0"},
        {"a backend without a host", in({"127.0.0.1:1"}, {backend("", "0.0.0.0:3306")}),
         "backend 0.0.0.0:3306 needs a host, like 127.0.0.1:3306"},
        {"a backend without an address", in({"127.0.0.1:1"}, {BackendConfig{}}), "needs a host"},
    };
    Roster roster;
    go_over(roster, one({a}));
    const auto services = roster.generation().services;
    for (const Row& row : table) {
        INFO(row.what);
        CHECK_THROWS_AS(roster.draft(row.config), std::invalid_argument);
        CHECK_THROWS_WITH(roster.draft(row.config), contains(row.message));
        CHECK(roster.generation().services == services);
        CHECK(told(roster) == Lines{"db a 1 0"});
    }
}

TEST_CASE("roster: a service may have the listener of another one as a backend",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, config_of({service("x", {"127.0.0.1:1"}, {backend("", "127.0.0.1:2")}),
                               service("y", {"127.0.0.1:2"}, {a})}));
    CHECK(roster.generation().services.size() == 2);
}

TEST_CASE("roster: a service may be without backends where that was allowed", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    Config config = one({});
    config.may_lack_backends = true;
    const Roster::Draft draft = go_over(roster, config);
    CHECK(draft.removed_backends.size() == 1);
    CHECK(spec_of(roster, "db").primaries.empty());
    CHECK(spec_of(roster, "db").index_end == 0);
    CHECK(roster.backends().empty());
}

TEST_CASE("roster: without services everything is removed", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const Roster::Draft draft = go_over(roster, config_of({}));
    CHECK(draft.removed_backends.size() == 2);
    CHECK(draft.removed_frontends.size() == 1);
    CHECK(roster.generation().services.empty());
    CHECK(roster.backends().empty());
}

TEST_CASE("roster: a service and a backend that are called otherwise are the same ones",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster,
            config_of({service("127.0.0.1:1", {"127.0.0.1:1"}, {backend("", "10.0.0.1:1")})}));
    const std::uint32_t id = spec_of(roster, "127.0.0.1:1").id;
    const FrontendSpec frontend = roster.generation().frontends.at(0);
    const std::shared_ptr<Backend> server = usable(roster, "127.0.0.1:1", "");
    const Backend::Lease session{*server};
    server->set_down(true);
    const std::string& old_name = server->name();

    const Roster::Draft draft =
        go_over(roster, config_of({service("db", {"127.0.0.1:2", "127.0.0.1:1"},
                                           {backend("a", "10.0.0.1:1", 3)})}));
    CHECK(spec_of(roster, "db").id == id);
    CHECK(roster.generation().frontends.at(1).id == frontend.id);
    CHECK(roster.generation().frontends[1].socket == frontend.socket);
    CHECK(usable(roster, "db", "a") == server);
    CHECK(old_name.empty());  // whoever was told the name may still read it
    CHECK(server->down());
    CHECK(draft.removed_frontends.empty());
    CHECK(draft.removed_backends.empty());
    CHECK(told(roster) == Lines{"db a 3 1"});
}

TEST_CASE("roster: a name is another one when a draft is committed, and not before",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    const std::shared_ptr<Backend> server = usable(roster, "db", "a");
    Roster::Draft draft = roster.draft(one({backend("z", "10.0.0.1:1")}));
    CHECK(server->name() == "a");
    roster.commit(draft);
    CHECK(server->name() == "z");
}

TEST_CASE("roster: a backend that was removed is told by the name that its service has now",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const Backend::Lease session{*usable(roster, "db", "b")};
    go_over(roster, one({a}));
    go_over(roster, config_of({service("mysql", {"127.0.0.1:1"}, {a})}));
    CHECK(told(roster) == Lines{"mysql a 1 0", "mysql b 1 1 removed"});
}

TEST_CASE("roster: of what does not change, everything is handed on as it is", "[proxy][roster]") {
    Roster roster;
    Config config =
        config_of({service("x", {"127.0.0.1:1"}, {a, b}), service("y", {"127.0.0.1:2"}, {b, c})});
    config.services[0].balance = eplb::Balance::source_hash;
    config.services[1].balance = eplb::Balance::consistent;
    go_over(roster, config);
    const Generation before = roster.generation();
    CHECK_FALSE(before.frontends[0].as_before);

    config.services[1].backends.push_back(a);
    go_over(roster, config);
    const Generation& after = roster.generation();
    CHECK(after.services[0] == before.services[0]);
    CHECK(after.services[1] != before.services[1]);
    CHECK(after.frontends[0].as_before);
    CHECK_FALSE(after.frontends[1].as_before);
    CHECK(roster.members().size() == 5);

    // In another order they are the same ones.
    std::swap(config.services[0], config.services[1]);
    const Generation earlier = roster.generation();
    go_over(roster, config);
    CHECK(roster.generation().services[0] == earlier.services[1]);
    CHECK(roster.generation().services[1] == earlier.services[0]);
}

TEST_CASE("roster: tables of hashes are built by the draft, once for all workers",
          "[proxy][roster]") {
    Roster roster;
    Config config = one({a, b});
    config.services[0].balance = eplb::Balance::source_hash;
    go_over(roster, config);
    const ServiceSpec before = spec_of(roster, "db");
    REQUIRE(before.primaries_table != nullptr);
    CHECK(before.primaries_table->owners().size() == 2);
    CHECK(before.backups_table->owners().empty());

    // By the weights that will be.
    config.services[0].backends[1].weight = 5;
    Roster::Draft draft = roster.draft(config);
    const eplb::BalanceTable& table = *draft.generation().services.at(0)->primaries_table;
    CHECK(std::ranges::count(table.owners(), 5U, &eplb::Identity::weight) == 1);
    CHECK(usable(roster, "db", "b")->weight() == 1);

    config.services[0].balance = eplb::Balance::leastconn;
    go_over(roster, config);
    CHECK(spec_of(roster, "db").primaries_table == nullptr);
    // A policy of a program's own has no table, whatever the other one would be.
    config.services[0].balance = eplb::Balance::consistent;
    config.services[0].make_balancer = [] { return eplb::make_balancer(eplb::Balance::first, 1); };
    go_over(roster, config);
    CHECK(spec_of(roster, "db").primaries_table == nullptr);
}

TEST_CASE("roster: a draft of what is not so any more is not current", "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a}));
    Roster::Draft late = roster.draft(one({a, b}));
    CHECK(roster.is_current(late));
    go_over(roster, one({a, c}));
    CHECK_FALSE(roster.is_current(late));
    Roster::Draft again = roster.draft(late.config());
    CHECK(roster.is_current(again));
    roster.commit(again);
    CHECK_FALSE(roster.is_current(again));
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 0"});
}

TEST_CASE("roster: balancers are made when they are asked for, and not by a draft",
          "[proxy][roster]") {
    Roster roster;
    int made = 0;
    Config config = one({a});
    config.services[0].make_balancer = [&] {
        ++made;
        return eplb::make_balancer(eplb::Balance::first, 1);
    };
    Roster::Draft draft = roster.draft(config);
    CHECK(made == 0);
    Roster::make_balancers(draft, 3);
    CHECK(made == 6);
    roster.commit(draft);
    REQUIRE(spec_of(roster, "db").custom_balancers != nullptr);
    CHECK(spec_of(roster, "db").custom_balancers->of_workers.size() == 3);
    // They cannot be compared: they are another service's each time.
    const auto before = roster.generation().services.at(0);
    go_over(roster, config);
    CHECK(roster.generation().services.at(0) != before);
}

TEST_CASE("roster: an absent backend keeps its sessions, gets none, and comes back as itself",
          "[proxy][roster]") {
    Roster roster;
    go_over(roster, one({a, b}));
    const std::shared_ptr<Backend> known = usable(roster, "db", "b");
    REQUIRE(known);
    std::optional<Backend::Lease> session{*known};
    BackendConfig absent = b;
    absent.weight = 0;
    absent.absent = OnRemove::keep;
    const Roster::Draft gone = go_over(roster, one({a, absent}));
    CHECK(gone.removed_backends.empty());
    CHECK_FALSE(usable(roster, "db", "b"));
    // A worker that does not know yet may still send somebody there.
    CHECK(known->usable());
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1"});
    const auto members = roster.members();
    REQUIRE(members.size() == 2);  // so it is checked
    CHECK_FALSE(members[0].absent);
    CHECK(members[1].absent);
    go_over(roster, one({a, b}));
    CHECK(usable(roster, "db", "b") == known);
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1"});
    // When the service, or the name, is taken away, that counts.
    go_over(roster, one({a, absent}));
    const Roster::Draft removed = go_over(roster, one({a}));
    REQUIRE(removed.removed_backends.size() == 1);
    CHECK(removed.removed_backends[0].policy == OnRemove::drain);
    // One that nobody knows is none.
    Roster other;
    go_over(other, one({a, absent}));
    CHECK(told(other) == Lines{"db a 1 0"});
}

TEST_CASE("roster: an absent backend that is not kept is removed by its own policy",
          "[proxy][roster]") {
    const auto policy = GENERATE(OnRemove::drain, OnRemove::close);
    Config config = one({a, b});
    config.services[0].on_remove = OnRemove::keep;
    Roster roster;
    go_over(roster, config);
    const std::shared_ptr<Backend> known = usable(roster, "db", "b");
    const Backend::Lease session{*known};
    Config less = config;
    less.services[0].backends[1].weight = 0;
    less.services[0].backends[1].absent = policy;
    const Roster::Draft gone = go_over(roster, less);
    REQUIRE(gone.removed_backends.size() == 1);
    CHECK(gone.removed_backends[0].policy == policy);
    CHECK(told(roster) == Lines{"db a 1 0", "db b 1 1 removed"});
    CHECK(go_over(roster, less).removed_backends.empty());
    const Roster::Draft back = go_over(roster, config);
    CHECK(back.returned_backends == std::vector{known});
    CHECK(usable(roster, "db", "b") == known);
}
