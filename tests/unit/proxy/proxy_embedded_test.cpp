// What a program around a Proxy may do within its calls, and what its own mistakes do.

#include "eplb/proxy.hpp"

#include "eplb/acceptor.hpp"
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/proxy_fixture.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Backend;
using eplb::Balancer;
using eplb::Config;
using eplb::Duration;
using eplb::LogLevel;
using eplb::Proxy;
using eplb::ProxyObserver;
using eplb::SessionStart;
using eplb::SessionSummary;
using eplb::test::any_port;
using eplb::test::config_for;
using eplb::test::Loop;
using eplb::test::Peer;
using eplb::test::ProxyFixture;
using eplb::test::RefusingPort;
using eplb::test::ScriptedBackend;

namespace {

// Calls what the test wants to happen in the middle of things, once, and counts what it is told.
class Meddler final : public ProxyObserver {
public:
    enum class When { event, start, end };

    void on_event(LogLevel, std::string_view) noexcept override { meddle(When::event); }
    void on_session_start(const SessionStart&) noexcept override {
        ++starts;
        meddle(When::start);
    }
    void on_session_end(const SessionSummary&) noexcept override {
        ++ends;
        meddle(When::end);
    }

    When when = When::end;
    std::function<void()> what;
    int calls = 0;
    int starts = 0;
    int ends = 0;

private:
    void meddle(When now) noexcept {
        ++calls;
        if (now != when || !what) return;
        const auto once = std::exchange(what, {});
        once();
    }
};

// A proxy whose observer meddles, two backends that echo, and clients.
struct Fixture {
    Fixture() {
        for (auto& backend : backends) loop.add(*backend);
    }
    void start(Config config) {
        proxy = std::make_unique<Proxy>(reactor, config, observer);
        address = proxy->listen_addresses().at(0);
    }
    [[nodiscard]] Config config() const {
        return config_for({backends[0]->address(), backends[1]->address()});
    }
    Peer& connect() {
        Peer& client = clients.emplace_back(eplb::test::connect_to(address));
        loop.add(client);
        return client;
    }
    Peer& connect_through() {
        const int before = observer.starts;
        Peer& client = connect();
        REQUIRE(loop.until([&] { return observer.starts > before; }));
        REQUIRE(loop.settle());
        return client;
    }

    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    Meddler observer;
    Loop loop{reactor};
    std::vector<std::unique_ptr<ScriptedBackend>> backends = [] {
        std::vector<std::unique_ptr<ScriptedBackend>> two;
        for (int i = 0; i < 2; ++i) {
            two.push_back(std::make_unique<ScriptedBackend>(
                eplb::test::Script{.echo = true, .finish_with_peer = true}));
        }
        return two;
    }();
    std::deque<Peer> clients;
    std::unique_ptr<Proxy> proxy;
    eplb::Address address;
};

class Thrower final : public std::runtime_error {
public:
    Thrower() : std::runtime_error{"made no balancer"} {}
};

}  // namespace

// --- destroyed in the middle of things

