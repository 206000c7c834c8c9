#include "health/checker.hpp"

#include "eplb/acceptor.hpp"
#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/full_unix_socket.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using eplb::Address;
using eplb::CheckConfig;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::health::Checker;
using eplb::health::CheckResult;
using eplb::health::Health;
using eplb::test::contains;
using eplb::test::DescriptorCheck;
using eplb::test::Loop;
using eplb::test::pattern;
using eplb::test::RefusingPort;
using eplb::test::Script;
using eplb::test::ScriptedBackend;
using Outcome = CheckResult::Outcome;

namespace {

CheckConfig of_type(CheckConfig::Type type) {
    CheckConfig config;
    config.type = type;
    return config;
}

const CheckConfig tcp = of_type(CheckConfig::Type::tcp);
const CheckConfig redis = of_type(CheckConfig::Type::redis);
const CheckConfig mysql = of_type(CheckConfig::Type::mysql);
const CheckConfig postgres = of_type(CheckConfig::Type::postgres);
const CheckConfig http = of_type(CheckConfig::Type::http);

CheckConfig expecting(std::string send, std::string expect) {
    CheckConfig config = of_type(CheckConfig::Type::send_expect);
    config.send = std::move(send);
    config.expect = std::move(expect);
    return config;
}

const std::string ping = "*1\r\n$4\r\nPING\r\n";
const std::string quit = "*1\r\n$4\r\nQUIT\r\n";

struct Fixture {
    ManualClock clock;
    Reactor reactor{clock};
    Loop loop{reactor};
    std::vector<CheckResult> results;
    std::function<void()> on_result = [] {};
    std::unique_ptr<Checker> checker;

    void check(Checker::Options options) {
        checker = std::make_unique<Checker>(reactor, std::move(options),
                                            [this](const CheckResult& result) {
                                                results.push_back(result);
                                                on_result();
                                            });
    }
    void check(const Address& backend, const CheckConfig& config) {
        check({.backend = backend, .config = config, .route = {}});
    }
    void check(ScriptedBackend& backend, const CheckConfig& config) {
        loop.add(backend);
        check(backend.address(), config);
    }

    // Each is the next one.
    [[nodiscard]] bool got_result() {
        const std::size_t before = results.size();
        return loop.until([&] { return results.size() > before; });
    }
    // What is due happens, in the time that stands still.
    [[nodiscard]] std::size_t settled_results() {
        REQUIRE(loop.settle());
        return results.size();
    }
    void advance(Duration by) { clock.advance(by); }
    [[nodiscard]] const CheckResult& last() const { return results.back(); }
};

}  // namespace

// --- one check

