// What is known of backends, and what a proxy does by it.
#include "proxy/supervisor.hpp"

#include "eplb/acceptor.hpp"
#include "support/catch.hpp"
#include "support/proxy_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Backend;
using eplb::Balance;
using eplb::CheckConfig;
using eplb::Config;
using eplb::Duration;
using eplb::EndReason;
using eplb::Fd;
using eplb::OnDown;
using eplb::Rebalance;
using eplb::WhenAllDown;
using eplb::test::config_for;
using eplb::test::contains;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::RefusingPort;
using eplb::test::Script;
using Fixture = eplb::test::ProxyFixture;

namespace {

const Script polite{.echo = true, .finish_with_peer = true};

// A port on which somebody listens, or nobody, as the test likes. Who connects is not talked to.
class Door {
public:
    explicit Door(bool open = true) : refusing_{std::make_unique<RefusingPort>()} {
        address = refusing_->address;
        if (open) this->open();
    }
    void open() {
        refusing_.reset();
        listener_ = eplb::listen_on(address);
    }
    void close() { listener_.reset(); }

    Address address;

private:
    std::unique_ptr<RefusingPort> refusing_;
    Fd listener_;
};

// What was told of backends, without their names.
std::vector<std::string> told(const Fixture& f) {
    std::vector<std::string> all;
    for (const auto& event : f.observer.events) {
        const std::size_t end = event.message.find(" of default ");
        if (event.message.starts_with("backend ") && end != std::string::npos)
            all.push_back(event.message.substr(end + 12));
    }
    return all;
}

// Lets a client come and be served; returns how many backends failed it before.
std::size_t failures_of_a_client(Fixture& f) {
    const std::size_t before = f.observer.ends.size();
    f.connect_through().half_close();
    REQUIRE(f.until_ended(before + 1));
    return f.observer.ends.back().failed_attempts.size();
}

void let_time_pass(Fixture& f, Duration whole, Duration step) {
    for (Duration gone{0}; gone < whole; gone += step) {
        f.clock.advance(step);
        REQUIRE(f.loop.settle());
    }
}

using Lines = std::vector<std::string>;

}  // namespace

// --- ejections

TEST_CASE("supervisor: a backend that fails clients is left alone, longer each time",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    const RefusingPort refuses;
    Config config = config_for({refuses.address, f.backends[0]->address()});
    f.start(config);
    std::size_t failures = 0;
    for (int i = 0; i < 6; ++i) failures += failures_of_a_client(f);
    CHECK(failures == 3);
    CHECK(told(f) == Lines{"is left alone for 10s: 3 clients in a row could not connect"});
    CHECK(f.proxy->backends()[0].ejected);
    for (int i = 0; i < 4; ++i) CHECK(failures_of_a_client(f) == 0);

    for (const std::string time : {"20s", "40s", "80s", "160s", "5m", "5m"}) {
        f.observer.events.clear();
        let_time_pass(f, f.proxy->backends()[0].ejected ? 310s : 0s, 10s);
        REQUIRE_FALSE(f.proxy->backends()[0].ejected);
        std::size_t more = 0;
        for (int i = 0; i < 4; ++i) more += failures_of_a_client(f);
        CHECK(more == 1);  // one is enough
        const Lines lines = told(f);
        REQUIRE(lines.size() == 2);
        CHECK(lines[0] == "gets clients again");
        CHECK_THAT(lines[1], contains("is left alone for " + time));
    }
}

TEST_CASE("supervisor: a backend may be left alone for ever", "[proxy][supervisor]") {
    Fixture f{1, polite};
    const RefusingPort refuses;
    Config config = config_for({refuses.address, f.backends[0]->address()});
    const Duration first = GENERATE(Duration::max(), Duration::max() / 2 + 1ns);
    config.services[0].ejection_time = first;
    config.services[0].max_ejection_time = Duration::max();
    f.start(config);
    for (int i = 0; i < 6; ++i) failures_of_a_client(f);
    std::string clients = "3";
    if (first < Duration::max()) {
        REQUIRE(f.proxy->backends()[0].ejected);
        f.clock.advance(first + 1ms);  // timers go by whole ones
        REQUIRE(f.loop.settle());
        REQUIRE_FALSE(f.proxy->backends()[0].ejected);
        for (int i = 0; i < 2; ++i) failures_of_a_client(f);
        clients = "4";
    }
    CHECK(told(f).back() ==
          "is left alone for ever: " + clients + " clients in a row could not connect");
    f.clock.advance(24h * 365 * 10);
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->backends()[0].ejected);
}

