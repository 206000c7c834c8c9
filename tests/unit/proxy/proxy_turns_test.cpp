// What a proxy may do in one turn, however much there is to do: turns are counted, not time.
#include "eplb/acceptor.hpp"
#include "support/catch.hpp"
#include "support/proxy_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Config;
using eplb::EndReason;
using eplb::test::config_for;
using eplb::test::Peer;
using eplb::test::Script;
using Fixture = eplb::test::ProxyFixture;

namespace {

// Backends to which connecting fails at once.
Config unreachable(std::size_t count) {
    std::vector<Address> addresses;
    for (std::size_t i = 0; i < count; ++i)
        addresses.push_back(Address::parse("unix:/nonexistent/" + std::to_string(i)));
    Config config = config_for(addresses);
    config.services[0].eject_after = 0;
    return config;
}

std::uint64_t attempts(const Fixture& f) {
    std::uint64_t sum = 0;
    for (const auto& backend : f.proxy->backends()) sum += backend.attempts;
    return sum;
}

// The most by which `count()` grew in any turn, until `done()`.
template <class Count, class Done>
std::uint64_t most_in_a_turn(Fixture& f, const Count& count, const Done& done) {
    std::uint64_t most = 0;
    REQUIRE(f.loop.until([&, before = std::uint64_t{count()}]() mutable {
        const std::uint64_t now = count();
        most = std::max(most, now - std::exchange(before, now));
        return done();
    }));
    return most;
}

// The most attempts that any turn made until `count` sessions are over.
std::uint64_t most_attempts_in_a_turn(Fixture& f, std::size_t count) {
    return most_in_a_turn(
        f, [&] { return attempts(f); }, [&] { return f.observer.ends.size() >= count; });
}

}  // namespace

TEST_CASE("turns: a client whose backends all fail at once is tried with a few of them in a turn",
          "[proxy][turns]") {
    constexpr std::size_t count = 1000;
    Fixture f;
    f.start(unreachable(count));
    Peer& client = f.connect();
    CHECK(most_attempts_in_a_turn(f, 1) <= 32);
    CHECK(f.observer.ends[0].reason == EndReason::connect_refused);
    std::vector<std::string> tried;
    for (const auto& [address, error] : f.observer.ends[0].failed_attempts)
        tried.push_back(address.to_string());
    CHECK(tried.size() == count);  // each of them, once
    std::ranges::sort(tried);
    CHECK(std::ranges::adjacent_find(tried) == tried.end());
    CHECK(f.loop.until([&] { return client.was_reset(); }));
}

TEST_CASE("turns: many such clients make no more attempts in a turn than one, but for their first",
          "[proxy][turns]") {
    constexpr std::size_t clients = 40;
    Fixture f;
    f.start(unreachable(100));
    for (std::size_t i = 0; i < clients; ++i) f.connect();
    CHECK(most_attempts_in_a_turn(f, clients) <= clients + 32);
    for (const auto& end : f.observer.ends) CHECK(end.failed_attempts.size() == 100);
}

TEST_CASE("turns: time goes by while a client is tried with one after the other",
          "[proxy][turns]") {
    Fixture f;
    Config config = unreachable(1000);
    config.services[0].connect_timeout = 1s;
    f.start(config);
    f.connect();
    REQUIRE(f.loop.until([&] {
        f.clock.advance(100ms);
        return f.observer.ends.size() == 1;
    }));
    CHECK(f.observer.ends[0].failed_attempts.size() < 1000);
    CHECK(f.observer.ends[0].total_time < 3s);
    CHECK(f.proxy->active_sessions() == 0);
}

TEST_CASE("turns: a client that leaves is not tried with the rest", "[proxy][turns]") {
    Fixture f;
    f.start(unreachable(1000));
    Peer& client = f.connect();
    REQUIRE(f.loop.until([&] { return attempts(f) > 0; }));
    client.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::client_rst);
    CHECK(f.observer.ends[0].failed_attempts.size() < 1000);
}

// --- sessions that end by the hundred

namespace {

const Script polite{.echo = true, .finish_with_peer = true};

// The most sessions that ended in one turn, until all of `count` have.
std::uint64_t most_ends_in_a_turn(Fixture& f, std::size_t count) {
    const auto ends = [&] { return f.observer.ends.size(); };
    return most_in_a_turn(f, ends, [&] { return ends() >= count; });
}

// What becomes of the sessions of backends that are removed; if it is drain, they have 5 s.
Config with_removal(const Fixture& f, eplb::OnRemove on_remove) {
    Config config = f.config();
    config.services[0].on_remove = on_remove;
    if (on_remove == eplb::OnRemove::drain) config.services[0].drain_timeout = 5s;
    return config;
}

void apply(Fixture& f, const Config& config) {
    f.proxy->apply(config);
    REQUIRE(f.loop.settle());
}

// A proxy with one backend that takes one session, and a queue for others.
Config with_queue(const Fixture& f, std::size_t places) {
    Config config = f.config();
    config.services[0].queue = static_cast<std::uint32_t>(places);
    config.services[0].queue_timeout = 0s;
    config.services[0].backends[0].max_connections = 1;
    return config;
}

void connect_through(Fixture& f, std::size_t count) {
    const std::size_t before = f.observer.starts.size();
    for (std::size_t i = 0; i < count; ++i) f.connect();
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == before + count; }));
    REQUIRE(f.loop.settle());
}

constexpr std::size_t few_in_a_turn = 64;

}  // namespace

