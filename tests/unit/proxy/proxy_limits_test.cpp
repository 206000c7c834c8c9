// What a service may have: sessions, rate, backends that are full, and the queue before them.
#include "admission/service_limits.hpp"
#include "support/catch.hpp"
#include "support/full_unix_socket.hpp"
#include "support/proxy_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Config;
using eplb::Duration;
using eplb::EndReason;
using eplb::OverLimit;
using eplb::ServiceConfig;
using eplb::test::config_for;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::RefusingPort;
using eplb::test::Script;
using Fixture = eplb::test::ProxyFixture;

namespace {

const Script polite{.echo = true, .finish_with_peer = true};

std::vector<EndReason> reasons(const Fixture& f) {
    std::vector<EndReason> all;
    for (const auto& end : f.observer.ends) all.push_back(end.reason);
    return all;
}

// Backends that may have `limit` sessions each.
Config limited(const Fixture& f, std::uint32_t limit) {
    Config config = f.config();
    for (auto& backend : config.services[0].backends) backend.max_connections = limit;
    return config;
}

// Sessions that each backend has now.
std::vector<std::size_t> active(const Fixture& f) {
    std::vector<std::size_t> counts;
    for (const auto& backend : f.proxy->backends()) counts.push_back(backend.active);
    return counts;
}

}  // namespace

// --- of a service

TEST_CASE("service limits: beyond max_connections clients wait in the backlog, one service's only",
          "[proxy][limits]") {
    Fixture f{2, polite};
    Config config = f.config();
    config.services.push_back(config.services[0]);
    config.services[0].name = "few";
    config.services[0].max_connections = 2;
    config.services[1].name = "any";
    f.start(config);
    const Address any = f.proxy->listen_addresses().at(1);
    Peer& first = f.connect_through();
    f.connect_through();
    Peer& third = f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);
    CHECK_FALSE(third.over());
    for (int i = 0; i < 3; ++i) f.connect_to(any);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 5; }));

    first.half_close();
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 6; }));
    CHECK(f.observer.starts.back().listener == f.address);
    third.send(pattern(1000));
    REQUIRE(f.loop.until([&] { return third.received() == pattern(1000); }));
}

TEST_CASE("service limits: or are reset, if the service wants that", "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].max_connections = 1;
    config.services[0].over_limit = OverLimit::reset;
    f.start(config);
    Peer& first = f.connect_through();
    Peer& second = f.connect();
    REQUIRE(f.loop.until([&] { return second.over(); }));
    CHECK(second.was_reset());
    CHECK(reasons(f) == std::vector{EndReason::service_connections});
    CHECK(f.backends[0]->connections() == 1);

    first.half_close();
    REQUIRE(f.until_ended(2));
    f.connect_through();  // there is room again
}

TEST_CASE("service limits: clients that come too fast wait for their time", "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].connection_rate = {2, 10s};
    f.start(config);
    for (int i = 0; i < 4; ++i) f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);
    f.clock.advance(4999ms);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);
    f.clock.advance(2ms);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 3);
    f.clock.advance(5s);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 4);
}

TEST_CASE("service limits: or are reset", "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].connection_rate = {2, 10s};
    config.services[0].over_limit = OverLimit::reset;
    f.start(config);
    f.connect_through();
    f.connect_through();
    Peer& third = f.connect();
    REQUIRE(f.loop.until([&] { return third.over(); }));
    CHECK(third.was_reset());
    CHECK(reasons(f) == std::vector{EndReason::service_rate});
    f.clock.advance(5s);
    f.connect_through();
}

TEST_CASE("service limits: looking for clients in vain takes nothing of the rate",
          "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].connection_rate = {3, 1h};
    f.start(config);
    for (int i = 0; i < 3; ++i) {
        f.connect_through();  // a burst of one, whose end is another accept(2)
        REQUIRE(f.loop.settle());
    }
    f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 3);
}

TEST_CASE("service limits: raised by another configuration, they let in who waits",
          "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].max_connections = 1;
    f.start(config);
    f.connect_through();
    f.connect();
    f.connect();
    REQUIRE(f.loop.settle());
    REQUIRE(f.observer.starts.size() == 1);
    config.services[0].max_connections = 2;
    f.proxy->apply(config);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 2; }));
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);
    config.services[0].max_connections = 0;
    f.proxy->apply(config);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 3; }));
}