TEST_CASE("proxy: may be destroyed within any call of its observer", "[proxy][proxy_embedded]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        f.start(f.config());
        Peer& bystander = f.connect_through();
        const auto when = GENERATE(Meddler::When::start, Meddler::When::end, Meddler::When::event);
        int calls_then = -1;
        f.observer.when = when;
        f.observer.what = [&] {
            f.proxy.reset();
            calls_then = f.observer.calls;
        };
        if (when == Meddler::When::event) {
            // Nobody listens at the backends any more: the third failure ejects one.
            for (auto& backend : f.backends) backend->stop_listening();
            for (int i = 0; i < 6 && calls_then < 0; ++i) {
                f.connect();
                REQUIRE(f.loop.settle());
            }
        } else {
            Peer& client = f.connect();
            if (when == Meddler::When::end) client.half_close();
        }
        REQUIRE(f.loop.until([&] { return calls_then >= 0; }));
        CHECK(f.proxy == nullptr);
        REQUIRE(f.loop.until([&] { return bystander.over(); }));
        REQUIRE(f.loop.settle());
        CHECK(bystander.was_reset());
        CHECK(f.observer.calls == calls_then);  // it may be gone as well
        CHECK_FALSE(eplb::test::connect_to(f.address).valid());
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: destroyed by its observer, and the reactor right after it, it leaves nothing",
          "[proxy][proxy_embedded]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        eplb::ManualClock clock;
        auto reactor = std::make_unique<eplb::Reactor>(clock);
        ScriptedBackend backend;
        Meddler observer;
        auto proxy = std::make_unique<Proxy>(*reactor, config_for({backend.address()}), observer);
        observer.when = Meddler::When::start;
        observer.what = [&] { proxy.reset(); };
        const eplb::Fd client = eplb::test::connect_to(proxy->listen_addresses().at(0));
        for (int turns = 0; turns < 100 && proxy; ++turns) reactor->run_once(100ms);
        CHECK(proxy == nullptr);
        reactor.reset();  // before its next turn
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: of several workers, all are gone when its observer has destroyed it",
          "[proxy][proxy_embedded]") {
    // The observer is called on all threads; only on the reactor's may it touch the proxy.
    class Destroyer final : public ProxyObserver {
    public:
        void on_event(LogLevel, std::string_view) noexcept override {}
        void on_session_end(const SessionSummary&) noexcept override {
            if (gone) ++told_later;
            if (std::this_thread::get_id() == own && ended_here++ == 0) {
                proxy.reset();
                gone = true;
            }
        }
        std::thread::id own = std::this_thread::get_id();
        std::unique_ptr<Proxy> proxy;
        int ended_here = 0;
        std::atomic<bool> gone = false;
        std::atomic<int> told_later = 0;
    };
    const eplb::test::DescriptorCheck descriptors;
    {
        eplb::Reactor reactor;
        Loop loop{reactor};
        ScriptedBackend backend{eplb::test::Script{.finish_with_peer = true}};
        loop.add(backend);
        Destroyer observer;
        Config config = config_for({backend.address()});
        config.workers = 3;
        observer.proxy = std::make_unique<Proxy>(reactor, config, observer);
        std::deque<Peer> clients;
        const eplb::Address address = observer.proxy->listen_addresses().at(0);
        for (int i = 0; i < 30; ++i) {
            loop.add(clients.emplace_back(eplb::test::connect_to(address)));
        }
        REQUIRE(loop.until([&] { return backend.connections() == 30; }));
        for (Peer& client : clients) client.half_close();
        REQUIRE(loop.until([&] { return observer.gone.load(); }));
        REQUIRE(loop.settle());
        for (const Peer& client : clients) CHECK(client.over());
        CHECK(observer.told_later == 0);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: one of two on a reactor may be destroyed by the other's observer",
          "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    eplb::test::RecordingObserver told;
    auto other = std::make_unique<Proxy>(f.reactor, f.config(), told);
    Peer client_of_other{eplb::test::connect_to(other->listen_addresses().at(0))};
    f.loop.add(client_of_other);
    REQUIRE(f.loop.until([&] { return told.starts.size() == 1; }));
    f.observer.when = Meddler::When::start;
    f.observer.what = [&] { other.reset(); };
    Peer& client = f.connect_through();
    CHECK(told.ends.size() == 1);  // at once, and told
    client.send("ping");
    REQUIRE(f.loop.until([&] { return client.received() == "ping"; }));
    REQUIRE(f.loop.until([&] { return client_of_other.was_reset(); }));
}

// --- the rest that an observer may do

TEST_CASE("proxy: its observer may drain it", "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    Peer& stays = f.connect_through();
    bool drained = false;
    f.observer.when = GENERATE(Meddler::When::start, Meddler::When::end);
    f.observer.what = [&] { f.proxy->drain(Duration{0}, [&](std::size_t) { drained = true; }); };
    Peer& leaves = f.connect();
    leaves.half_close();
    REQUIRE(f.loop.until([&] { return leaves.over(); }));
    REQUIRE(f.loop.settle());
    CHECK_FALSE(eplb::test::connect_to(f.address).valid());
    CHECK_FALSE(drained);
    stays.send("ping");
    REQUIRE(f.loop.until([&] { return stays.received() == "ping"; }));
    stays.half_close();
    REQUIRE(f.loop.until([&] { return drained; }));
}

TEST_CASE("proxy: its observer may reset all sessions, that one too", "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    Peer& first = f.connect_through();
    f.observer.when = Meddler::When::start;
    f.observer.what = [&] { f.proxy->reset_sessions(); };
    Peer& second = f.connect();
    REQUIRE(f.loop.until([&] { return f.observer.ends == 2; }));
    REQUIRE(f.loop.until([&] { return first.was_reset() && second.was_reset(); }));
    Peer& third = f.connect_through();
    CHECK_FALSE(third.over());
}

TEST_CASE("proxy: its observer may reset all sessions while one of them is being connected",
          "[proxy][proxy_embedded]") {
    Fixture f;
    Config config = f.config();
    const bool comes_back = GENERATE(false, true);
    config.services[0].eject_after = 1;
    config.services[0].retries = 5;
    if (comes_back) {
        // Nobody else works either: who is left alone is tried, and answers again.
        config.services[0].backends.pop_back();
        config.services[0].max_ejected_percent = 100;
    }
    const eplb::Address first = f.backends[0]->address();
    f.start(config);
    f.backends[0]->stop_listening();
    f.observer.when = Meddler::When::event;
    const auto reset = [&] { f.proxy->reset_sessions(); };
    if (!comes_back) f.observer.what = reset;
    Peer& client = f.connect();
    REQUIRE(f.loop.settle());
    if (comes_back) {
        const eplb::Fd again = eplb::listen_on(first);
        f.observer.what = reset;
        Peer& second = f.connect();
        REQUIRE(f.loop.until([&] { return second.over(); }));
    }
    REQUIRE(f.loop.until([&] { return client.over() && f.proxy->active_sessions() == 0; }));
    CHECK_FALSE(f.observer.what);  // it was told, and did
}

TEST_CASE("proxy: while it is being destroyed its observer may still ask",
          "[proxy][proxy_embedded]") {
    class Asker final : public ProxyObserver {
    public:
        void on_event(LogLevel, std::string_view) noexcept override {}
        void on_session_end(const SessionSummary&) noexcept override {
            if (std::this_thread::get_id() != own) return;
            ++asked;
            seen = proxy->active_sessions() + proxy->stats().active_sessions;
            backends = proxy->backends().size();
            CHECK(proxy->set_backend("default", "any", Backend::Wanted::drain) == 0);
            proxy->reset_sessions();
            proxy->drain(Duration{0}, [](std::size_t) {});
        }
        Proxy* proxy = nullptr;
        std::thread::id own = std::this_thread::get_id();
        int asked = 0;
        std::size_t seen = 0;
        std::size_t backends = 0;
    };
    eplb::Reactor reactor;
    Loop loop{reactor};
    ScriptedBackend backend;
    loop.add(backend);
    Asker observer;
    Config config = config_for({backend.address()});
    config.workers = GENERATE(1U, 3U);
    auto proxy = std::make_unique<Proxy>(reactor, config, observer);
    observer.proxy = proxy.get();
    std::deque<Peer> clients;
    for (std::size_t i = 0; i < 12; ++i)
        loop.add(clients.emplace_back(eplb::test::connect_to(proxy->listen_addresses().at(0))));
    REQUIRE(loop.until([&] { return backend.connections() == 12; }));
    proxy.reset();
    CHECK(observer.asked > 0);
    CHECK(observer.seen > 0);
    CHECK(observer.backends == 1);
}

TEST_CASE("proxy: destroyed by its observer, it calls nobody who waited for a drain or a change",
          "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    Peer& client = f.connect_through();
    bool called = false;
    f.observer.when = Meddler::When::end;
    f.observer.what = [&] { f.proxy.reset(); };
    SECTION("a drain") {
        f.proxy->drain(Duration{0}, [&](std::size_t) { called = true; });
    }
    SECTION("a change") {
        // In the turn in which the session ends.
        client.half_close();
        REQUIRE(f.loop.until([&] { return f.backends[0]->connections() == 1; }));
        f.proxy->apply(f.config(), [&] { called = !f.proxy; });
    }
    client.half_close();
    REQUIRE(f.loop.until([&] { return f.proxy == nullptr; }));
    REQUIRE(f.loop.settle());
    CHECK_FALSE(called);
}

TEST_CASE("proxy: drained twice, the second call takes the place of the first",
          "[proxy][proxy_embedded]") {
    eplb::Reactor reactor;
    ScriptedBackend backend;
    Meddler observer;
    Config config = config_for({backend.address()});
    config.workers = GENERATE(1U, 2U);
    Proxy proxy{reactor, config, observer};
    int first = 0;
    int second = 0;
    proxy.drain(Duration{0}, [&](std::size_t) { ++first; });
    proxy.drain(Duration{0}, [&](std::size_t) { ++second; });
    for (int turns = 0; turns < 1000 && second == 0; ++turns) reactor.run_once(10ms);
    CHECK(second == 1);
    CHECK(first == 0);
}

TEST_CASE("proxy: a balancer of one's own is asked for clients alone", "[proxy][proxy_embedded]") {
    class Counting final : public Balancer {
    public:
        explicit Counting(std::atomic<int>& picks) : picks_{picks} {}
        const Backend* pick(const eplb::Candidates& candidates,
                            const eplb::PickContext&) noexcept override {
            ++picks_;
            return candidates.all().front();
        }

    private:
        std::atomic<int>& picks_;
    };
    std::atomic<int> picks = 0;
    eplb::Reactor reactor;
    ScriptedBackend backend;
    Meddler observer;
    Config config = config_for({backend.address()});
    config.workers = 3;
    config.services[0].make_balancer = [&] { return std::make_unique<Counting>(picks); };
    const Proxy proxy{reactor, config, observer};
    CHECK(picks == 0);
}

TEST_CASE("proxy: a balancer that names somebody who is no candidate has named nobody",
          "[proxy][proxy_embedded]") {
    // Of the backends it likes the first, but for a wish of the test. Not for ever: a proxy that asks
    // again and again would not come to an end.
    class Stubborn final : public Balancer {
    public:
        Stubborn(const Backend*& wish, int& picks) : wish_{wish}, picks_{picks} {}
        void prepare(std::span<const Backend* const> backends) override {
            if (!backends.empty()) wish_ = backends.front();
        }
        const Backend* pick(const eplb::Candidates& candidates,
                            const eplb::PickContext&) noexcept override {
            return ++picks_ < 1000 ? wish_ : candidates.all().front();
        }

    private:
        const Backend*& wish_;
        int& picks_;
    };
    const Backend stranger{77, "stranger", any_port, 1};
    const Backend namesake{0, "namesake", any_port, 1};
    const Backend* wish = nullptr;
    int picks = 0;
    int served = 0;
    Fixture f;
    Config config = f.config();
    for (auto& backend : config.services[0].backends) backend.max_connections = 1;
    const auto set_second = [&](Backend::Wanted wanted) {
        f.proxy->set_backend("default", f.backends[1]->address().to_string(), wanted);
    };
    config.services[0].make_balancer = [&] { return std::make_unique<Stubborn>(wish, picks); };
    SECTION("the one that is full") {
        f.start(config);
        f.connect_through();
        served = 1;
        f.connect();
    }
    SECTION("the one that is full, for a client that has waited") {
        f.start(config);
        f.connect_through();
        served = 1;
        set_second(Backend::Wanted::drain);
        f.connect();
        REQUIRE(f.loop.settle());
        CHECK(picks == 1);  // there are no candidates
        set_second(Backend::Wanted::up);
    }
    SECTION("one of another service") {
        f.start(config);
        wish = &stranger;
        f.connect();
    }
    SECTION("one of another service, which has the number of one of ours") {
        f.start(config);
        wish = &namesake;
        f.connect();
    }
    SECTION("one that is gone") {
        auto gone = std::make_unique<const Backend>(0, "gone", any_port, 1);
        f.start(config);
        wish = gone.get();
        gone.reset();
        f.connect();
    }
    SECTION("none, in so many words") {
        f.start(config);
        wish = nullptr;
        f.connect();
    }
    REQUIRE(f.loop.until([&] { return f.clients.back().over(); }));
    CHECK(f.clients.back().was_reset());
    CHECK(f.observer.ends == 1);
    CHECK(f.observer.starts == served);
    CHECK(picks == served + 1);
}

TEST_CASE("proxy: one policy for all services knows which one asks, for whom, and how often it has",
          "[proxy][proxy_embedded]") {
    struct Asked {
        eplb::Address client;
        std::string service;
        std::size_t attempts;
        eplb::TimePoint now;
        std::size_t candidates;
    };
    // In the order of the configuration; but whom one has failed, the careful service sends to the
    // last one at once.
    class Careful final : public Balancer {
    public:
        explicit Careful(std::vector<Asked>& asked) : asked_{asked} {}
        const Backend* pick(const eplb::Candidates& candidates,
                            const eplb::PickContext& context) noexcept override {
            asked_.push_back({context.client, std::string{context.service}, context.attempts,
                              context.now, candidates.size()});
            const bool again = context.attempts > 0 && context.service == "careful";
            return again ? candidates.all().back() : candidates.all().front();
        }

    private:
        std::vector<Asked>& asked_;
    };
    const RefusingPort refuses;
    std::vector<Asked> asked;
    ProxyFixture f{3};
    const eplb::TimePoint start = f.clock.now();
    Config config = f.config();
    config.services[0].backends.insert(config.services[0].backends.begin(),
                                       {.address = refuses.address});
    config.services[0].make_balancer = [&] { return std::make_unique<Careful>(asked); };
    config.services.push_back(config.services[0]);
    config.services[0].name = "careful";
    config.services[1].name = "careless";
    f.start(config);

    const auto serve = [&](std::size_t service) {
        f.address = f.proxy->listen_addresses().at(service);
        f.connect_through();
        return f.observer.starts.back().backend;
    };
    CHECK(serve(0) == f.backends[2]->address());
    CHECK(serve(1) == f.backends[0]->address());
    f.clock.advance(1s);
    config.services[1].name = "renamed";
    f.proxy->apply(config);
    CHECK(serve(1) == f.backends[0]->address());

    REQUIRE(asked.size() == 6);
    const std::vector<std::string> names{"careful",  "careful", "careless",
                                         "careless", "renamed", "renamed"};
    for (std::size_t i = 0; i < asked.size(); ++i) {
        INFO(i);
        CHECK(asked[i].client == f.observer.starts.at(i / 2).client);
        CHECK(asked[i].service == names[i]);
        CHECK(asked[i].attempts == i % 2);
        CHECK(asked[i].candidates == 4 - i % 2);
        CHECK(asked[i].now == (i < 4 ? start : start + 1s));
    }
}

TEST_CASE("proxy: set_backend() knows the backends that apply() has just brought",
          "[proxy][proxy_embedded]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    ScriptedBackend first;
    ScriptedBackend second;
    Loop loop{reactor};
    loop.add(first);
    loop.add(second);
    eplb::test::RecordingObserver observer;
    Config config = config_for({first.address()});
    config.workers = GENERATE(1U, 2U, 3U);
    config.services[0].check.type = eplb::CheckConfig::Type::tcp;
    Proxy proxy{reactor, config, observer};
    REQUIRE(loop.until([&] { return first.connections() == 1; }));  // the check
    Config changed = config_for({second.address()});
    changed.services[0].backends[0].name = "new";
    changed.services[0].check = config.services[0].check;
    changed.workers = config.workers;

    bool applied = false;
    proxy.apply(changed, [&] { applied = true; });
    const auto wanted = GENERATE(Backend::Wanted::maintenance, Backend::Wanted::drain);
    CHECK(proxy.set_backend("default", "new", wanted) == 1);
    CHECK(proxy.set_backend("default", second.address().to_string(), wanted) == 1);
    CHECK(proxy.set_backend("default", first.address().to_string(), wanted) == 0);  // is gone
    CHECK(proxy.set_backend("other", "new", wanted) == 0);
    CHECK(proxy.backends().at(0).wanted == wanted);
    REQUIRE(loop.until([&] { return applied; }));
    CHECK(proxy.set_backend("default", "new", wanted) == 1);
    CHECK(proxy.backends().at(0).wanted == wanted);
    clock.advance(1s);
    REQUIRE(loop.settle());
    CHECK(second.connections() == (wanted == Backend::Wanted::drain ? 1 : 0));  // the check
    // And, if it is checked, that it has passed its first check.
    REQUIRE(observer.events.size() == (wanted == Backend::Wanted::drain ? 2U : 1U));
    CHECK(observer.events[0].message ==
          fmt::format("backend new/{} of default is {}", second.address().to_string(),
                      wanted == Backend::Wanted::drain ? "to be drained" : "in maintenance"));
    CHECK(proxy.set_backend("default", "new", Backend::Wanted::up) == 1);
    REQUIRE(loop.until([&] { return second.connections() == 1; }));
}

TEST_CASE("proxy: its observer may take a backend out, and look at everything",
          "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    f.observer.when = Meddler::When::start;
    std::size_t sessions = 0;
    f.observer.what = [&] {
        sessions = f.proxy->active_sessions() + f.proxy->stats().active_sessions;
        const std::string first = f.proxy->backends().at(0).address.to_string();
        CHECK(f.proxy->set_backend("default", first, Backend::Wanted::drain) == 1);
    };
    for (int i = 0; i < 4; ++i) f.connect_through();
    CHECK(sessions == 2);
    CHECK(f.backends[0]->connections() == 1);
    CHECK(f.backends[1]->connections() == 3);
}

TEST_CASE("proxy: a configuration at the wrong time is refused, and nothing happens",
          "[proxy][proxy_embedded]") {
    SECTION("while the proxy drains") {
        Fixture f;
        f.start(f.config());
        f.connect_through();
        f.proxy->drain(Duration{0}, [](std::size_t) {});
        CHECK_THROWS_WITH(f.proxy->apply(f.config()), "apply: the proxy is being drained");
    }
    SECTION("while another one is being applied") {
        eplb::Reactor reactor;
        ScriptedBackend backend;
        Meddler observer;
        Config config = config_for({backend.address()});
        config.workers = 2;
        Proxy proxy{reactor, config, observer};
        bool applied = false;
        proxy.apply(config, [&] { applied = true; });
        CHECK_THROWS_WITH(proxy.apply(config), "apply: another configuration is being applied");
        for (int turns = 0; turns < 1000 && !applied; ++turns) reactor.run_once(100ms);
        CHECK(applied);
        CHECK_NOTHROW(proxy.apply(config));
    }
    SECTION("from within the observer") {
        Fixture f;
        f.start(f.config());
        bool refused = false;
        f.observer.when = Meddler::When::start;
        f.observer.what = [&] {
            try {
                f.proxy->apply(f.config());
            } catch (const std::logic_error&) {
                refused = true;
            }
        };
        f.connect_through();
        CHECK(refused);
    }
}

// --- callbacks that throw

TEST_CASE("proxy: on_applied and on_drained may throw, or destroy it", "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    const bool destroys = GENERATE(false, true);
    const auto turn_until_thrown = [&] {
        for (int turns = 0; turns < 10; ++turns) f.reactor.run_once(Duration{0});
    };
    SECTION("on_applied") {
        f.proxy->apply(f.config(), [&] {
            if (destroys) f.proxy.reset();
            throw std::runtime_error{"out of on_applied"};
        });
        CHECK_THROWS_WITH(turn_until_thrown(), "out of on_applied");
        if (!destroys) {
            f.proxy->apply(f.config());
            f.connect_through();
        }
    }
    SECTION("on_drained") {
        f.proxy->drain(1s, [&](std::size_t) {
            if (destroys) f.proxy.reset();
            throw std::runtime_error{"out of on_drained"};
        });
        CHECK_THROWS_WITH(turn_until_thrown(), "out of on_drained");
        CHECK((f.proxy == nullptr) == destroys);
    }
    CHECK_NOTHROW(turn_until_thrown());
}

TEST_CASE("proxy: a make_balancer that fails is an error of the configuration, and changes nothing",
          "[proxy][proxy_embedded]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        Config config = f.config();
        int made = 0;
        const auto make = [&made] {
            ++made;
            return eplb::make_balancer(eplb::Balance::first, 1);
        };
        const std::size_t workers = GENERATE(1U, 2U);
        config.workers = workers;

        SECTION("from the start") {
            config.services[0].make_balancer = []() -> std::unique_ptr<Balancer> {
                throw Thrower{};
            };
            CHECK_THROWS_AS(Proxy(f.reactor, config, f.observer), Thrower);
            config.services[0].make_balancer = [] { return std::unique_ptr<Balancer>{}; };
            CHECK_THROWS_WITH(Proxy(f.reactor, config, f.observer),
                              "make_balancer of service \"default\" made none");
        }
        SECTION("later") {
            config.services[0].make_balancer = make;
            f.start(config);
            CHECK(made == static_cast<int>(2 * workers));  // primaries and backups
            Config changed = config;
            changed.services[0].backends.pop_back();
            int left = static_cast<int>(2 * workers) - 1;  // the last one of all fails
            changed.services[0].make_balancer = [&]() -> std::unique_ptr<Balancer> {
                if (left-- == 0) throw Thrower{};
                CHECK_THROWS_AS(f.proxy->apply(config), std::logic_error);  // not in between
                return make();
            };
            CHECK_THROWS_AS(f.proxy->apply(changed), Thrower);
            CHECK(f.proxy->config().services[0].backends.size() == 2);
            Peer& client = f.connect();
            client.send("ping");
            REQUIRE(f.loop.until([&] { return client.received() == "ping"; }));
            f.proxy->apply(config);  // as if nothing had been
        }
        f.proxy.reset();
    }
    CHECK(descriptors.leaked() == 0);
}