TEST_CASE("checker: the first check begins at once, and decides", "[health][checker]") {
    const DescriptorCheck descriptors;
    {
        ScriptedBackend backend;
        Fixture f;
        f.check(backend, tcp);
        CHECK(f.checker->health() == Health::unknown);
        REQUIRE(f.got_result());
        CHECK(f.last().outcome == Outcome::passed);
        CHECK(f.last().cause.empty());
        REQUIRE(f.last().transition);
        CHECK(f.last().transition->from == Health::unknown);
        CHECK(f.last().transition->to == Health::up);
        CHECK(f.checker->health() == Health::up);
        CHECK(f.settled_results() == 1);
        REQUIRE(backend.connections() == 1);
        CHECK(backend.last().was_reset());  // so that nobody has a TIME-WAIT
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("checker: nobody listens", "[health][checker]") {
    const RefusingPort port;
    Fixture f;
    f.check(port.address, redis);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::failed);
    CHECK(f.last().cause == "connect: Connection refused");
    REQUIRE(f.last().transition);
    CHECK(f.last().transition->to == Health::down);
    CHECK(f.last().transition->cause == "connect: Connection refused");
}

TEST_CASE("checker: a Unix server without room in its backlog has the timeout",
          "[health][checker]") {
    const DescriptorCheck descriptors;
    {
        eplb::test::FullUnixSocket server;
        Fixture f;
        f.check(server.address, tcp);
        CHECK(f.settled_results() == 0);
        f.advance(100ms);
        CHECK(f.settled_results() == 0);
        SECTION("it finds some") {
            server.accept_one();
            f.advance(100ms);
            REQUIRE(f.got_result());
            CHECK(f.last().outcome == Outcome::passed);
            f.advance(tcp.timeout);  // it has nothing left to time out
            CHECK(f.last().outcome == Outcome::passed);
        }
        SECTION("it finds none") {
            for (int steps = 0; steps < 100 && f.results.empty(); ++steps) {
                f.advance(50ms);
                static_cast<void>(f.settled_results());
            }
            REQUIRE(f.results.size() == 1);
            CHECK(f.last().outcome == Outcome::failed);
            CHECK(f.last().cause == "timeout after 2s while connecting");
            CHECK(f.last().duration == tcp.timeout);
        }
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("checker: a question, an answer, a goodbye, and the server closes", "[health][checker]") {
    const DescriptorCheck descriptors;
    {
        ScriptedBackend backend;
        Fixture f;
        f.check(backend, redis);
        REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
        REQUIRE(f.loop.until([&] { return backend.last().received() == ping; }));
        CHECK(f.results.empty());
        f.advance(300ms);
        backend.last().send("+PO");
        REQUIRE(f.loop.settle());
        CHECK(f.results.empty());
        backend.last().send("NG\r\n");
        REQUIRE(f.got_result());
        CHECK(f.last().outcome == Outcome::passed);
        CHECK(f.last().duration == 300ms);
        REQUIRE(f.loop.until([&] { return backend.last().received() == ping + quit; }));
        REQUIRE(f.loop.settle());
        CHECK_FALSE(backend.last().over());
        backend.last().send("+OK\r\n");
        backend.last().half_close();
        REQUIRE(f.loop.until([&] { return backend.last().over(); }));
        CHECK(backend.last().finished());
        CHECK(backend.last().error() == 0);
        CHECK(f.settled_results() == 1);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("checker: a server that would log a reset gets FIN", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "N", .finish_with_peer = true}};
    Fixture f;
    f.check(backend, postgres);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
    REQUIRE(f.loop.until([&] { return backend.last().over(); }));
    CHECK(backend.last().finished());
    CHECK(backend.last().error() == 0);
}

TEST_CASE("checker: what was sent is not overtaken by a reset", "[health][checker]") {
    ScriptedBackend backend{Script{.finish_with_peer = true}};
    Fixture f;
    SECTION("a text that needs no answer") { f.check(backend, expecting("hello", "")); }
    SECTION("a preamble") {
        f.loop.add(backend);
        f.check({.backend = backend.address(),
                 .config = tcp,
                 .route = {.socket = {},
                           .sources = {},
                           .preamble = [](const Address&, const Address&) { return "hello"s; }}});
    }
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
    REQUIRE(f.loop.until([&] { return backend.connections() == 1 && backend.last().over(); }));
    CHECK(backend.last().received() == "hello");
    CHECK(backend.last().finished());
}

TEST_CASE("checker: the preamble goes first, and knows both ends", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.loop.add(backend);
    f.check({.backend = backend.address(),
             .config = redis,
             .route = {.socket = {},
                       .sources = {Address::parse("[::1]:0"), Address::parse("127.0.0.2:9")},
                       .preamble = [](const Address& own, const Address& peer) {
                           return own.with_port(0).to_string() + ">" + peer.to_string() + "|";
                       }}});
    const std::string expected = "127.0.0.2:0>" + backend.address().to_string() + "|" + ping;
    REQUIRE(f.loop.until(
        [&] { return backend.connections() == 1 && backend.last().received() == expected; }));
}

TEST_CASE("checker: Unix sockets are asked too", "[health][checker]") {
    const Address address = Address::parse("unix:@eplb-checker-test-" + std::to_string(::getpid()));
    const Fd listener = eplb::listen_on(address);
    Fixture f;
    f.check(address, tcp);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
}

TEST_CASE("checker: another port may answer for a backend", "[health][checker]") {
    const RefusingPort port;
    ScriptedBackend agent{Script{.greeting = "HTTP/1.0 200 OK\r\n\r\n"}};
    Fixture f;
    f.loop.add(agent);
    CheckConfig config = http;
    config.port = agent.address().port();
    f.check(port.address, config);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
    CHECK_THAT(std::string{agent.last().received().view()}, contains("Host: 127.0.0.1:"));
}

TEST_CASE("checker: a connection to ourselves is nobody's answer", "[health][checker]") {
    // In a network of its own, where the only free port for the way out is the one that is asked:
    // TCP then connects the socket to itself (simultaneous open).
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([]() -> int {
        if (!eplb::test::enter_network_with_ports(40000, 40000)) return cannot_try;

        Fixture f;
        f.check(Address::parse("127.0.0.1:40000"), tcp);
        for (int i = 0; i < 20; ++i) {
            if (!f.got_result()) return 1;
            if (f.last().outcome != Outcome::failed) return 2;
            if (f.last().cause != "connect: Connection refused") return 3;
            f.advance(2200ms);
        }
        return fine;
    });
    if (code == cannot_try) EPLB_SKIP("no network namespaces");
    CHECK(code == fine);
}

// --- servers that misbehave

TEST_CASE("checker: a server that says nothing is given up after the timeout",
          "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, mysql);
    REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
    f.advance(1999ms);
    CHECK(f.settled_results() == 0);
    f.advance(1ms);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::failed);
    CHECK(f.last().cause == "timeout after 2s while waiting for the greeting");
    CHECK(f.last().duration == 2s);
    REQUIRE(f.loop.until([&] { return backend.connection(0).over(); }));
    CHECK(backend.connection(0).was_reset());
}

TEST_CASE("checker: a server whose first answer we are late to look at gets time for the next",
          "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, redis);
    REQUIRE(f.reactor.run_once(Duration{0}));  // connects
    f.advance(1min);                           // and we are stopped
    REQUIRE(f.loop.until([&] {
        return backend.connections() == 1 && backend.last().received_bytes() == ping.size();
    }));
    CHECK(f.settled_results() == 0);
    SECTION("and it answers") {
        backend.last().send("+PONG\r\n");
        REQUIRE(f.got_result());
        CHECK(f.last().outcome == Outcome::passed);
    }
    SECTION("and it does not") {
        f.advance(1999ms);
        CHECK(f.settled_results() == 0);
        f.advance(1ms);
        REQUIRE(f.got_result());
        CHECK(f.last().cause == "timeout after 2s while waiting for the answer to PING");
    }
    SECTION("once: a machine that is always late calls servers down, too") {
        f.advance(1min);
        REQUIRE(f.got_result());
        CHECK(f.last().outcome == Outcome::failed);
    }
}

TEST_CASE("checker: a byte now and then does not keep a check alive", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, expecting("", "never"));
    REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
    for (int i = 0; i < 19; ++i) {
        backend.last().send("x");
        f.advance(100ms);
        CHECK(f.settled_results() == 0);
    }
    backend.last().send("x");
    f.advance(100ms);
    REQUIRE(f.got_result());
    CHECK(f.last().cause == "timeout after 2s while waiting for the expected answer");
}

TEST_CASE("checker: a server that does not let anybody in is given up after the timeout",
          "[health][checker]") {
    const Fd listener = eplb::test::listener(0);
    const Address address = eplb::test::address_of(listener);
    std::vector<Fd> queue;
    for (int i = 0; i < 3; ++i) queue.push_back(eplb::test::connect_to(address));
    Fixture f;
    f.check(address, tcp);
    CHECK(f.settled_results() == 0);
    f.advance(2s);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::failed);
    CHECK(f.last().cause == "timeout after 2s while connecting");
}