TEST_CASE("supervisor: a client that is served ends the count", "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door door{false};
    Config config = config_for({door.address, f.backends[0]->address()});
    f.start(config);
    for (int i = 0; i < 4; ++i) failures_of_a_client(f);
    REQUIRE(f.proxy->backends()[0].failures == 2);
    door.open();
    for (int i = 0; i < 2; ++i) f.connect_through();
    door.close();
    for (int i = 0; i < 4; ++i) failures_of_a_client(f);
    CHECK(told(f).empty());
    for (int i = 0; i < 2; ++i) failures_of_a_client(f);
    CHECK(told(f).size() == 1);
}

TEST_CASE("supervisor: no more than the percentage are left alone, and never the only one",
          "[proxy][supervisor]") {
    const RefusingPort a;
    const RefusingPort b;
    Fixture f{1, polite};
    Config config = config_for({a.address, b.address, f.backends[0]->address()});
    SECTION("half of three is one") {
        f.start(config);
        for (int i = 0; i < 12; ++i) failures_of_a_client(f);
        const auto backends = f.proxy->backends();
        CHECK(backends[0].ejected != backends[1].ejected);
    }
    SECTION("two thirds are two") {
        config.services[0].max_ejected_percent = 67;
        f.start(config);
        for (int i = 0; i < 12; ++i) failures_of_a_client(f);
        CHECK(f.proxy->backends()[0].ejected);
        CHECK(f.proxy->backends()[1].ejected);
    }
    SECTION("the only one") {
        f.start(config_for({a.address}));
        for (std::size_t i = 1; i <= 5; ++i) {
            f.connect();
            REQUIRE(f.until_ended(i));
            CHECK(f.observer.ends.back().reason == EndReason::connect_refused);
        }
        CHECK_FALSE(f.proxy->backends()[0].ejected);
    }
    SECTION("none, if the service wants that") {
        config.services[0].eject_after = 0;
        f.start(config);
        for (int i = 0; i < 12; ++i) failures_of_a_client(f);
        CHECK(told(f).empty());
    }
}

TEST_CASE("supervisor: nobody is left alone who is the last that works", "[proxy][supervisor]") {
    const RefusingPort refuses;
    const RefusingPort asked;
    Fixture f{1, polite};
    Config config = config_for({refuses.address, f.backends[0]->address()});
    config.services[0].check.type = CheckConfig::Type::tcp;
    config.services[0].when_all_down = WhenAllDown::refuse;
    f.start(config);
    let_time_pass(f, 10ms, 1ms);
    REQUIRE(f.proxy->backends()[0].down);
    config.services[0].check.interval = 1h;
    f.proxy->apply(config);
    f.backends[0]->stop_listening();
    for (std::size_t i = 1; i <= 6; ++i) {
        f.connect();
        REQUIRE(f.until_ended(i));
    }
    CHECK_FALSE(f.proxy->backends()[1].ejected);
}

TEST_CASE("supervisor: who waits for a full backend gets a backup when it goes down",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    Config config = f.config();
    config.services[0].backends[0].max_connections = 1;
    config.services[0].backends[1].backup = true;
    f.start(config);
    f.connect_through();
    Peer& waits = f.connect();
    waits.send(pattern(10));
    REQUIRE(f.loop.settle());
    CHECK(f.backends[1]->connections() == 0);
    f.proxy->set_backend("default", f.backends[0]->address().to_string(),
                         Backend::Wanted::maintenance);
    REQUIRE(f.loop.until([&] { return waits.received() == pattern(10); }));
    CHECK(f.backends[1]->connections() == 1);
}

TEST_CASE("supervisor: another configuration may end ejections", "[proxy][supervisor]") {
    const RefusingPort refuses;
    Fixture f{1, polite};
    Config config = config_for({refuses.address, f.backends[0]->address()});
    f.start(config);
    for (int i = 0; i < 6; ++i) failures_of_a_client(f);
    REQUIRE(f.proxy->backends()[0].ejected);
    f.proxy->apply(config);
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->backends()[0].ejected);  // it is the same backend
    config.services[0].eject_after = 0;
    f.proxy->apply(config);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.proxy->backends()[0].ejected);
}