// --- prepared on another thread

TEST_CASE("proxy: another thread prepares what is gone over to, while sessions go on",
          "[proxy][proxy_embedded]") {
    Fixture f;
    Config config = f.config();
    const std::size_t workers = GENERATE(1U, 3U);
    config.workers = workers;
    config.services[0].balance = eplb::Balance::source_hash;
    f.start(config);
    Peer& client = f.connect();
    client.send("ping");
    REQUIRE(f.loop.until([&] { return client.received() == "ping"; }));
    // Several at a time, of what there is and of what is just being replaced.
    for (std::uint32_t round = 1; round <= 5; ++round) {
        std::optional<eplb::PreparedConfig> prepared;
        std::atomic<bool> ready = false;
        std::thread one{[&] {
            Config changed = config;
            changed.services[0].backends[1].name = fmt::format("b{}", round);
            changed.services[0].backends[1].weight = round;
            prepared = f.proxy->prepare(changed);
            ready = true;
        }};
        std::size_t seen_with_two = 0;  // Catch2 is for one thread
        std::thread other{[&] {
            for (int i = 0; i < 5; ++i) {
                static_cast<void>(f.proxy->prepare(config));
                seen_with_two += f.proxy->backends().size() == 2 ? 1 : 0;
            }
        }};
        const bool came = f.loop.until([&] { return ready.load(); });
        one.join();
        REQUIRE(came);
        bool applied = false;
        f.proxy->apply(*prepared, [&] { applied = true; });
        CHECK(f.proxy->config().services[0].backends[1].weight == round);
        CHECK(f.loop.until([&] { return applied; }));
        other.join();
        CHECK(seen_with_two == 5);
        std::thread{[&] { prepared.reset(); }}.join();  // with what it replaced
        CHECK(f.proxy->backends().at(1).name == fmt::format("b{}", round));
        CHECK(f.proxy->backends()[1].weight == round);
        client.send("ping");
        REQUIRE(f.loop.until([&] { return client.received().size() == 4 + 4 * round; }));
    }
}