TEST_CASE("turns: sessions of what was removed are reset a few in a turn, and only those",
          "[proxy][turns]") {
    Fixture f{2, polite};
    Config config = with_removal(f, eplb::OnRemove::close);
    f.start(config);
    connect_through(f, 200);
    config.services[0].backends.erase(config.services[0].backends.begin());
    f.proxy->apply(config);
    CHECK(most_ends_in_a_turn(f, 100) <= few_in_a_turn);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.size() == 100);
    for (const auto& end : f.observer.ends) CHECK(end.reason == EndReason::removed);
    CHECK(f.proxy->active_sessions() == 100);
}

TEST_CASE("turns: so are those of many removed backends, and of some when their time is over",
          "[proxy][turns]") {
    Fixture f{12, polite};
    Config config = with_removal(f, eplb::OnRemove::drain);
    f.start(config);
    connect_through(f, 180);
    config.services[0].backends.resize(1);
    apply(f, config);
    CHECK(f.observer.ends.empty());
    f.clock.advance(6s);
    CHECK(most_ends_in_a_turn(f, 165) <= few_in_a_turn);
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 15);
}

TEST_CASE("turns: a backend that returns keeps its sessions, while those of others end",
          "[proxy][turns]") {
    Fixture f{3, polite};
    Config config = with_removal(f, eplb::OnRemove::drain);
    f.start(config);
    connect_through(f, 9);
    const Config whole = config;
    config.services[0].backends.resize(1);
    apply(f, config);
    config.services[0].backends.push_back(whole.services[0].backends[1]);
    apply(f, config);
    f.clock.advance(6s);
    REQUIRE(f.until_ended(3));
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 6);
    for (const auto& end : f.observer.ends)
        CHECK(end.backend == whole.services[0].backends[2].address.to_string());
}

TEST_CASE("turns: what is left when the drain timeout is over ends a few in a turn",
          "[proxy][turns]") {
    Fixture f{1, polite};
    f.start();
    connect_through(f, 150);
    std::size_t reset = 0;
    f.proxy->drain(1s, [&](std::size_t count) { reset = count; });
    REQUIRE(f.loop.settle());
    f.clock.advance(2s);
    CHECK(most_ends_in_a_turn(f, 150) <= few_in_a_turn);
    REQUIRE(f.loop.until([&] { return reset == 150; }));
}

TEST_CASE("turns: what is ordered while sessions are being reset is done after it",
          "[proxy][turns]") {
    Fixture f{2, polite};
    Config config = with_removal(f, eplb::OnRemove::close);
    f.start(config);
    connect_through(f, 300);
    config.services[0].backends.erase(config.services[0].backends.begin());
    f.proxy->apply(config);
    CHECK(f.proxy->active_sessions() > 150);
    f.proxy->reset_sessions();
    REQUIRE(f.until_ended(300));
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 0);
    const auto removed = std::ranges::count(f.observer.ends, EndReason::removed,
                                            [](const auto& end) { return end.reason; });
    CHECK(removed == 150);
}

TEST_CASE("turns: sessions learn of a new timeout, however many there are", "[proxy][turns]") {
    Fixture f{1, polite};
    Config config = f.config();
    config.services[0].idle_timeout = 1h;
    f.start(config);
    connect_through(f, 300);
    config.services[0].idle_timeout = 1s;
    apply(f, config);
    f.clock.advance(2s);
    REQUIRE(f.until_ended(300));
}

// --- who waits for a backend

TEST_CASE("turns: clients who wait are let in by the dozen when there is room, in order",
          "[proxy][turns]") {
    constexpr std::size_t count = 200;
    Fixture f{1, polite};
    Config config = with_queue(f, count);
    f.start(config);
    std::vector<std::string> expected;
    for (std::size_t i = 0; i < count; ++i) {
        eplb::Fd socket = eplb::test::connect_to(f.address);
        expected.push_back(eplb::local_address(socket).to_string());
        f.loop.add(f.clients.emplace_back(std::move(socket)));
        REQUIRE(f.loop.settle());  // or the kernel might have them accepted in another order
    }
    CHECK(f.observer.starts.size() == 1);
    config.services[0].backends[0].max_connections = 1000;
    f.proxy->apply(config);
    std::size_t turns = 0;
    const auto starts = [&] { return f.observer.starts.size(); };
    CHECK(most_in_a_turn(f, starts, [&] { return ++turns, starts() == count; }) <= 128);
    CHECK(turns < 20);
    std::vector<std::string> served;
    for (const auto& start : f.observer.starts) served.push_back(start.client.to_string());
    CHECK(served == expected);
}

TEST_CASE("turns: as many are let in as there are places, and the others go on waiting",
          "[proxy][turns]") {
    Fixture f{1, polite};
    Config config = with_queue(f, 100);
    f.start(config);
    for (std::size_t i = 0; i < 20; ++i) f.connect();
    REQUIRE(f.loop.settle());
    config.services[0].backends[0].max_connections = 5;
    apply(f, config);
    CHECK(f.observer.starts.size() == 5);
    CHECK(f.proxy->active_sessions() == 20);
    for (std::size_t i = 0; i < 20; ++i) {
        f.clients[i].half_close();
        REQUIRE(f.until_ended(i + 1));
    }
    CHECK(f.observer.starts.size() == 20);
}

TEST_CASE("turns: who waits in the backlog of a listener that closes is dialled a few in a turn",
          "[proxy][turns]") {
    Fixture f{1, polite};
    f.start();
    for (int i = 0; i < 120; ++i) f.connect();
    bool drained = false;
    f.proxy->drain(0s, [&](std::size_t) { drained = true; });
    CHECK(most_in_a_turn(
              f, [&] { return attempts(f); }, [&] { return f.observer.starts.size() == 120; }) <=
          few_in_a_turn);
    CHECK_FALSE(drained);
    for (Peer& client : f.clients) client.half_close();
    REQUIRE(f.loop.until([&] { return drained; }));
    for (Peer& client : f.clients) CHECK(client.finished());
}
