#include "proxy/relay_contexts.hpp"

#include "support/catch.hpp"
#include "support/proxy_fixture.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string_view>

using namespace std::chrono_literals;
using eplb::Config;
using eplb::PipePool;
using eplb::Proxy;
using eplb::Reactor;
using eplb::RelayMode;
using eplb::test::Loop;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::ScriptedBackend;
using Fixture = eplb::test::ProxyFixture;

namespace {

constexpr std::size_t bulk = 200'000;

// Another one each time, and a useful one.
std::size_t pipe_bytes(std::size_t turn) { return PipePool::useful_bytes + 4096 * turn; }

}  // namespace

TEST_CASE("relay contexts: a reload that wants other pipes leaves none of the old ones behind",
          "[proxy][relay_contexts]") {
    const std::size_t workers = GENERATE(std::size_t{1}, std::size_t{3});
    Reactor reactor;
    // Told on several threads.
    class Observer final : public eplb::ProxyObserver {
    public:
        void on_event(eplb::LogLevel, std::string_view) noexcept override {}
    } observer;
    Loop loop{reactor};
    ScriptedBackend backend{{.echo = true, .finish_with_peer = true}};
    loop.add(backend);
    Config config = eplb::test::config_for({backend.address()});
    config.workers = workers;
    config.services[0].relay = RelayMode::splice;
    Proxy proxy{reactor, config, observer};
    std::size_t most = 0;
    for (std::size_t turn = 1; turn <= 30; ++turn) {
        std::deque<Peer> clients;
        for (std::size_t i = 0; i < workers; ++i) {
            Peer& client =
                clients.emplace_back(eplb::test::connect_to(proxy.listen_addresses().at(0)));
            loop.add(client);
            client.send(pattern(bulk, turn));
            client.half_close();
        }
        for (Peer& client : clients) {
            REQUIRE(loop.until([&] { return client.over(); }));
            CHECK(client.received() == pattern(bulk, turn));
            loop.remove(client);
        }
        REQUIRE(loop.until([&] { return proxy.active_sessions() == 0; }));
        most = std::max(most, proxy.stats().pipes.open);
        bool applied = false;
        config.services[0].pipe_bytes = pipe_bytes(turn);
        proxy.apply(config, [&] { applied = true; });
        REQUIRE(loop.until([&] { return applied; }));
        CHECK(proxy.stats().pipes.open == 0);  // all of them were of the old kind
    }
    CHECK(most > 0);
    CHECK(most <= 2 * workers);
    CHECK(proxy.stats().pipes.created >= 30);  // those that are gone count, too
}

TEST_CASE("relay contexts: a session keeps what it began with, and it goes with the last one",
          "[proxy][relay_contexts]") {
    Fixture f{1, {.echo = true, .finish_with_peer = true}};
    Config config = f.config();
    config.services[0].relay = RelayMode::splice;
    f.start(config);
    Peer& first = f.connect_through();
    Peer& second = f.connect_through();
    first.send(pattern(bulk, 1));
    REQUIRE(f.loop.until([&] { return first.received_bytes() == bulk; }));
    const std::size_t pipes = f.proxy->stats().pipes.open;
    CHECK(pipes > 0);
    for (std::size_t turn = 1; turn <= 3; ++turn) {
        config.services[0].pipe_bytes = pipe_bytes(turn);
        f.proxy->apply(config);
        REQUIRE(f.loop.settle());
    }
    CHECK(f.proxy->stats().pipes.open == pipes);
    first.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.proxy->stats().pipes.open == pipes);
    second.send(pattern(bulk, 2));
    second.half_close();
    REQUIRE(f.until_ended(2));
    CHECK(second.received() == pattern(bulk, 2));
    CHECK(f.proxy->stats().pipes.open == 0);
    CHECK(f.proxy->stats().pipes.lent == 0);
}