// --- checks

TEST_CASE("supervisor: the first check decides, and clients are spared what is down",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door door{false};
    Config config = config_for({door.address, f.backends[0]->address()});
    config.services[0].check.type = CheckConfig::Type::tcp;
    f.start(config);
    REQUIRE(f.loop.settle());
    let_time_pass(f, 10ms, 1ms);
    CHECK(told(f) == Lines{"is down: connect: Connection refused"});
    CHECK(f.proxy->backends()[0].down);
    CHECK_FALSE(f.proxy->backends()[1].down);
    for (int i = 0; i < 4; ++i) CHECK(failures_of_a_client(f) == 0);

    door.open();
    let_time_pass(f, 6s, 100ms);
    CHECK(told(f) == Lines{"is down: connect: Connection refused", "is up"});
    for (int i = 0; i < 2; ++i) f.connect_through();
    CHECK(f.proxy->backends()[0].active == 1);

    door.close();
    let_time_pass(f, 6s, 100ms);
    CHECK(told(f).size() == 3);
    CHECK(f.proxy->backends()[0].down);
}

TEST_CASE("supervisor: while all are down, clients are sent all the same, or refused",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    const RefusingPort asked;
    Config config = f.config();
    config.services[0].check.type = CheckConfig::Type::tcp;
    config.services[0].check.address = asked.address;
    config.services[0].when_all_down = GENERATE(WhenAllDown::try_all, WhenAllDown::refuse);
    f.start(config);
    let_time_pass(f, 10ms, 1ms);
    REQUIRE(told(f).size() == 2);
    if (config.services[0].when_all_down == WhenAllDown::try_all) {
        f.connect_through();
        f.connect_through();
        CHECK(f.proxy->backends()[0].active == 1);
        CHECK(f.proxy->backends()[1].active == 1);
    } else {
        Peer& client = f.connect();
        REQUIRE(f.until_ended(1));
        CHECK(f.observer.ends[0].reason == EndReason::no_backend);
        REQUIRE(f.loop.until([&] { return client.was_reset(); }));
    }
}

TEST_CASE("supervisor: sessions of a backend that is down follow on_down", "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door asked;
    Config config = f.config();
    config.services[0].check.type = CheckConfig::Type::tcp;
    config.services[0].check.address = asked.address;
    config.services[0].drain_timeout = 30s;
    const OnDown policy = GENERATE(OnDown::keep, OnDown::drain, OnDown::close);
    config.services[0].on_down = policy;
    f.start(config);
    Peer& client = f.connect_through();
    let_time_pass(f, 5s, 100ms);
    asked.close();
    let_time_pass(f, 6s, 100ms);
    REQUIRE(f.proxy->backends()[0].down);
    if (policy == OnDown::close) {
        CHECK(client.was_reset());
        REQUIRE(f.observer.ends.size() == 1);
        CHECK(f.observer.ends[0].reason == EndReason::backend_down);
        return;
    }
    CHECK(f.observer.ends.empty());
    SECTION("and it stays down") {
        let_time_pass(f, 40s, 1s);
        CHECK(client.was_reset() == (policy == OnDown::drain));
    }
    SECTION("and it is up again in time") {
        asked.open();
        let_time_pass(f, 6s, 100ms);
        REQUIRE_FALSE(f.proxy->backends()[0].down);
        let_time_pass(f, 60s, 1s);
        CHECK_FALSE(client.over());
    }
}

TEST_CASE("supervisor: a check that is taken out of the configuration leaves nobody down",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    const RefusingPort asked;
    Config config = f.config();
    config.services[0].check.type = CheckConfig::Type::tcp;
    config.services[0].check.address = asked.address;
    config.services[0].when_all_down = WhenAllDown::refuse;
    f.start(config);
    let_time_pass(f, 10ms, 1ms);
    REQUIRE(f.proxy->backends()[0].down);
    config.services[0].check.type = CheckConfig::Type::none;
    f.proxy->apply(config);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.proxy->backends()[0].down);
    CHECK(told(f).back() == "is not checked any more");
    f.connect_through();
}

// --- newcomers, and those who return