TEST_CASE("service limits: who leaves tells, if somebody wants to be told", "[proxy][limits]") {
    int told = 0;
    eplb::ServiceLimits limits{[&](std::size_t) { ++told; }};
    limits.set_options({.max_connections = 2, .rate = {}});
    const eplb::TimePoint now{1h};
    using eplb::Admission;
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    CHECK(limits.try_enter(now) == Admission::too_many);
    CHECK(limits.sessions() == 2);
    limits.leave();
    CHECK(told == 0);
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    limits.want_room();
    limits.leave();
    CHECK(told == 1);
    limits.leave();
    CHECK(told == 1);  // once

    limits.set_options({.max_connections = 0, .rate = {1, 10s}});
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    CHECK(limits.try_enter(now) == Admission::too_fast);
    CHECK(limits.sessions() == 1);
    CHECK(limits.next_free(now) == now + 10s);
    limits.undo();
    CHECK(limits.sessions() == 0);
    CHECK(limits.try_enter(now) == Admission::admitted);
}

TEST_CASE("service limits: workers that wait for room are told in turn, one for each that leaves",
          "[proxy][limits]") {
    using eplb::Admission;
    const eplb::TimePoint now{1h};
    std::vector<std::size_t> told;
    eplb::ServiceLimits limits{[&](std::size_t worker) { told.push_back(worker); }};
    limits.set_options({.max_connections = 1, .rate = {}});
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    // Whoever is told takes the place, and waits again.
    for (const std::size_t worker : {2U, 0U, 63U}) limits.want_room(worker);
    for (int i = 0; i < 6; ++i) {
        limits.leave();
        REQUIRE(limits.try_enter(now) == Admission::admitted);
        limits.want_room(told.back());
    }
    CHECK(told == std::vector<std::size_t>{2, 63, 0, 2, 63, 0});
    // Whoever has no use for it passes it on.
    told.clear();
    limits.leave();
    REQUIRE(limits.try_enter(now) == Admission::admitted);
    limits.undo();
    CHECK(told == std::vector<std::size_t>{2, 63});
}

// --- retries and backups

TEST_CASE("session: tries as many further backends as it may", "[proxy][limits]") {
    const RefusingPort a;
    const RefusingPort b;
    Fixture f{1, polite};
    for (const std::size_t retries : {0U, 1U, 2U}) {
        INFO(retries);
        Config config = config_for({a.address, b.address, f.backends[0]->address()});
        config.services[0].retries = retries;
        f.observer.ends.clear();
        f.start(config);
        Peer& client = f.connect();
        client.half_close();
        REQUIRE(f.until_ended(1));
        const auto& end = f.observer.ends[0];
        CHECK(end.failed_attempts.size() == std::min<std::size_t>(retries + 1, 2));
        CHECK(end.reason == (retries < 2 ? EndReason::connect_refused : EndReason::client_fin));
        f.proxy.reset();
    }
}

TEST_CASE("session: backups are for when no other backend is left", "[proxy][limits]") {
    Fixture f{3, polite};
    Config config = f.config();
    config.services[0].backends[0].backup = true;
    f.start(config);
    for (int i = 0; i < 4; ++i) f.connect_through();
    CHECK(active(f) == std::vector<std::size_t>{0, 2, 2});
    f.backends[1]->stop_listening();
    f.connect_through();
    CHECK(f.backends[0]->connections() == 0);
    f.backends[2]->stop_listening();
    f.connect_through();
    CHECK(f.backends[0]->connections() == 1);
}

// --- backends that are full

TEST_CASE("queue: a client waits for a backend with room, and gets it", "[proxy][queue]") {
    Fixture f{2, polite};
    f.start(limited(f, 1));
    Peer& first = f.connect_through();
    f.connect_through();
    CHECK(active(f) == std::vector<std::size_t>{1, 1});
    Peer& third = f.connect();
    third.send(pattern(5000));
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);
    CHECK_FALSE(third.over());

    first.half_close();
    REQUIRE(f.loop.until([&] { return third.received() == pattern(5000); }));
    CHECK(active(f) == std::vector<std::size_t>{1, 1});
    CHECK(f.observer.starts.back().backend == f.backends[0]->address());
}