TEST_CASE("proxy: what was prepared is made anew if another configuration was quicker",
          "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    Config other = f.config();
    other.services[0].backends.pop_back();
    const eplb::PreparedConfig prepared = f.proxy->prepare(other);
    CHECK(prepared.config().services[0].backends.size() == 1);
    const auto apply = [&](const auto& what) {
        bool applied = false;
        f.proxy->apply(what, [&] { applied = true; });
        REQUIRE(f.loop.until([&] { return applied; }));
    };
    Config quicker = f.config();
    quicker.services[0].backends[0].weight = 7;
    apply(quicker);
    CHECK(f.proxy->backends().size() == 2);
    apply(prepared);
    CHECK(f.proxy->backends().size() == 1);
    apply(f.config());
    CHECK(f.proxy->backends().size() == 2);
    apply(prepared);  // once more
    CHECK(f.proxy->backends().size() == 1);
    f.connect_through();
}

TEST_CASE("proxy: to prepare changes nothing, opens nothing, and makes no balancer",
          "[proxy][proxy_embedded]") {
    Fixture f;
    f.start(f.config());
    const eplb::test::DescriptorCheck descriptors;
    Config config = f.config();
    config.services[0].listen.push_back(any_port);
    config.services[0].backends[0].name = "another";
    int made = 0;
    config.services[0].make_balancer = [&] {
        ++made;
        return eplb::make_balancer(eplb::Balance::first, 1);
    };
    {
        const eplb::PreparedConfig prepared = f.proxy->prepare(config);
        CHECK(descriptors.leaked() == 0);
        CHECK(made == 0);
        CHECK(f.proxy->config().services[0].listen.size() == 1);
        CHECK(f.proxy->backends().at(0).name != "another");
        f.proxy->apply(prepared);
        CHECK(made == 2);
        CHECK(f.proxy->backends().at(0).name == "another");
    }
    config.services[0].backends.clear();
    CHECK_THROWS_AS(f.proxy->prepare(config), std::invalid_argument);
    CHECK(f.proxy->listen_addresses().size() == 2);
}