namespace {

// Asked by the checks of a service, a listener that nobody accepts from says nothing.
CheckConfig patient_check() {
    CheckConfig check;
    check.type = CheckConfig::Type::send_expect;
    check.send = "ok";
    check.expect = "ok";
    return check;
}

void apply(Fixture& f, const Config& config) {
    bool applied = false;
    f.proxy->apply(config, [&] { applied = true; });
    REQUIRE(f.loop.until([&] { return applied; }));
    REQUIRE(f.loop.settle());
}

// So long that nothing but its identity is left of a backend that leaves.
void apply_twice(Fixture& f, const Config& config) {
    apply(f, config);
    apply(f, config);
}

}  // namespace

TEST_CASE("supervisor: a backend that comes while others work gets nobody before its first check",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    const Door silent;
    const bool is_well = GENERATE(false, true);
    Config config = config_for({f.backends[0]->address()});
    config.services[0].check = patient_check();
    f.start(config);
    REQUIRE(f.loop.settle());
    config.services[0].backends.emplace_back().address = silent.address;
    if (is_well) config.services[0].backends.emplace_back().address = f.backends[1]->address();
    apply(f, config);
    CHECK(f.proxy->backends()[1].untried);
    for (int i = 0; i < 6; ++i) CHECK(failures_of_a_client(f) == 0);
    CHECK(f.proxy->backends()[1].attempts == 0);

    let_time_pass(f, 2100ms, 20ms);
    CHECK_FALSE(f.proxy->backends()[1].untried);
    CHECK(f.proxy->backends()[1].down);
    for (int i = 0; i < 6; ++i) CHECK(failures_of_a_client(f) == 0);
    CHECK(f.proxy->backends()[1].attempts == 0);
    if (is_well) {
        CHECK_FALSE(f.proxy->backends()[2].untried);
        CHECK(f.proxy->backends()[2].attempts >= 3);
        CHECK(told(f).front() == "is up");
    }
}

TEST_CASE("supervisor: a newcomer is tried while nobody else is usable", "[proxy][supervisor]") {
    Fixture f{1, polite};
    const Door silent;
    Config config = config_for({f.backends[0]->address()});
    config.services[0].check = patient_check();
    config.services[0].when_all_down = GENERATE(WhenAllDown::try_all, WhenAllDown::refuse);
    f.start(config);
    REQUIRE(f.loop.settle());
    auto& backends = config.services[0].backends;
    SECTION("because the others are not wanted") {
        backends.emplace_back().address = silent.address;
        apply(f, config);
        f.proxy->set_backend("default", f.backends[0]->address().to_string(),
                             Backend::Wanted::maintenance);
    }
    SECTION("because it is the only one") {
        backends[0].address = silent.address;
        apply(f, config);
    }
    f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->backends().back().untried);
    CHECK(f.proxy->backends()[backends.size() - 1].active == 1);
}

TEST_CASE("supervisor: who was failed by the others gets the newcomer", "[proxy][supervisor]") {
    Fixture f;
    const RefusingPort refuses;
    const Door silent;
    Config config = config_for({refuses.address});
    config.services[0].check = patient_check();
    config.services[0].check.address = silent.address;  // nobody knows
    f.start(config);
    config.services[0].backends.emplace_back().address = f.backends[0]->address();
    apply(f, config);
    f.connect_through();
    CHECK(f.proxy->backends()[0].failures == 1);
    CHECK(f.proxy->backends()[1].active == 1);
}

TEST_CASE("supervisor: without a check a newcomer serves at once", "[proxy][supervisor]") {
    Fixture f{2, polite};
    Config config = config_for({f.backends[0]->address()});
    f.start(config);
    config.services[0].backends.emplace_back().address = f.backends[1]->address();
    apply(f, config);
    f.connect_through();
    f.connect_through();
    CHECK(f.proxy->backends()[1].active == 1);
}

TEST_CASE("supervisor: a check that ends leaves nobody untried", "[proxy][supervisor]") {
    Fixture f{1, polite};
    const Door silent;
    Config config = config_for({f.backends[0]->address()});
    config.services[0].check = patient_check();
    f.start(config);
    config.services[0].backends.emplace_back().address = silent.address;
    apply(f, config);
    REQUIRE(f.proxy->backends()[1].untried);
    config.services[0].check = {};
    apply(f, config);
    CHECK_FALSE(f.proxy->backends()[1].untried);
}