TEST_CASE("queue: who came first is served first, and newcomers do not overtake",
          "[proxy][queue]") {
    Fixture f{1, polite};
    f.start(limited(f, 1));
    f.connect_through();
    std::vector<Address> in_order;
    for (int i = 0; i < 5; ++i) {
        f.connect();
        REQUIRE(f.loop.settle());
    }
    for (std::size_t served = 1; served <= 5; ++served) {
        f.clients[served - 1].half_close();
        REQUIRE(f.loop.until([&] { return f.observer.starts.size() == served + 1; }));
        CHECK(f.observer.starts.back().client ==
              eplb::test::address_of(f.clients[served].socket()));
        CHECK(active(f) == std::vector<std::size_t>{1});
        f.connect();  // one more behind them all
        REQUIRE(f.loop.settle());
    }
}

TEST_CASE("queue: when it is full, or there is none, further clients are reset", "[proxy][queue]") {
    Fixture f{1, polite};
    for (const std::uint32_t places : {0U, 2U}) {
        INFO(places);
        Config config = limited(f, 1);
        config.services[0].queue = places;
        f.observer.ends.clear();
        f.start(config);
        f.connect_through();
        for (std::uint32_t i = 0; i < places; ++i) f.connect();
        REQUIRE(f.loop.settle());
        CHECK(f.observer.ends.empty());
        Peer& last = f.connect();
        REQUIRE(f.loop.until([&] { return last.over(); }));
        CHECK(last.was_reset());
        CHECK(reasons(f) == std::vector{EndReason::backends_full});
        f.proxy.reset();
    }
}

TEST_CASE("queue: nobody waits for longer than the queue timeout", "[proxy][queue]") {
    Fixture f{1, polite};
    Config config = limited(f, 1);
    config.services[0].queue_timeout = 7s;
    f.start(config);
    Peer& first = f.connect_through();
    Peer& second = f.connect();
    REQUIRE(f.loop.settle());
    f.clock.advance(3s);
    Peer& third = f.connect();
    REQUIRE(f.loop.settle());
    f.clock.advance(3999ms);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.empty());
    f.clock.advance(2ms);
    REQUIRE(f.loop.until([&] { return second.over(); }));
    CHECK(second.was_reset());
    CHECK(reasons(f) == std::vector{EndReason::queue_timeout});
    CHECK(f.observer.ends[0].connect_time >= 7s);

    first.half_close();
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 2; }));
    third.half_close();
    REQUIRE(f.until_ended(3));
    CHECK(f.observer.ends.back().reason == EndReason::client_fin);
}

TEST_CASE("queue: a session whose server has finished gives its place to the next at once",
          "[proxy][queue]") {
    Fixture f{1};
    Config before = limited(f, 1);
    before.services[0].on_remove = eplb::OnRemove::close;
    f.start(before);
    f.connect_through();
    f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 1);
    f.backends[0]->connection(0).half_close();  // the first client does not finish
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 2; }));
    CHECK(f.observer.ends.empty());
    CHECK(active(f) == std::vector<std::size_t>{2});  // for whoever wants to take it away

    // It goes with its backend all the same.
    const RefusingPort other;
    f.proxy->apply(config_for({other.address}));
    REQUIRE(f.until_ended(2));
    CHECK(reasons(f) == std::vector{EndReason::removed, EndReason::removed});
}

TEST_CASE("queue: a client that gives up leaves it", "[proxy][queue]") {
    Fixture f{1, polite};
    f.start(limited(f, 1));
    Peer& first = f.connect_through();
    Peer& resets = f.connect();
    Peer& closes = f.connect();
    Peer& asks = f.connect();
    Peer& last = f.connect();
    REQUIRE(f.loop.settle());
    asks.send(pattern(100));
    asks.half_close();  // and wants an answer
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.empty());
    resets.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends.back().reason == EndReason::client_rst);
    closes.close();
    REQUIRE(f.until_ended(2));
    CHECK(f.observer.ends.back().reason == EndReason::client_fin);
    CHECK(f.backends[0]->connections() == 1);

    first.half_close();
    REQUIRE(f.loop.until([&] { return asks.finished(); }));
    CHECK(asks.received() == pattern(100));
    last.send(pattern(100));
    REQUIRE(f.loop.until([&] { return last.received() == pattern(100); }));
}