TEST_CASE("checker: of an endless answer 4 KiB are looked at", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = pattern(8'000'000)}};
    Fixture f;
    f.check(backend, expecting("", "never"));
    REQUIRE(f.got_result());
    CHECK(f.last().cause == "4096 bytes without the expected answer");
    REQUIRE(f.loop.until([&] { return backend.last().over(); }));
    CHECK(backend.last().was_reset());
}

TEST_CASE("checker: an endless page is cut off, however good it began", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "HTTP/1.1 200 OK\r\n\r\n" + pattern(8'000'000)}};
    Fixture f;
    f.check(backend, http);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
    REQUIRE(f.loop.until([&] { return backend.last().over(); }));
    CHECK(backend.last().was_reset());
}

TEST_CASE("checker: a server that does not close is left at the timeout", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "+PONG\r\n"}};
    Fixture f;
    CheckConfig config = redis;
    config.timeout = 1s;
    f.check(backend, config);
    REQUIRE(f.got_result());
    REQUIRE(f.loop.settle());
    f.advance(999ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(backend.last().over());
    f.advance(1ms);
    REQUIRE(f.loop.until([&] { return backend.last().over(); }));
    CHECK(backend.last().was_reset());
    CHECK(f.settled_results() == 1);
}

TEST_CASE("checker: a server that closes or resets instead of answering", "[health][checker]") {
    Fixture f;
    SECTION("closes") {
        ScriptedBackend backend{Script{.close_at_once = true}};
        f.check(backend, mysql);
        REQUIRE(f.got_result());
        CHECK(f.last().cause == "closed by the server while waiting for the greeting");
        f.loop.remove(backend);
    }
    SECTION("resets") {
        ScriptedBackend backend{Script{.reset_at_once = true}};
        f.check(backend, mysql);
        REQUIRE(f.got_result());
        CHECK_THAT(f.last().cause, contains("Connection reset by peer"));
        f.loop.remove(backend);
    }
    CHECK(f.last().outcome == Outcome::failed);
}