TEST_CASE("supervisor: a backend that was down, left and returned is not up because of that",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door door{false};
    const Config with = [&] {
        Config config = config_for({door.address, f.backends[0]->address()});
        config.services[0].check.type = CheckConfig::Type::tcp;
        return config;
    }();
    Config without = with;
    without.services[0].backends.erase(without.services[0].backends.begin());
    f.start(with);
    let_time_pass(f, 10ms, 1ms);
    REQUIRE(f.proxy->backends()[0].down);

    apply_twice(f, without);
    let_time_pass(f, 4s, 100ms);
    apply(f, with);
    CHECK(f.proxy->backends()[0].down);
    CHECK(f.proxy->backends()[0].attempts == 0);  // it is another one for all else
    CHECK(told(f).back() == "is back, and as it was: down: connect: Connection refused");
    SECTION("until checks say otherwise, as many as ever") {
        door.open();
        let_time_pass(f, 100ms, 10ms);
        CHECK(f.proxy->backends()[0].down);  // one is not enough
        // Checks that the machine takes its time for fail, and then it takes more of them.
        for (int i = 0; i < 100 && f.proxy->backends()[0].down; ++i) let_time_pass(f, 500ms, 10ms);
        CHECK(told(f).back() == "is up");
    }
    SECTION("but is new when its checks would have found that anew since") {
        apply_twice(f, without);
        let_time_pass(f, 8s, 100ms);  // 3 checks, every 2s, each of 2s at most
        door.open();
        apply(f, with);
        CHECK_FALSE(f.proxy->backends()[0].down);
    }
}

TEST_CASE("supervisor: what an operator wants of a backend, it finds when it returns soon",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    const Config with = f.config();
    Config without = with;
    without.services[0].backends.erase(without.services[0].backends.begin());
    f.start(with);
    const auto wanted = GENERATE(Backend::Wanted::maintenance, Backend::Wanted::drain);
    f.proxy->set_backend("default", f.backends[0]->address().to_string(), wanted);
    apply_twice(f, without);
    const Duration away = GENERATE(1s, 9s);
    let_time_pass(f, away, 1s);
    apply(f, with);
    CHECK(f.proxy->backends()[0].wanted == (away == 1s ? wanted : Backend::Wanted::up));
}

TEST_CASE("supervisor: a backend that is left alone is so when it returns soon, for no longer",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    const RefusingPort refuses;
    const Config with = config_for({refuses.address, f.backends[0]->address()});
    Config without = with;
    without.services[0].backends.erase(without.services[0].backends.begin());
    f.start(with);
    for (int i = 0; i < 6; ++i) failures_of_a_client(f);
    REQUIRE(f.proxy->backends()[0].ejected);
    apply_twice(f, without);
    let_time_pass(f, 3s, 1s);
    apply(f, with);
    REQUIRE(f.proxy->backends()[0].ejected);
    for (int i = 0; i < 4; ++i) CHECK(failures_of_a_client(f) == 0);
    let_time_pass(f, 8s, 1s);  // 10 in all
    CHECK_FALSE(f.proxy->backends()[0].ejected);
    f.observer.events.clear();
    std::size_t failures = 0;
    for (int i = 0; i < 4; ++i) failures += failures_of_a_client(f);
    CHECK(failures == 1);  // one is enough, and twice as long
    REQUIRE(told(f).size() == 1);
    CHECK_THAT(told(f)[0], contains("is left alone for 20s"));
}

TEST_CASE("supervisor: a slow start goes on where it was when a backend returns soon",
          "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door door{false};
    Config with = config_for({door.address, f.backends[0]->address()});
    with.services[0].check.type = CheckConfig::Type::tcp;
    with.services[0].slow_start = 640s;
    Config without = with;
    without.services[0].backends.erase(without.services[0].backends.begin());
    f.start(with);
    let_time_pass(f, 10ms, 1ms);
    door.open();
    let_time_pass(f, 4s, 100ms);
    REQUIRE_FALSE(f.proxy->backends()[0].down);
    apply_twice(f, without);
    apply(f, with);
    for (int i = 0; i < 20; ++i) f.connect_through();
    CHECK(f.proxy->backends()[0].active <= 2);
}

// --- coming back

