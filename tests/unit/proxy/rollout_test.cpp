#include "proxy/rollout.hpp"

#include "eplb/reactor.hpp"
#include "proxy/roster.hpp"
#include "proxy/worker.hpp"
#include "proxy/worker_thread.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"
#include "support/recording_observer.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Backend;
using eplb::Config;
using eplb::Duration;
using eplb::Fd;
using eplb::LogLevel;
using eplb::Proxy;
using eplb::Reactor;
using eplb::ServiceConfig;
using eplb::test::Loop;
using eplb::test::Peer;
using eplb::test::ScriptedBackend;

namespace {

const Address any_port = Address::parse("127.0.0.1:0");

/// A policy that takes its time to learn of backends, on all threads but the one it was made on.
class Slow final : public eplb::Balancer {
public:
    explicit Slow(std::shared_future<void> until) : until_{std::move(until)} {}
    void prepare(std::span<const Backend* const>) noexcept override {
        if (std::this_thread::get_id() != maker_) until_.wait();
    }
    const Backend* pick(const eplb::Candidates& candidates,
                        const eplb::PickContext&) noexcept override {
        return candidates.all().front();
    }

private:
    std::shared_future<void> until_;
    std::thread::id maker_ = std::this_thread::get_id();
};

/// By which service clients of which listener are served, on any thread.
class Ledger final : public eplb::ProxyObserver {
public:
    void on_event(LogLevel, std::string_view) noexcept override {}
    void on_session_start(const eplb::SessionStart& start) noexcept override {
        const std::lock_guard lock{mutex_};
        served_.emplace_back(start.listener, start.service);
    }
    void on_session_end(const eplb::SessionSummary& summary) noexcept override {
        const std::lock_guard lock{mutex_};
        reasons_.push_back(summary.reason);
    }
    [[nodiscard]] std::vector<std::pair<Address, std::string>> served() const {
        const std::lock_guard lock{mutex_};
        return served_;
    }
    [[nodiscard]] std::vector<eplb::EndReason> reasons() const {
        const std::lock_guard lock{mutex_};
        return reasons_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::pair<Address, std::string>> served_;
    std::vector<eplb::EndReason> reasons_;
};

ServiceConfig service(std::string name, const Address& listener, const ScriptedBackend& backend) {
    ServiceConfig config;
    config.name = std::move(name);
    config.listen = {listener};
    config.backends = {{backend.address(), "", 1}};
    config.on_remove = eplb::OnRemove::keep;
    return config;
}

/// Two workers, the second of which learns only when `learn` is set.
class SlowLearner {
public:
    SlowLearner() {
        loop.add(backend);
        Config config;
        config.workers = 2;
        config.services = {service("old", any_port, backend),
                           service("new", Address::parse("127.0.0.2:0"), backend)};
        proxy = std::make_unique<Proxy>(reactor, config, ledger);
        listener = proxy->listen_addresses().at(0);

        Config changed = proxy->config();
        std::swap(changed.services[0].listen, changed.services[1].listen);
        changed.services[1].make_balancer = [until = learn.get_future().share()] {
            return std::make_unique<Slow>(until);
        };
        proxy->apply(changed, [this] { applied = true; });
    }

    /// A client, until one is served by the thread that is not busy.
    void connect_until_served() {
        const std::size_t before = ledger.served().size();
        REQUIRE(loop.until([&] {
            if (ledger.served().size() > before) return true;
            loop.add(clients.emplace_back(eplb::test::connect_to(listener)));
            return false;
        }));
    }

    Reactor reactor;
    Ledger ledger;
    Loop loop{reactor};
    ScriptedBackend backend;
    std::deque<Peer> clients;
    std::unique_ptr<Proxy> proxy;
    std::promise<void> learn;  // if it goes unset, nobody waits for it either
    Address listener;
    bool applied = false;
};

/// A rollout of one worker, without a proxy around it.
struct Alone {
    std::shared_ptr<eplb::Rollout> roll_out(const eplb::Generation& generation) {
        return std::make_shared<eplb::Rollout>(
            eplb::Rollout::Crew{reactor, worker, nobody_else, observer},
            eplb::Rollout::Plan{generation, {}});
    }
    void let_retry_delay_pass() {
        clock.advance(eplb::Rollout::retry_delay);
        reactor.run_once(0ms);
    }

