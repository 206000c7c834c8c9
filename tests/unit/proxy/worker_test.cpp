// Proxies with several workers: real threads, so nothing here counts turns.

#include "proxy/worker.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "proxy/roster.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <csignal>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <pthread.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Config;
using eplb::EndReason;
using eplb::Fd;
using eplb::LogLevel;
using eplb::Proxy;
using eplb::Reactor;
using eplb::ServiceConfig;
using eplb::test::Loop;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::Script;
using eplb::test::ScriptedBackend;

namespace {

const Address any_port = Address::parse("127.0.0.1:0");

class ConcurrentObserver final : public eplb::ProxyObserver {
public:
    void on_event(LogLevel, std::string_view) noexcept override {}
    void on_session_start(const eplb::SessionStart& start) noexcept override {
        const std::lock_guard lock{mutex_};
        ++starts_;
        ++by_backend_[start.backend.address().to_string()];
        sigset_t mask;
        pthread_sigmask(SIG_BLOCK, nullptr, &mask);
        if (sigismember(&mask, SIGUSR1) == 0) ++unblocked_;
    }
    void on_session_end(const eplb::SessionSummary& summary) noexcept override {
        const std::lock_guard lock{mutex_};
        ++ends_[summary.reason];
    }

    [[nodiscard]] std::size_t starts() const {
        const std::lock_guard lock{mutex_};
        return starts_;
    }
    [[nodiscard]] std::size_t ends(EndReason reason) const {
        const std::lock_guard lock{mutex_};
        const auto found = ends_.find(reason);
        return found == ends_.end() ? 0 : found->second;
    }
    [[nodiscard]] std::size_t ends() const {
        const std::lock_guard lock{mutex_};
        std::size_t sum = 0;
        for (const auto& [reason, count] : ends_) sum += count;
        return sum;
    }
    [[nodiscard]] std::map<std::string, std::size_t> by_backend() const {
        const std::lock_guard lock{mutex_};
        return by_backend_;
    }
    /// Sessions that started on a thread to which SIGUSR1 could be delivered.
    [[nodiscard]] std::size_t unblocked() const {
        const std::lock_guard lock{mutex_};
        return unblocked_;
    }

private:
    mutable std::mutex mutex_;
    std::size_t starts_ = 0;
    std::size_t unblocked_ = 0;
    std::map<std::string, std::size_t> by_backend_;
    std::map<EndReason, std::size_t> ends_;
};

class Fixture {
public:
    explicit Fixture(std::size_t workers, std::size_t backend_count = 1,
                     const Script& script = {.echo = true, .finish_with_peer = true}) {
        ServiceConfig service;
        service.listen = {any_port};
        for (std::size_t i = 0; i < backend_count; ++i) {
            backends.push_back(std::make_unique<ScriptedBackend>(script));
            loop.add(*backends.back());
            service.backends.push_back({backends.back()->address(), "", 1});
        }
        config.services = {service};
        config.workers = workers;
    }
    ~Fixture() { proxy.reset(); }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    void start() {
        proxy = std::make_unique<Proxy>(reactor, config, observer);
        address = proxy->listen_addresses().at(0);
    }
    Peer& connect(const Address& to) {
        Peer& client = clients.emplace_back(eplb::test::connect_to(to));
        REQUIRE(client.is_open());
        loop.add(client);
        return client;
    }
    Peer& connect() { return connect(address); }
    /// Clients that have been relayed to a backend.
    void connect_through(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t before = observer.starts();
            connect();
            REQUIRE(loop.until([&] { return observer.starts() > before; }));
        }
    }
    /// Everybody's bytes go there and back.
    void check_all_answered() {
        std::size_t number = 0;
        for (Peer& client : clients) {
            client.send(pattern(20'000, ++number));
            client.half_close();
        }
        number = 0;
        for (Peer& client : clients) {
            REQUIRE(loop.until([&] { return client.over(); }));
            REQUIRE(client.received() == pattern(20'000, ++number));
        }
    }
    [[nodiscard]] std::vector<std::size_t> spread() const {
        return proxy->stats().sessions_by_worker;
    }

    Reactor reactor;
    ConcurrentObserver observer;
    Loop loop{reactor};
    std::vector<std::unique_ptr<ScriptedBackend>> backends;
    std::deque<Peer> clients;
    Config config;
    std::unique_ptr<Proxy> proxy;
    Address address;
};

}  // namespace

TEST_CASE("workers: a few sessions are spread over them", "[proxy][workers]") {
    Fixture f{4};
    f.start();
    f.connect_through(12);
    const std::vector<std::size_t> spread = f.spread();
    CHECK(std::accumulate(spread.begin(), spread.end(), std::size_t{0}) == 12);
    CHECK(*std::ranges::max_element(spread) <= 6);
    f.check_all_answered();
    REQUIRE(f.loop.until([&] { return f.observer.ends() == 12; }));
    CHECK(f.observer.ends(EndReason::client_fin) == 12);
    CHECK(f.proxy->active_sessions() == 0);
}

TEST_CASE("workers: many sessions are spread within ten percent, and evenly over the backends",
          "[proxy][workers]") {
    constexpr std::size_t count = 1000;
    Fixture f{3, 2};
    f.start();
    for (std::size_t i = 0; i < count; ++i) f.connect();  // they come faster than they are dialled
    REQUIRE(f.loop.until([&] { return f.observer.starts() == count; }));
    const std::vector<std::size_t> spread = f.spread();
    CHECK(std::accumulate(spread.begin(), spread.end(), std::size_t{0}) == count);
    for (const std::size_t share : spread) {
        CAPTURE(share);
        CHECK(share * 3 * 10 >= count * 9);
        CHECK(share * 3 * 10 <= count * 11);
    }
    for (const auto& [backend, share] : f.observer.by_backend()) {
        CAPTURE(backend, share);
        CHECK(share >= count / 2 - 3);  // each worker has its own turns: one apart at most
        CHECK(share <= count / 2 + 3);
    }
    f.check_all_answered();
}

TEST_CASE("workers: those who left make room on their worker for the next", "[proxy][workers]") {
    Fixture f{2};
    f.start();
    f.connect_through(8);
    for (std::size_t i = 0; i < 8; i += 2) f.clients[i].reset();
    REQUIRE(f.loop.until([&] { return f.observer.ends() == 4; }));
    f.connect_through(4);
    const std::vector<std::size_t> spread = f.spread();
    CHECK(spread[0] + spread[1] == 8);
    CHECK(std::ranges::min(spread) >= 2);  // three more are tolerated
}

TEST_CASE("workers: max_connections holds for all of them together, and nobody waits for ever",
          "[proxy][workers]") {
    constexpr std::size_t count = 40;
    Fixture f{3};
    f.config.max_connections = 5;
    f.start();
    CHECK(f.proxy->max_connections() == 5);
    for (std::size_t i = 0; i < count; ++i) f.connect();
    for (std::size_t ended = 0; ended < count; ++ended) {
        // Whoever is let in gets an answer, and leaves.
        Peer* inside = nullptr;
        for (Peer& client : f.clients) {
            if (client.is_open() && client.sent_bytes() == 0) client.send("?");
        }
        REQUIRE(f.loop.until([&] {
            CHECK(f.proxy->active_sessions() <= 5);
            const auto answered = std::find_if(
                f.clients.begin(), f.clients.end(),
                [](Peer& client) { return client.is_open() && client.received() == "?"; });
            if (answered != f.clients.end()) inside = &*answered;
            return inside != nullptr;
        }));
        inside->reset();
        REQUIRE(f.loop.until([&] { return f.observer.ends() > ended; }));
    }
    CHECK(f.proxy->stats().accepted == count);
}

TEST_CASE("workers: with fewer places than workers every client is served", "[proxy][workers]") {
    Fixture f{4};
    f.config.max_connections = 1;
    f.start();
    for (std::size_t i = 0; i < 20; ++i) {
        f.connect().send("?");
        REQUIRE(f.loop.until([&] { return f.clients.back().received() == "?"; }));
        f.clients.back().reset();
        REQUIRE(f.loop.until([&] { return f.observer.ends() == i + 1; }));
    }
}

TEST_CASE("workers: idle pipes of one do not keep the clients of another waiting",
          "[proxy][workers]") {
    constexpr std::size_t sessions = 12;
    Fixture f{3};
    f.config.services[0].relay = eplb::RelayMode::splice;
    f.config.max_connections = sessions;
    // What is kept for other things, the workers' own, and 28 for sessions and pipes.
    constexpr int limit = 64 + 3 + 2 * 2 + 28;
    const eplb::test::DescriptorShortage few{limit -
                                             static_cast<int>(eplb::test::open_descriptors())};
    f.start();
    // Pipes first, while there is room for them: every worker keeps some.
    f.connect_through(6);
    for (Peer& client : f.clients) client.send(pattern(200'000, 1));
    REQUIRE(f.loop.until([&] {
        return std::all_of(f.clients.begin(), f.clients.end(),
                           [](const Peer& client) { return client.received_bytes() == 200'000; });
    }));
    CHECK(f.proxy->stats().pipes.open >= 3);  // which leaves room for eleven sessions
    f.connect_through(sessions - 6);
    CHECK(f.proxy->active_sessions() == sessions);
}

TEST_CASE("workers: drained, all of them take who had connected before, and let sessions finish",
          "[proxy][workers]") {
    Fixture f{3};
    f.start();
    f.connect_through(5);
    for (int i = 0; i < 20; ++i) f.connect();  // with the kernel; maybe not with us yet
    std::optional<std::size_t> drained;
    f.proxy->drain(30s, [&](std::size_t reset) { drained = reset; });
    REQUIRE(f.loop.until([&] { return f.observer.starts() == 25; }));
    std::size_t asked = 0;  // who was in time is one more session
    REQUIRE(f.loop.until([&] {
        const bool in_time = eplb::test::connect_to(f.address).valid();
        if (in_time) ++asked;
        return !in_time;
    }));
    CHECK_FALSE(drained);
    f.check_all_answered();
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{0});
    CHECK(f.observer.ends(EndReason::client_fin) >= 25);
    CHECK(f.observer.ends() <= 25 + asked);
}

TEST_CASE("workers: reset in the middle of a drain, every session ends on every worker",
          "[proxy][workers]") {
    Fixture f{3};
    f.start();
    f.connect_through(7);
    for (int i = 0; i < 10; ++i) f.connect();
    std::optional<std::size_t> drained;
    f.proxy->drain(0s, [&](std::size_t reset) { drained = reset; });
    f.proxy->reset_sessions();  // at once: the listeners of other threads may not be closed yet
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(f.observer.ends(EndReason::drain) == 17);
    CHECK(f.proxy->active_sessions() == 0);
}

TEST_CASE("workers: what is left when the drain timeout is over is reset, and counted",
          "[proxy][workers]") {
    Fixture f{2};
    f.start();
    f.connect_through(4);
    std::optional<std::size_t> drained;
    f.proxy->drain(1ms, [&](std::size_t reset) { drained = reset; });
    // The loop does not wait for timers.
    for (int turns = 0; turns < 1000 && !drained; ++turns) f.reactor.run_once(10ms);
    REQUIRE(drained.has_value());
    CHECK(drained == std::size_t{4});
    for (Peer& client : f.clients) {
        REQUIRE(f.loop.until([&] { return client.over(); }));
        CHECK(client.was_reset());
    }
}

TEST_CASE("workers: destroyed with live sessions, all is reset and closed, on every thread",
          "[proxy][workers]") {
    Fixture f{4, 1, {}};
    f.config.services[0].listen.push_back(any_port);
    const std::size_t before = eplb::test::open_descriptors();
    f.start();
    f.connect_through(9);
    f.connect();  // in the middle of something
    f.proxy.reset();
    for (Peer& client : f.clients) {
        REQUIRE(f.loop.until([&] { return client.over(); }));
        CHECK(client.was_reset());
        client.close();
    }
    CHECK(f.observer.ends(EndReason::drain) >= 9);
    const std::size_t accepted = f.backends[0]->connections();
    CHECK(eplb::test::open_descriptors() == before + accepted);
}

TEST_CASE("workers: a Unix socket, which cannot be shared, serves all of them",
          "[proxy][workers]") {
    Fixture f{3};
    const auto path =
        std::filesystem::temp_directory_path() / ("eplb-workers-" + std::to_string(::getpid()));
    f.config.services[0].listen = {Address::parse("unix:" + path.string())};
    f.start();
    f.connect_through(15);
    CHECK(std::ranges::min(f.spread()) >= 4);
    f.check_all_answered();
    f.proxy.reset();
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("workers: an address on which another listens is in use, shared port or not",
          "[proxy][workers]") {
    Fixture f{2};
    f.start();
    for (const std::size_t workers : {std::size_t{1}, std::size_t{2}}) {
        CAPTURE(workers);
        Config config = f.config;
        config.workers = workers;
        config.services[0].listen = {f.address};
        ConcurrentObserver observer;
        const std::size_t before = eplb::test::open_descriptors();
        try {
            const Proxy second{f.reactor, config, observer};
            FAIL("it listens");
        } catch (const std::system_error& error) {
            CHECK(error.code().value() == EADDRINUSE);
            CHECK(std::string{error.what()}.find(f.address.to_string()) != std::string::npos);
        }
        CHECK(eplb::test::open_descriptors() == before);
    }
    f.connect_through(2);
    f.check_all_answered();
}

TEST_CASE("workers: signals of the process are not delivered to their threads",
          "[proxy][workers]") {
    Fixture f{3};
    f.start();
    f.connect_through(6);
    CHECK(f.observer.unblocked() == f.spread()[0]);  // those on this thread
}

TEST_CASE("workers: none is a configuration that makes no sense", "[proxy][workers]") {
    Fixture f{0};
    CHECK_THROWS_AS(f.start(), std::invalid_argument);
}

// Two of them without threads, of which one never learns what the other one serves: what a rollout
// does not let happen.
TEST_CASE("workers: a client handed over under an id that nobody knows is reset and counted out",
          "[proxy][workers]") {
    Fixture f{1};
    eplb::Roster roster;
    eplb::Roster::Draft draft = roster.draft(f.config);
    roster.commit(draft);
    eplb::DescriptorBudget budget{100};
    eplb::ShortageReport shortages{f.observer};
    std::size_t gone = 0;
    const eplb::Worker::Shared shared{.observer = f.observer,
                                      .budget = budget,
                                      .shortages = shortages,
                                      .on_splice_refused = [](int) {},
                                      .on_session_gone = [&] { ++gone; },
                                      .on_sessions_gone = [] {},
                                      .on_answers = [] {},
                                      .on_backend_failing = [](const eplb::Backend&) {},
                                      .on_backend_answering = [](const eplb::Backend&) {},
                                      .on_listener_trouble = {},
                                      .on_pipes_in_the_way = [] {}};
    eplb::Worker knows{f.reactor, 0, shared};
    eplb::Worker does_not{f.reactor, 1, shared};
    const std::vector<eplb::Worker*> peers{&knows, &does_not};
    for (eplb::Worker* const worker : peers) worker->set_peers(peers);
    knows.learn(roster.generation());
    eplb::FrontendSpec frontend = roster.generation().frontends[0];
    Fd socket = eplb::listen_on(any_port);
    frontend.address = eplb::local_address(socket);
    knows.add_listener(frontend, std::move(socket));

    // With more sessions than the other one may lack, it hands over.
    constexpr std::size_t kept = 3;
    for (std::size_t count = 1; count <= kept; ++count) {
        f.connect(frontend.address);
        REQUIRE(f.loop.until([&] { return f.observer.starts() == count; }));
    }
    Peer& first = f.clients.front();
    const eplb::ServiceLimits& limits = *roster.generation().services[0]->limits;
    for (std::size_t count = 1; count <= 3; ++count) {
        Peer& second = f.connect(frontend.address);
        REQUIRE(f.loop.until([&] { return second.over(); }));
        CHECK(second.was_reset());
        CHECK(f.observer.ends(EndReason::removed) == count);
        CHECK(gone == count);
        CHECK(does_not.load() == 0);
        CHECK(budget.sessions() == kept);
        CHECK(limits.sessions() == kept);
    }
    first.send("still here");
    REQUIRE(f.loop.until([&] { return first.received() == "still here"; }));
    CHECK(knows.load() == kept);
    CHECK(knows.accepted() == kept + 3);
}