TEST_CASE("supervisor: a backend that is back starts slowly", "[proxy][supervisor]") {
    Fixture f{1, polite};
    Door door{false};
    Config config = config_for({door.address, f.backends[0]->address()});
    config.services[0].check.type = CheckConfig::Type::tcp;
    config.services[0].slow_start = 64s;
    f.start(config);
    let_time_pass(f, 10ms, 1ms);
    REQUIRE(f.proxy->backends()[0].down);
    door.open();
    let_time_pass(f, 4s, 100ms);
    REQUIRE_FALSE(f.proxy->backends()[0].down);
    const auto share_of_next = [&](int clients) {
        const std::size_t before = f.proxy->backends()[0].active;
        for (int i = 0; i < clients; ++i) f.connect_through();
        return f.proxy->backends()[0].active - before;
    };
    CHECK(share_of_next(30) <= 4);
    let_time_pass(f, 30s, 1s);
    const std::size_t halfway = share_of_next(30);
    CHECK(halfway >= 7);  // a third
    CHECK(halfway <= 12);
    let_time_pass(f, 40s, 1s);
    CHECK(share_of_next(30) == 15);
}

TEST_CASE("supervisor: who waits for a backend gets the one that comes back",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    Config config = f.config();
    for (auto& backend : config.services[0].backends) backend.max_connections = 1;
    f.start(config);
    REQUIRE(f.proxy->set_backend("default", f.backends[1]->address().to_string(),
                                 Backend::Wanted::maintenance) == 1);
    f.connect_through();
    Peer& waits = f.connect();
    waits.send(pattern(10));
    REQUIRE(f.loop.settle());
    CHECK(waits.received().empty());
    f.proxy->set_backend("default", f.backends[1]->address().to_string(), Backend::Wanted::up);
    REQUIRE(f.loop.until([&] { return waits.received() == pattern(10); }));
}

// --- operators

TEST_CASE("supervisor: a backend in maintenance or to be drained gets nobody, and keeps who it has",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    f.start();
    f.connect_through();
    f.connect_through();
    const auto wanted = GENERATE(Backend::Wanted::maintenance, Backend::Wanted::drain);
    const std::string name = f.backends[0]->address().to_string();
    CHECK(f.proxy->set_backend("default", "nobody", wanted) == 0);
    CHECK(f.proxy->set_backend("other", name, wanted) == 0);
    REQUIRE(f.proxy->set_backend("default", name, wanted) == 1);
    CHECK(told(f) ==
          Lines{wanted == Backend::Wanted::drain ? "is to be drained" : "is in maintenance"});
    for (int i = 0; i < 4; ++i) f.connect_through();
    CHECK(f.proxy->backends()[0].active == 1);
    CHECK(f.proxy->backends()[1].active == 5);
    CHECK(f.proxy->backends()[0].wanted == wanted);
    f.clients[0].send(pattern(10));
    REQUIRE(f.loop.until([&] { return f.clients[0].received() == pattern(10); }));

    f.proxy->apply(f.proxy->config());  // changes nothing
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->backends()[0].wanted == wanted);
    f.proxy->set_backend("default", name, Backend::Wanted::up);
    f.proxy->set_backend("default", name, Backend::Wanted::up);
    CHECK(told(f).size() == 2);
    for (int i = 0; i < 2; ++i) f.connect_through();
    CHECK(f.proxy->backends()[0].active == 2);
}

// --- policies, in a whole proxy