TEST_CASE("proxy: a service and a backend that are called otherwise keep sessions and counts",
          "[proxy][proxy_embedded]") {
    Fixture f;
    Config config = f.config();
    config.workers = GENERATE(1U, 2U);
    config.services[0].on_remove = eplb::OnRemove::close;
    f.start(config);
    Peer& client = f.connect();
    client.send("ping");
    REQUIRE(f.loop.until([&] { return client.received() == "ping"; }));
    f.proxy->set_backend("default", f.backends[1]->address().to_string(),
                         Backend::Wanted::maintenance);
    config.services[0].name = "db";
    config.services[0].listen.insert(config.services[0].listen.begin(), any_port);
    config.services[0].backends[0].name = "one";
    config.services[0].backends[1].name = "two";
    std::swap(config.services[0].backends[0], config.services[0].backends[1]);
    bool applied = false;
    f.proxy->apply(config, [&] { applied = true; });
    REQUIRE(f.loop.until([&] { return applied; }));
    REQUIRE(f.loop.settle());
    client.send("ping");
    REQUIRE(f.loop.until([&] { return client.received() == "pingping"; }));
    const std::vector<eplb::BackendStatus> told = f.proxy->backends();
    REQUIRE(told.size() == 2);
    CHECK(told[0].service == "db");
    CHECK(told[0].name == "two");
    CHECK(told[0].wanted == Backend::Wanted::maintenance);
    CHECK(told[1].name == "one");
    // The second worker begins with the second one.
    CHECK(told[0].active + told[1].active == 1);
    CHECK(told[0].attempts + told[1].attempts == 1);
    CHECK(f.proxy->set_backend("db", "two", Backend::Wanted::up) == 1);
}