TEST_CASE("checker: what a server says before it closes counts", "[health][checker]") {
    const Fd listener = eplb::test::listener();
    Fixture f;
    f.check(eplb::test::address_of(listener), redis);
    static_cast<void>(f.reactor.run_once(Duration{0}));
    {
        // Gone before it could be asked.
        const Fd server = eplb::test::accept_one(listener);
        const std::string refusal = "-ERR max number of clients reached\r\n";
        REQUIRE(::send(server.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL) > 0);
    }
    REQUIRE(f.got_result());
    CHECK(f.last().cause == "redis: ERR max number of clients reached");
}

// --- errors of this machine

TEST_CASE("checker: errors of this machine do not count", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.loop.add(backend);
    Checker::Options options{.backend = backend.address(), .config = tcp, .route = {}};
    SECTION("no descriptor") {
        f.check(std::move(options));
        eplb::test::DescriptorShortage shortage;
        static_cast<void>(f.reactor.run_once(Duration{0}));
        shortage.end();
        REQUIRE(f.results.size() == 1);
        CHECK(f.last().cause == "socket: Too many open files");
    }
    SECTION("no such address") {
        options.route.sources = {Address::parse("192.0.2.1:0")};
        f.check(std::move(options));
        REQUIRE(f.got_result());
        CHECK(f.last().cause == "source: Cannot assign requested address");
    }
    SECTION("no such interface") {
        options.route.socket.interface = "eplb-none";
        f.check(std::move(options));
        REQUIRE(f.got_result());
        CHECK_THAT(f.last().cause, eplb::test::starts_with("interface: "));
    }
    SECTION("no such congestion control, which is the errno of a missing Unix socket") {
        options.route.socket.congestion = "nosuch";
        f.check(std::move(options));
        REQUIRE(f.got_result());
        CHECK(f.last().cause == "congestion: No such file or directory");
    }
    CHECK(f.last().outcome == Outcome::local_error);
    CHECK_FALSE(f.last().transition);
    CHECK(f.checker->health() == Health::unknown);

    f.checker->set_route({});
    f.advance(2200ms);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::passed);
}

// --- when

TEST_CASE("checker: checks are an interval apart, give or take a tenth", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, tcp);
    REQUIRE(f.got_result());
    std::set<Duration> intervals;
    for (std::size_t i = 2; i < 12; ++i) {
        CHECK(f.settled_results() == i - 1);
        f.advance(1799ms);
        CHECK(f.settled_results() == i - 1);
        Duration interval = 1799ms;
        for (; f.results.size() < i && interval < 2201ms; interval += 10ms) {
            f.advance(10ms);
            static_cast<void>(f.settled_results());
        }
        CHECK(f.results.size() == i);
        intervals.insert(interval);
    }
    CHECK(intervals.size() > 3);
}