TEST_CASE("queue: a limit that is raised, or a backend that comes, lets in who waits",
          "[proxy][queue]") {
    Fixture f{2, polite};
    Config config = limited(f, 1);
    config.services[0].backends.pop_back();
    f.start(config);
    f.connect_through();
    for (int i = 0; i < 3; ++i) f.connect();
    REQUIRE(f.loop.settle());
    REQUIRE(f.observer.starts.size() == 1);

    config.services[0].backends[0].max_connections = 2;
    f.proxy->apply(config);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 2; }));
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.size() == 2);

    config = limited(f, 2);
    f.proxy->apply(config);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 4; }));
    CHECK(active(f) == std::vector<std::size_t>{2, 2});
}

TEST_CASE("queue: a client that a backend failed holds nobody up", "[proxy][queue]") {
    Fixture f{2, polite};
    const RefusingPort refuses;
    Config config = config_for({f.backends[0]->address(), refuses.address});
    config.services[0].backends[0].max_connections = 1;
    f.start(config);
    f.connect_through();
    // The one that has room refuses, the other one is full: it cannot wait for either.
    Peer& second = f.connect();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::connect_refused);
    REQUIRE(f.loop.until([&] { return second.was_reset(); }));
    // So whoever comes next gets the one that works by now.
    config.services[0].backends[1].address = f.backends[1]->address();
    f.proxy->apply(config);
    f.connect_through();
    CHECK(f.observer.starts.back().backend == f.backends[1]->address());
}

TEST_CASE("queue: a timeout that another configuration has is that of those who wait already",
          "[proxy][queue]") {
    Fixture f{1, polite};
    Config config = limited(f, 1);
    config.services[0].queue_timeout = 0s;
    f.start(config);
    f.connect_through();
    f.connect();
    REQUIRE(f.loop.settle());
    f.clock.advance(1h);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.empty());
    config.services[0].queue_timeout = 2h;
    f.proxy->apply(config);
    f.clock.advance(3599s);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.empty());
    f.clock.advance(2s);
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::queue_timeout);
}

TEST_CASE("session: a timeout that another configuration has is that of quiet sessions, too",
          "[proxy][limits]") {
    Fixture f{1, polite};
    Config config = f.config();
    f.start(config);
    f.connect_through();
    f.clock.advance(10s);
    REQUIRE(f.loop.settle());
    config.services[0].max_lifetime = 60s;
    config.services[0].lifetime_jitter_percent = 0;
    f.proxy->apply(config);
    REQUIRE(f.loop.settle());
    f.clock.advance(49s);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.empty());
    f.clock.advance(2s);
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::lifetime);
}

TEST_CASE("queue: when its service is removed, who waits is reset", "[proxy][queue]") {
    Fixture f{1, polite};
    Config config = limited(f, 1);
    config.services.push_back(config.services[0]);
    config.services[0].name = "goes";
    config.services[1].name = "stays";
    f.start(config);
    f.connect_through();
    Peer& waits = f.connect();
    REQUIRE(f.loop.settle());
    config.services.erase(config.services.begin());
    f.proxy->apply(config);
    REQUIRE(f.loop.until([&] { return waits.over(); }));
    CHECK(waits.was_reset());
    CHECK(reasons(f) == std::vector{EndReason::removed});
}

TEST_CASE("queue: sessions that wait are reset, drained and destroyed like all others",
          "[proxy][queue]") {
    Fixture f{1, polite};
    f.start(limited(f, 1));
    f.connect_through();
    for (int i = 0; i < 3; ++i) f.connect();
    REQUIRE(f.loop.settle());
    SECTION("reset") {
        f.proxy->reset_sessions();
        REQUIRE(f.until_ended(4));
        CHECK(reasons(f) == std::vector(4, EndReason::drain));
        f.connect_through();
    }
    SECTION("drained") {
        std::size_t left = 99;
        f.proxy->drain(30s, [&](std::size_t reset_sessions) { left = reset_sessions; });
        for (Peer& client : f.clients) client.send(pattern(10)), client.half_close();
        REQUIRE(f.loop.until([&] { return left != 99; }));
        CHECK(left == 0);
        for (Peer& client : f.clients) CHECK(client.received() == pattern(10));
    }
    SECTION("destroyed") {
        f.proxy.reset();
        REQUIRE(f.loop.until([&] { return f.clients[3].over(); }));
        CHECK(f.clients[3].was_reset());
    }
}