TEST_CASE("proxy: the balance of the service decides", "[proxy][supervisor]") {
    Fixture f{3, polite};
    Config config = f.config();
    const auto counts = [&] {
        std::vector<std::size_t> all;
        for (const auto& backend : f.proxy->backends()) all.push_back(backend.active);
        return all;
    };
    using Counts = std::vector<std::size_t>;
    SECTION("first, until it is full") {
        config.services[0].balance = Balance::first;
        config.services[0].backends[0].max_connections = 4;
        f.start(config);
        for (int i = 0; i < 6; ++i) f.connect_through();
        CHECK(counts() == Counts{4, 2, 0});
    }
    SECTION("leastconn") {
        config.services[0].balance = Balance::leastconn;
        f.start(config);
        for (int i = 0; i < 6; ++i) f.connect_through();
        CHECK(counts() == Counts{2, 2, 2});
        for (std::size_t i = 0; i < f.clients.size(); ++i) {
            if (f.observer.starts[i].backend == f.backends[1]->address()) f.clients[i].half_close();
        }
        REQUIRE(f.until_ended(2));
        f.connect_through();
        f.connect_through();
        CHECK(counts() == Counts{2, 2, 2});
    }
    SECTION("one for each client's address, and another one when it changes to round robin") {
        config.services[0].balance = Balance::source_hash;
        f.start(config);
        f.connect_through();
        const Address backend = f.observer.starts[0].backend;
        f.connect_through();
        CHECK(f.observer.starts[1].backend == backend);
        config.services[0].balance = Balance::round_robin;
        f.proxy->apply(config);
        REQUIRE(f.loop.settle());
        for (int i = 0; i < 3; ++i) f.connect_through();
        for (const std::size_t count : counts()) CHECK(count >= 1);
    }
    SECTION("the others serve everybody, too") {
        config.services[0].balance =
            GENERATE(Balance::random, Balance::consistent, Balance::least_time, Balance::peak_ewma);
        f.start(config);
        for (int i = 0; i < 9; ++i) f.connect_through();
        CHECK(counts()[0] + counts()[1] + counts()[2] == 9);
    }
    SECTION("one's own") {
        class Last final : public eplb::Balancer {
        public:
            const Backend* pick(const eplb::Candidates& candidates,
                                const eplb::PickContext&) noexcept override {
                return candidates.all().back();
            }
        };
        config.services[0].make_balancer = [] { return std::make_unique<Last>(); };
        f.start(config);
        for (int i = 0; i < 4; ++i) f.connect_through();
        CHECK(counts() == Counts{0, 0, 4});
    }
}

// --- moving sessions

TEST_CASE("proxy: sessions that wait for an answer, or have something unread, are not moved",
          "[proxy][supervisor]") {
    Fixture f{2};  // servers that say nothing
    Config config = f.config();
    config.services[0].rebalance = Rebalance::idle;
    config.services[0].backends[1].weight = 0;
    f.start(config);
    for (int i = 0; i < 10; ++i) f.connect_through().send(pattern(1));
    REQUIRE(f.loop.settle());
    config.services[0].backends[1].weight = 1;
    f.proxy->apply(config);
    let_time_pass(f, 30s, 500ms);
    CHECK(f.observer.ends.empty());
    f.backends[0]->connection(3).send(pattern(1));
    let_time_pass(f, 10s, 500ms);
    CHECK(f.observer.ends.size() == 1);
}

TEST_CASE("proxy: quiet sessions are moved to a backend that is new, a few at a time",
          "[proxy][supervisor]") {
    Fixture f{2, polite};
    Config config = f.config();
    config.services[0].rebalance = Rebalance::idle;
    config.services[0].backends[1].weight = 0;
    f.start(config);
    for (int i = 0; i < 20; ++i) f.connect_through();
    let_time_pass(f, 10s, 500ms);
    CHECK(f.observer.ends.empty());

    config.services[0].backends[1].weight = 1;
    f.proxy->apply(config);
    let_time_pass(f, 3s, 500ms);
    const std::size_t moved = f.observer.ends.size();
    CHECK(moved >= 2);
    CHECK(moved <= 3);
    for (const auto& end : f.observer.ends) CHECK(end.reason == EndReason::rebalance);

    // Those that talk are left alone.
    for (int round = 0; round < 40; ++round) {
        for (Peer& client : f.clients)
            if (!client.over()) client.send(pattern(1));
        let_time_pass(f, 1s, 500ms);
    }
    CHECK(f.observer.ends.size() == moved);
}

TEST_CASE("proxy: moving sessions comes to rest", "[proxy][supervisor]") {
    Fixture f{2, polite};
    Config config = f.config();
    config.services[0].rebalance = Rebalance::idle;
    config.services[0].backends[1].weight = 0;
    f.start(config);
    for (int i = 0; i < 20; ++i) f.connect_through();
    config.services[0].backends[1].weight = 1;
    f.proxy->apply(config);
    // Who is sent away comes back, and is given to the next in turn.
    for (int second = 0; second < 60; ++second) {
        let_time_pass(f, 1s, 500ms);
        while (f.proxy->active_sessions() < 20) f.connect_through();
    }
    const std::size_t moved = f.observer.ends.size();
    CHECK(f.proxy->backends()[0].active <= 12);
    CHECK(f.proxy->backends()[1].active >= 8);
    let_time_pass(f, 60s, 500ms);
    CHECK(f.observer.ends.size() == moved);
}