TEST_CASE(
    "checker: with the longest interval there is one check, and the longest timeout never ends it",
    "[health][checker]") {
    Fixture f;
    CheckConfig endless = redis;
    endless.interval = endless.fast_interval = endless.timeout = Duration::max();
    ScriptedBackend silent;
    f.loop.add(silent);
    for (std::uint64_t seed = 0; seed < 10; ++seed) {  // the jitter goes both ways
        CAPTURE(seed);
        f.results.clear();
        f.check({.backend = silent.address(), .config = endless, .route = {}, .seed = seed});
        CHECK(f.settled_results() == 0);
        f.advance(24h * 365);
        CHECK(f.settled_results() == 0);
        silent.last().send("+PONG\r\n");
        REQUIRE(f.got_result());
        CHECK(f.last().outcome == Outcome::passed);
        silent.last().close();
        f.advance(24h * 365);
        CHECK(f.settled_results() == 1);
        CHECK(silent.connections() == seed + 1);
    }
    SECTION("that begins with another configuration, too") {
        CheckConfig usual = endless;
        usual.interval = 2s;
        f.results.clear();
        f.check({.backend = silent.address(), .config = usual, .route = {}});
        CHECK(f.settled_results() == 0);
        silent.last().send("+PONG\r\n");
        REQUIRE(f.got_result());
        silent.last().close();
        REQUIRE(f.settled_results() == 1);
        f.checker->set_config(endless);
        f.advance(24h * 365);
        CHECK(f.settled_results() == 1);
        CHECK(silent.connections() == 11);
    }
}

TEST_CASE("checker: an offset delays the first check", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.loop.add(backend);
    f.check({.backend = backend.address(), .config = tcp, .route = {}, .offset = 700ms});
    f.advance(699ms);
    CHECK(f.settled_results() == 0);
    f.advance(1ms);
    CHECK(f.got_result());
}

TEST_CASE("checker: while the state is changing, checks come faster", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, tcp);
    REQUIRE(f.got_result());
    backend.stop_listening();
    f.advance(2200ms);
    REQUIRE(f.got_result());
    CHECK(f.last().outcome == Outcome::failed);
    CHECK_FALSE(f.last().transition);
    f.advance(449ms);
    CHECK(f.settled_results() == 2);
    f.advance(101ms);
    REQUIRE(f.got_result());
    CHECK_FALSE(f.last().transition);
    f.advance(550ms);
    REQUIRE(f.got_result());
    REQUIRE(f.last().transition);
    CHECK(f.last().transition->from == Health::up);
    CHECK(f.last().transition->to == Health::down);
    CHECK(f.last().transition->results == 3);
    CHECK(f.checker->health() == Health::down);
    f.advance(1799ms);  // down for good: no hurry
    CHECK(f.settled_results() == 4);
    f.advance(401ms);
    CHECK(f.settled_results() == 5);
}

TEST_CASE("checker: a check that takes longer than the interval delays the next one",
          "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    CheckConfig config = mysql;
    config.interval = 500ms;
    f.check(backend, config);
    REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
    f.advance(1s);
    REQUIRE(f.loop.settle());
    CHECK(backend.connections() == 1);
    f.advance(1s);
    REQUIRE(f.got_result());
    REQUIRE(f.loop.until([&] { return backend.connections() == 2; }));
}

TEST_CASE("checker: a farewell that takes longer than the interval delays the next check",
          "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "+PONG\r\n"}};
    Fixture f;
    CheckConfig config = redis;
    config.interval = 500ms;
    f.check(backend, config);
    REQUIRE(f.got_result());
    f.advance(550ms);
    REQUIRE(f.loop.settle());
    CHECK(backend.connections() == 1);
    CHECK_FALSE(backend.connection(0).over());  // whoever is cut off while saying goodbye logs it
    SECTION("until the server has closed") {
        backend.connection(0).half_close();
        REQUIRE(f.loop.until([&] { return backend.connections() == 2; }));
        CHECK_FALSE(backend.connection(0).was_reset());
    }
    SECTION("but not for longer than the timeout") {
        f.advance(1500ms);
        REQUIRE(f.loop.until([&] { return backend.connections() == 2; }));
        REQUIRE(f.loop.until([&] { return backend.connection(0).over(); }));
        CHECK(backend.connection(0).was_reset());
    }
}