TEST_CASE("queue: whatever happens, no backend has too many, and nobody is left behind",
          "[proxy][queue]") {
    std::mt19937 random{GENERATE(1U, 2U, 3U, 4U)};
    const auto one_of = [&](std::size_t count) {
        return std::uniform_int_distribution<std::size_t>{0, count - 1}(random);
    };
    constexpr std::uint32_t limit = 2;
    Fixture f{3, polite};
    Config config = limited(f, limit);
    config.services[0].queue_timeout = 0s;
    f.start(config);
    for (int step = 0; step < 400; ++step) {
        switch (one_of(6)) {
        case 0:
        case 1: f.connect(); break;
        case 2:
        case 3:
            if (!f.clients.empty()) {
                Peer& client = f.clients[one_of(f.clients.size())];
                if (client.is_open()) client.half_close();
            }
            break;
        case 4:
            if (!f.clients.empty()) {
                Peer& client = f.clients[one_of(f.clients.size())];
                if (client.is_open()) client.reset();
            }
            break;
        case 5:
            for (auto& backend : config.services[0].backends) backend.weight = 1;
            config.services[0].backends[one_of(3)].weight = 0;
            f.proxy->apply(config);
            break;
        }
        if (one_of(3) == 0) REQUIRE(f.loop.settle());
        for (const std::size_t count : active(f)) REQUIRE(count <= limit);
    }
    REQUIRE(f.loop.settle());
    const std::vector<std::size_t> counts = active(f);
    for (const auto& backend : f.proxy->backends()) {
        // Where somebody waits, nobody has room.
        if (backend.weight > 0 && f.proxy->active_sessions() > counts[0] + counts[1] + counts[2])
            CHECK(backend.active == limit);
    }
    for (Peer& client : f.clients)
        if (client.is_open()) client.half_close();
    REQUIRE(f.loop.until([&] { return f.proxy->active_sessions() == 0; }));
}

// --- Unix backends that are busy

TEST_CASE("unix backends: one whose backlog is full is waited for, and not held against it",
          "[proxy][limits]") {
    Fixture f;
    eplb::test::FullUnixSocket full;
    Config config = config_for({full.address});
    config.services[0].eject_after = 1;
    config.services[0].max_ejected_percent = 100;
    config.services[0].connect_timeout = 10s;
    f.start(config);
    f.connect();
    for (int i = 0; i < 50; ++i) {
        f.clock.advance(100ms);
        REQUIRE(f.loop.settle());
    }
    CHECK(f.observer.starts.empty());
    CHECK(f.proxy->active_sessions() == 1);
    full.accept_one();
    f.clock.advance(100ms);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 1; }));
    CHECK(f.proxy->backends()[0].failures == 0);
}

TEST_CASE("unix backends: until the connect timeout is over, and then the next one is tried",
          "[proxy][limits]") {
    Fixture f{1, polite};
    eplb::test::FullUnixSocket full;
    Config config = config_for({full.address, f.backends[0]->address()});
    config.services[0].balance = eplb::Balance::first;
    config.services[0].eject_after = 1;
    config.services[0].connect_timeout = 1s;
    f.start(config);
    for (int i = 0; i < 3; ++i) {
        f.connect();
        REQUIRE(f.loop.settle());
        f.clock.advance(1001ms);
        REQUIRE(f.loop.until([&] { return f.observer.starts.size() == std::size_t(i) + 1; }));
    }
    CHECK(f.proxy->backends()[0].failures == 0);
    CHECK_FALSE(f.proxy->backends()[0].ejected);
}

TEST_CASE("unix backends: a client who leaves meanwhile is not kept", "[proxy][limits]") {
    Fixture f;
    eplb::test::FullUnixSocket full;
    f.start(config_for({full.address}));
    Peer& client = f.connect();
    REQUIRE(f.loop.settle());
    client.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::client_rst);
}