    eplb::ManualClock clock;
    Reactor reactor{clock};
    eplb::test::RecordingObserver observer;
    eplb::DescriptorBudget budget{100};
    eplb::ShortageReport shortages{observer};
    const eplb::Worker::Shared shared{.observer = observer,
                                      .budget = budget,
                                      .shortages = shortages,
                                      .on_splice_refused = [](int) {},
                                      .on_session_gone = [] {},
                                      .on_sessions_gone = [] {},
                                      .on_answers = [] {},
                                      .on_backend_failing = [](const Backend&) {},
                                      .on_backend_answering = [](const Backend&) {},
                                      .on_listener_trouble = [](const std::string&) {},
                                      .on_pipes_in_the_way = [] {}};
    eplb::Worker worker{reactor, 0, shared};
    const std::vector<std::unique_ptr<eplb::WorkerThread>> nobody_else;
};

}  // namespace

TEST_CASE("rollout: nobody serves what another worker has not learnt yet", "[proxy][rollout]") {
    SlowLearner f;
    f.connect_until_served();
    CHECK_FALSE(f.applied);
    for (const auto& [listener, service] : f.ledger.served()) CHECK(service == "old");
    f.learn.set_value();
    REQUIRE(f.loop.until([&] { return f.applied; }));
    f.connect_until_served();
    CHECK(f.ledger.served().back().second == "new");
    // Whoever waited for the other one is served, too.
    REQUIRE(f.loop.until([&] { return f.ledger.served().size() == f.clients.size(); }));
    CHECK(f.ledger.reasons().empty());
}

TEST_CASE("rollout: who waits for a listener that goes with its service is served",
          "[proxy][rollout]") {
    Reactor reactor;
    Ledger ledger;
    Loop loop{reactor};
    ScriptedBackend backend{{.echo = true}};
    loop.add(backend);
    Config config;
    config.workers = GENERATE(1U, 2U);
    config.services = {service("goes", any_port, backend),
                       service("stays", Address::parse("127.0.0.2:0"), backend)};
    Proxy proxy{reactor, config, ledger};
    std::deque<Peer> clients;
    for (int i = 0; i < 100; ++i) {  // more than begin in a turn
        loop.add(clients.emplace_back(eplb::test::connect_to(proxy.listen_addresses().at(0))));
        clients.back().send("hello");
    }
    config.services.erase(config.services.begin());
    bool applied = false;
    proxy.apply(config, [&] { applied = true; });
    for (Peer& client : clients) {
        REQUIRE(loop.until([&] { return client.over() || client.received() == "hello"; }));
        CHECK_FALSE(client.over());
    }
    REQUIRE(loop.until([&] { return applied; }));
    CHECK(ledger.reasons().empty());
}

TEST_CASE("rollout: a drain in the middle of one lets it come to its end", "[proxy][rollout]") {
    SlowLearner f;
    bool drained = false;
    f.proxy->drain(Duration{0}, [&](std::size_t) { drained = true; });
    f.connect_until_served();  // the listeners are not closed yet
    f.learn.set_value();
    REQUIRE(f.loop.until([&] { return f.applied; }));
    for (Peer& client : f.clients) client.reset();
    REQUIRE(f.loop.until([&] { return drained; }));
    CHECK(f.proxy->active_sessions() == 0);
    CHECK_FALSE(eplb::test::connect_to(f.listener).valid());
}

TEST_CASE("rollout: a proxy that is destroyed in the middle of one leaves nothing behind",
          "[proxy][rollout]") {
    const std::size_t before = eplb::test::open_descriptors();
    {
        SlowLearner f;
        f.connect_until_served();
        f.learn.set_value();
        f.proxy.reset();
        f.loop.turn();
        CHECK_FALSE(f.applied);
    }
    CHECK(eplb::test::open_descriptors() == before);
}

TEST_CASE("rollout: a worker that could not do a step is asked again", "[proxy][rollout]") {
    Alone f;
    const ScriptedBackend backend;
    Config config;
    config.services = {service("a service", any_port, backend)};
    const eplb::Roster roster;
    eplb::Generation generation = roster.draft(config).generation();
    const auto spec = std::make_shared<eplb::ServiceSpec>(*generation.services[0]);
    const std::size_t index_end = std::exchange(spec->index_end, SIZE_MAX);  // no memory for that
    generation.services[0] = spec;

    const auto rollout = f.roll_out(generation);
    int done = 0;
    rollout->begin([&] { ++done; });
    for (int i = 0; i < 3; ++i) f.let_retry_delay_pass();
    CHECK(done == 0);
    REQUIRE(f.observer.events.size() == 1);  // told once
    CHECK(f.observer.events[0].level == LogLevel::warning);
    CHECK(f.observer.events[0].message.find("worker 1 cannot go over") == 0);

    spec->index_end = index_end;
    f.reactor.run_once(0ms);
    CHECK(done == 0);  // not before it is time
    f.let_retry_delay_pass();
    CHECK(done == 1);
}

// Their timers run for what they were told before.
TEST_CASE("rollout: sessions go by new timeouts, whichever step of learning them fails",
          "[proxy][rollout]") {
    Alone f;
    Loop loop{f.reactor};
    ScriptedBackend backend{{.echo = true}};
    loop.add(backend);
    Config config;
    config.services = {service("first", any_port, backend),
                       service("second", Address::parse("127.0.0.2:0"), backend)};
    for (ServiceConfig& each : config.services) each.idle_timeout = 1h;
    eplb::Roster roster;
    eplb::Roster::Draft draft = roster.draft(config);
    Fd socket = eplb::test::listener();
    const Address address = eplb::test::address_of(socket);
    draft.set_address(draft.new_sockets.at(0), address);
    roster.commit(draft);
    f.worker.learn(roster.generation());
    f.worker.add_listener(roster.generation().frontends[0], std::move(socket));
    Peer client{eplb::test::connect_to(address)};
    loop.add(client);
    client.send("hello");
    REQUIRE(loop.until([&] { return client.received() == "hello"; }));

    for (ServiceConfig& each : config.services) each.idle_timeout = 10s;
    eplb::Generation generation = roster.draft(config).generation();
    const std::size_t fails = GENERATE(0U, 1U);
    const auto spec = std::make_shared<eplb::ServiceSpec>(*generation.services[fails]);
    const std::size_t index_end = std::exchange(spec->index_end, SIZE_MAX);
    generation.services[fails] = spec;
    const auto rollout = f.roll_out(generation);
    bool done = false;
    rollout->begin([&] { done = true; });
    CHECK_FALSE(done);
    spec->index_end = index_end;
    f.let_retry_delay_pass();
    CHECK(done);
    REQUIRE(loop.settle());
    f.clock.advance(11s);
    REQUIRE(loop.until([&] { return client.over(); }));
    REQUIRE(f.observer.ends.size() == 1);
    CHECK(f.observer.ends[0].reason == eplb::EndReason::idle);
}

TEST_CASE("rollout: what is to be done in the end is done again if it failed, and then no more",
          "[proxy][rollout]") {
    Alone f;
    const auto rollout = f.roll_out({});
    int calls = 0;
    rollout->begin([&] {
        if (++calls < 3) throw std::bad_alloc{};
    });
    CHECK(calls == 1);
    f.let_retry_delay_pass();
    CHECK(calls == 2);
    for (int i = 0; i < 3; ++i) f.let_retry_delay_pass();
    CHECK(calls == 3);
}

TEST_CASE("rollout: who is told that it is done may cancel it, and finds all in place",
          "[proxy][rollout]") {
    Alone f;
    const bool fails = GENERATE(false, true);
    const auto rollout = f.roll_out({});
    const auto witness = std::make_shared<int>(1);
    std::vector<long> uses;
    std::function<void()> on_done = [&uses, &rollout, witness, fails] {
        rollout->cancel();  // as the end of the proxy does
        uses.push_back(witness.use_count());
        if (fails) throw std::bad_alloc{};
    };
    rollout->begin(std::move(on_done));
    for (int i = 0; i < 3; ++i) f.let_retry_delay_pass();
    CHECK(uses == std::vector<long>{2});  // it is there for as long as it runs, and once
    CHECK(witness.use_count() == 1);
}