TEST_CASE("checker: a check may be asked for", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "+PONG\r\n"}};
    Fixture f;
    f.check(backend, redis);
    f.checker->check_now();
    REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
    f.checker->check_now();  // while one goes on
    REQUIRE(f.got_result());
    CHECK(f.settled_results() == 1);
    f.checker->check_now();  // while the last one says farewell
    REQUIRE(f.got_result());
    backend.last().half_close();
    CHECK(f.settled_results() == 2);
    f.checker->check_now();  // while nothing happens
    REQUIRE(f.got_result());
    CHECK(f.settled_results() == 3);
    CHECK(backend.connections() == 3);
}

// --- changes

TEST_CASE("checker: another question is asked at once, and the state stays until it is answered",
          "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, tcp);
    REQUIRE(f.got_result());
    f.checker->set_config(mysql);
    REQUIRE(f.loop.until([&] { return backend.connections() == 2; }));
    CHECK(f.checker->health() == Health::up);
    f.checker->set_config(redis);  // while the other one is being answered
    REQUIRE(f.loop.until([&] { return backend.connections() == 3; }));
    REQUIRE(f.loop.until([&] { return backend.connection(1).over(); }));
    CHECK(f.results.size() == 1);
    backend.last().send("+PONG\r\n");
    REQUIRE(f.got_result());
    CHECK_FALSE(f.last().transition);
}

TEST_CASE("checker: another interval counts from the latest check", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, tcp);
    REQUIRE(f.got_result());
    REQUIRE(f.loop.settle());
    CheckConfig config = tcp;
    config.interval = 10s;
    f.checker->set_config(config);
    f.advance(8999ms);
    CHECK(f.settled_results() == 1);
    config.interval = 1s;
    f.checker->set_config(config);
    CHECK(f.got_result());
}

TEST_CASE("checker: none means none", "[health][checker]") {
    ScriptedBackend backend;
    Fixture f;
    f.check(backend, {});
    f.checker->check_now();
    f.advance(1h);
    CHECK(f.settled_results() == 0);
    f.checker->set_config(tcp);
    REQUIRE(f.got_result());
    CHECK(f.checker->health() == Health::up);
    f.checker->set_config({});
    CHECK(f.checker->health() == Health::unknown);
    f.advance(1h);
    CHECK(f.settled_results() == 1);
    CHECK(backend.connections() == 1);
}

TEST_CASE("checker: whoever is told may do anything with it", "[health][checker]") {
    const DescriptorCheck descriptors;
    {
        ScriptedBackend backend{Script{.greeting = "+PONG\r\n"}};
        Fixture f;
        SECTION("destroy it") {
            std::string captured(100, 'x');
            f.on_result = [&f, captured] {
                f.checker.reset();
                CHECK(captured.size() == 100);
            };
        }
        SECTION("turn it off") {
            f.on_result = [&] { f.checker->set_config({}); };
        }
        f.check(backend, redis);
        REQUIRE(f.got_result());
        REQUIRE(f.loop.until([&] { return backend.last().over(); }));
        CHECK(f.settled_results() == 1);
        CHECK((!f.checker || f.checker->health() == Health::unknown));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("checker: asks at once if whoever is told says so", "[health][checker]") {
    ScriptedBackend backend{Script{.greeting = "+PONG\r\n"}};
    Fixture f;
    f.on_result = [&] {
        if (f.results.size() < 3) f.checker->check_now();
    };
    f.check(backend, redis);
    CHECK(f.settled_results() == 3);
}

TEST_CASE("checker: may be destroyed at any moment", "[health][checker]") {
    const DescriptorCheck descriptors;
    {
        ScriptedBackend backend;
        Fixture f;
        f.check(backend, mysql);
        SECTION("before it began") {}
        SECTION("while it connects") { static_cast<void>(f.reactor.run_once(Duration{0})); }
        SECTION("while it waits") {
            REQUIRE(f.loop.until([&] { return backend.connections() == 1; }));
        }
        f.checker.reset();
        f.advance(1h);
        CHECK(f.settled_results() == 0);
    }
    CHECK(descriptors.leaked() == 0);
}
