#include "eplb/relay.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/process.hpp"
#include "support/relay_fixture.hpp"

#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::EndReason;
using eplb::Fd;
using eplb::Relay;
using eplb::RelayContext;
using eplb::RelayMode;
using eplb::RelayResult;
using eplb::test::all_relay_modes;
using eplb::test::Bytes;
using eplb::test::FunctionTask;
using eplb::test::Loop;
using eplb::test::Pair;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::RelayFixture;
using Options = eplb::test::RelayFixture::Options;

namespace {

Options with_mode(RelayMode mode) {
    Options options;
    options.context.mode = mode;
    return options;
}

Options with_timeouts(Duration idle, Duration half_close) {
    Options options;
    options.timeouts = {idle, half_close};
    return options;
}

// Everywhere as little room as the kernel allows.
Options narrow(RelayMode mode) {
    Options options = with_mode(mode);
    for (eplb::test::PairOptions* const pair : {&options.client_pair, &options.server_pair}) {
        *pair = {.near_send_buffer = 4096,
                 .near_receive_buffer = 4096,
                 .far_send_buffer = 4096,
                 .far_receive_buffer = 4096};
    }
    return options;
}

}  // namespace

TEST_CASE("relay: bytes go both ways at once", "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{with_mode(mode)};
    f.client.send(pattern(1'000'000, 1));
    f.server.send(pattern(1'500'000, 2));
    f.client.half_close();
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over() && f.server.over(); }));
    CHECK(f.server.received() == pattern(1'000'000, 1));
    CHECK(f.client.received() == pattern(1'500'000, 2));
    CHECK(f.client.finished());
    CHECK(f.server.finished());
    CHECK(f.result->bytes_up == 1'000'000);
    CHECK(f.result->bytes_down == 1'500'000);
    CHECK(f.ends == 1);
}

TEST_CASE("relay: a client that half-closed still gets the whole answer", "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{with_mode(mode)};
    f.client.send("request");
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.server.finished(); }));
    CHECK(f.server.received() == "request");
    CHECK_FALSE(f.client.over());

    f.clock.advance(10s);
    f.server.send(pattern(300'000));
    REQUIRE(f.loop.until([&] { return f.client.received().size() == 300'000; }));
    CHECK_FALSE(f.over());
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over(); }));
    CHECK(f.client.received() == pattern(300'000));
    CHECK(f.client.finished());
    CHECK(f.result->reason == EndReason::client_fin);
}

TEST_CASE("relay: a server that half-closed still gets what the client sends", "[proxy][relay]") {
    RelayFixture f;
    f.server.send("greeting");
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.client.finished(); }));
    CHECK(f.client.received() == "greeting");
    f.client.send(pattern(300'000));
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.server.over(); }));
    CHECK(f.server.received() == pattern(300'000));
    CHECK(f.server.finished());
    CHECK(f.result->reason == EndReason::server_fin);
}

TEST_CASE("relay: says what has moved while it runs, and ends when it is told to",
          "[proxy][relay]") {
    RelayFixture f;
    f.client.send("question");
    REQUIRE(f.loop.until([&] { return f.server.received() == "question"; }));
    f.server.send("an answer");
    REQUIRE(f.loop.until([&] { return f.client.received() == "an answer"; }));
    CHECK(f.relay->bytes_up() == 8);
    CHECK(f.relay->bytes_down() == 9);
    f.relay->close(EndReason::removed);
    f.relay->close(EndReason::drain);  // once is enough
    CHECK_FALSE(f.over());             // in a turn of its own
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over() && f.server.over(); }));
    CHECK(f.result->reason == EndReason::removed);
    CHECK(f.result->bytes_up == 8);
    CHECK(f.result->bytes_down == 9);
    CHECK(f.client.error() == ECONNRESET);
    CHECK(f.server.error() == ECONNRESET);
    CHECK(f.ends == 1);
}

TEST_CASE("relay: an empty connection ends like any other", "[proxy][relay]") {
    RelayFixture f;
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.server.finished(); }));
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over(); }));
    CHECK(f.client.finished());
    CHECK(f.result->bytes_up == 0);
    CHECK(f.result->bytes_down == 0);
}

TEST_CASE("relay: a connection that was over before it was relayed ends", "[proxy][relay]") {
    RelayFixture f;
    f.client.send("last words");
    f.client.half_close();
    f.server.send("goodbye");
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over() && f.server.over(); }));
    CHECK(f.server.received() == "last words");
    CHECK(f.client.received() == "goodbye");
}

TEST_CASE("relay: a byte at a time, back and forth", "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{with_mode(mode)};
    for (std::size_t i = 1; i <= 200; ++i) {
        f.client.send("q");
        REQUIRE(f.loop.until([&] { return f.server.received_bytes() == i; }));
        f.server.send("a");
        REQUIRE(f.loop.until([&] { return f.client.received_bytes() == i; }));
    }
    CHECK_FALSE(f.over());
}

TEST_CASE("relay: both directions stalled at once resume without loss", "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{narrow(mode)};
    f.client.hold();
    f.server.hold();
    f.client.send(pattern(300'000, 1));
    f.server.send(pattern(300'000, 2));
    f.client.half_close();
    f.server.half_close();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.loop.turn());  // stalled is not busy
    CHECK_FALSE(f.over());
    f.client.resume();
    REQUIRE(f.loop.until([&] { return f.client.over(); }));
    f.server.resume();
    REQUIRE(f.loop.until([&] { return f.over() && f.server.over(); }));
    CHECK(f.server.received() == pattern(300'000, 1));
    CHECK(f.client.received() == pattern(300'000, 2));
}

// --- resets

TEST_CASE("relay: a reset of one side becomes a reset of the other, behind what was received",
          "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    const bool by_client = GENERATE(true, false);
    const std::size_t size = GENERATE(as<std::size_t>{}, 0, 1, 5000);
    CAPTURE(mode, by_client, size);
    RelayFixture f{with_mode(mode)};
    REQUIRE(f.loop.settle());
    Peer& breaker = by_client ? f.client : f.server;
    Peer& survivor = by_client ? f.server : f.client;
    breaker.send(pattern(size));
    breaker.reset();
    REQUIRE(f.until_with_time([&] { return f.over() && survivor.over(); }, 1ms, 100));
    CHECK(survivor.received() == pattern(size));
    CHECK(survivor.was_reset());
    CHECK(f.result->reason == (by_client ? EndReason::client_rst : EndReason::server_rst));
}

TEST_CASE("relay: a reset waits until the survivor has what was received before",
          "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{narrow(mode)};
    f.client.hold();
    f.server.send(pattern(20'000));
    REQUIRE(f.loop.settle());
    f.server.reset();  // some of it may not have left the server: that is lost, as TCP has it
    REQUIRE(f.loop.settle());
    // The client reads in small steps, and time goes by.
    int steps = 0;
    while (!f.client.over() && ++steps < 2000) {
        f.client.read_at_most(500);
        REQUIRE(f.loop.settle());
        f.clock.advance(20ms);
    }
    // Whatever had reached us arrives; only then the reset.
    CHECK(f.client.was_reset());
    CHECK(f.client.received_bytes() > 5000);
    CHECK(f.client.received().view() ==
          pattern(20'000).view().substr(0, f.client.received_bytes()));
    REQUIRE(f.over());
    CHECK(f.client.received_bytes() == f.result->bytes_down);
    CHECK(f.result->reason == EndReason::server_rst);
}

TEST_CASE("relay: a survivor that never reads is not waited for without end", "[proxy][relay]") {
    Options options = narrow(RelayMode::automatic);
    options.timeouts = {Duration{0}, 5s};
    RelayFixture f{std::move(options)};
    f.client.hold();
    f.server.send(pattern(20'000));
    REQUIRE(f.loop.settle());
    f.server.reset();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    REQUIRE(f.until_with_time([&] { return f.over(); }, 1s, 12));
    CHECK(f.ends == 1);
}

TEST_CASE("relay: a reset of a side that is being written to becomes a reset of the writer",
          "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{narrow(mode)};
    f.server.hold();
    f.client.send(pattern(500'000));
    REQUIRE(f.loop.settle());
    f.server.reset();
    REQUIRE(f.until_with_time([&] { return f.over() && f.client.over(); }, 1ms, 100));
    CHECK(f.client.was_reset());
    CHECK(f.result->reason == EndReason::server_rst);
    CHECK(f.context.pipes().stats().lent == 0);
}

TEST_CASE("relay: the answer of a server that stops reading and resets is not lost",
          "[proxy][relay]") {
    // Like an HTTP server that refuses an upload: it answers, and closes with unread input.
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    RelayFixture f{narrow(mode)};
    f.server.hold();
    f.client.send(pattern(500'000));
    REQUIRE(f.loop.settle());
    f.loop.remove(f.client);  // so that the answer is still with us when the reset comes
    f.server.send("413 too large");
    f.server.close();
    f.loop.add(f.client);
    REQUIRE(f.until_with_time([&] { return f.over() && f.client.over(); }, 1ms, 100));
    CHECK(f.client.received() == "413 too large");
    CHECK(f.client.was_reset());
    CHECK(f.result->reason == EndReason::server_rst);
}

TEST_CASE("relay: a reset after a half-close of the other side is a reset", "[proxy][relay]") {
    RelayFixture f;
    f.client.send("request");
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.server.finished(); }));
    f.server.send("part of an ans");
    f.server.reset();
    REQUIRE(f.until_with_time([&] { return f.over() && f.client.over(); }, 1ms, 100));
    CHECK(f.client.received() == "part of an ans");
    CHECK(f.client.was_reset());
    CHECK(f.result->reason == EndReason::server_rst);
}

// --- timeouts

TEST_CASE("relay: without an idle timeout a silent connection lives for ever", "[proxy][relay]") {
    RelayFixture f{with_timeouts(Duration{0}, 60s)};
    REQUIRE(f.loop.settle());
    CHECK(f.reactor.wait_time() < Duration{0});
    f.clock.advance(24h * 365);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.client.send("still here");
    REQUIRE(f.loop.until([&] { return f.server.received() == "still here"; }));
}

TEST_CASE("relay: silence for the idle timeout resets both sides", "[proxy][relay]") {
    RelayFixture f{with_timeouts(30s, 60s)};
    REQUIRE(f.loop.settle());
    f.clock.advance(30s - 1ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(1ms);
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over() && f.server.over(); }));
    CHECK(f.client.was_reset());
    CHECK(f.server.was_reset());
    CHECK(f.result->reason == EndReason::idle);
}

TEST_CASE("relay: what moves in a turn that is held up counts from the end of that turn",
          "[proxy][relay]") {
    RelayFixture f{with_timeouts(10s, 0s)};
    REQUIRE(f.loop.settle());
    FunctionTask pause{FunctionTask::waiting([&] { f.clock.advance(1min); })};
    f.reactor.schedule(pause);
    f.client.send("x");
    REQUIRE(f.loop.until([&] { return f.server.received_bytes() == 1; }));
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(9999ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(2ms);
    REQUIRE(f.loop.until([&] { return f.over(); }));
    CHECK(f.result->reason == EndReason::idle);
}

TEST_CASE("relay: a byte in either direction puts the idle timeout off", "[proxy][relay]") {
    RelayFixture f{with_timeouts(30s, 60s)};
    REQUIRE(f.loop.settle());
    for (int i = 0; i < 6; ++i) {
        f.clock.advance(29s);
        REQUIRE(f.loop.settle());
        REQUIRE_FALSE(f.over());
        (i % 2 == 0 ? f.client : f.server).send("x");
        REQUIRE(f.loop.settle());
    }
    f.clock.advance(29s);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(1s);
    REQUIRE(f.loop.settle());
    CHECK(f.over());
}

TEST_CASE("relay: bytes that are received but do not move on are no progress", "[proxy][relay]") {
    Options options = narrow(RelayMode::automatic);
    options.timeouts = {30s, 60s};
    RelayFixture f{std::move(options)};
    f.server.hold();
    f.client.send(pattern(500'000));
    REQUIRE(f.loop.settle());
    f.clock.advance(30s);
    REQUIRE(f.loop.settle());
    CHECK(f.over());
    CHECK(f.result->reason == EndReason::idle);
}

TEST_CASE("relay: once one side has finished, the half-close timeout counts", "[proxy][relay]") {
    const bool by_client = GENERATE(true, false);
    CAPTURE(by_client);
    RelayFixture f{with_timeouts(Duration{0}, 60s)};
    (by_client ? f.client : f.server).half_close();
    REQUIRE(f.loop.settle());
    f.clock.advance(60s - 1ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(1ms);
    REQUIRE(f.loop.settle());
    REQUIRE(f.over());
    CHECK(f.result->reason == EndReason::half_close);
    CHECK((by_client ? f.client : f.server).was_reset());
}

TEST_CASE("relay: the half-close timeout counts from the FIN, however long it was quiet before",
          "[proxy][relay]") {
    const bool by_client = GENERATE(true, false);
    const Duration idle = GENERATE(Duration{0}, Duration{2h});
    CAPTURE(by_client, idle.count());
    RelayFixture f{with_timeouts(idle, 60s)};
    REQUIRE(f.loop.settle());
    f.clock.advance(1h);
    REQUIRE(f.loop.settle());
    Peer& first = by_client ? f.client : f.server;
    Peer& second = by_client ? f.server : f.client;
    first.send("bye");
    first.half_close();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    CHECK(second.finished());

    f.clock.advance(59s);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(1s);
    REQUIRE(f.loop.settle());
    CHECK(f.over());
}

TEST_CASE(
    "relay: a bare FIN after a long silence is passed on, and the other side has time to answer",
    "[proxy][relay]") {
    const bool by_client = GENERATE(true, false);
    const Duration idle = GENERATE(Duration{0}, Duration{2h});
    CAPTURE(by_client, idle.count());
    RelayFixture f{with_timeouts(idle, 60s)};
    REQUIRE(f.loop.settle());
    f.clock.advance(1h);
    REQUIRE(f.loop.settle());
    Peer& first = by_client ? f.client : f.server;
    Peer& second = by_client ? f.server : f.client;
    first.half_close();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    CHECK(second.finished());
    CHECK_FALSE(second.was_reset());

    f.clock.advance(59s);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    second.send("late answer");
    second.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && first.over(); }));
    CHECK(first.received() == "late answer");
    CHECK(first.finished());
}

TEST_CASE("relay: a FIN behind stuck bytes leaves a slow reader its time", "[proxy][relay]") {
    Options options = narrow(RelayMode::automatic);
    options.timeouts = {Duration{0}, 60s};
    RelayFixture f{std::move(options)};
    f.client.hold();
    f.server.send(pattern(30'000));
    REQUIRE(f.loop.settle());
    f.clock.advance(1h);  // nothing moves: the client does not read, and may do so
    REQUIRE(f.loop.settle());
    f.server.half_close();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.clock.advance(59s);
    f.client.resume();
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.over() && f.client.over(); }));
    CHECK(f.client.received() == pattern(30'000));
    CHECK(f.client.finished());
}

TEST_CASE("relay: progress puts the half-close timeout off", "[proxy][relay]") {
    RelayFixture f{with_timeouts(Duration{0}, 60s)};
    f.client.half_close();
    REQUIRE(f.loop.settle());
    for (int i = 0; i < 5; ++i) {
        f.clock.advance(59s);
        f.server.send("x");
        REQUIRE(f.loop.settle());
        REQUIRE_FALSE(f.over());
    }
    CHECK(f.client.received() == "xxxxx");
}

TEST_CASE("relay: of both timeouts the shorter one ends a half-closed connection",
          "[proxy][relay]") {
    RelayFixture f{with_timeouts(10s, 60s)};
    f.client.half_close();
    REQUIRE(f.loop.settle());
    f.clock.advance(10s);
    REQUIRE(f.loop.settle());
    REQUIRE(f.over());
    CHECK(f.result->reason == EndReason::idle);
}

TEST_CASE("relay: without a half-close timeout a half-closed connection lives for ever",
          "[proxy][relay]") {
    RelayFixture f{with_timeouts(Duration{0}, Duration{0})};
    f.client.half_close();
    REQUIRE(f.loop.settle());
    f.clock.advance(24h * 365);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
}

// --- life and death

TEST_CASE("relay: the longest timeouts are never over", "[proxy][relay]") {
    Options options;
    options.timeouts = {.idle = Duration::max(),
                        .half_close = Duration::max(),
                        .lifetime = Duration::max(),
                        .lifetime_jitter_percent = GENERATE(0U, 100U)};
    RelayFixture f{options};
    f.client.half_close();
    f.server.send(pattern(10));
    REQUIRE(f.loop.settle());
    f.clock.advance(24h * 365 * 10);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.over());
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over(); }));
    CHECK(f.result->reason == EndReason::client_fin);
}

TEST_CASE("relay: a jitter of more than the whole lifetime is one of the whole lifetime",
          "[proxy][relay]") {
    Options options;
    options.timeouts.lifetime = GENERATE(Duration{10s}, Duration::max());
    options.timeouts.lifetime_jitter_percent = GENERATE(101U, UINT32_MAX);
    RelayFixture f{options};
    REQUIRE(f.loop.settle());
    f.clock.advance(options.timeouts.lifetime == 10s ? 10s : 0s);
    REQUIRE(f.loop.settle());
    CHECK(f.over() == (options.timeouts.lifetime == 10s));
}

TEST_CASE("relay: destroyed early, it closes both sockets and tells nobody", "[proxy][relay]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        RelayFixture f;
        f.client.send("x");
        REQUIRE(f.loop.settle());
        f.relay.reset();
        REQUIRE(f.loop.until([&] { return f.client.over() && f.server.over(); }));
        CHECK_FALSE(f.over());
        CHECK(f.ends == 0);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("relay: both sockets are closed when the handler is called", "[proxy][relay]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    RelayContext context{RelayContext::Options{}};
    Pair to_client = eplb::test::tcp_pair();
    Pair to_server = eplb::test::tcp_pair();
    const std::size_t before = eplb::test::open_descriptors();
    std::size_t in_handler = 0;
    Relay relay{reactor,
                context,
                std::move(to_client.far),
                std::move(to_server.near),
                {},
                [&](const RelayResult&) { in_handler = eplb::test::open_descriptors(); }};
    to_client.near.reset();
    to_server.far.reset();
    Loop loop{reactor};
    REQUIRE(loop.until([&] { return in_handler != 0; }));
    CHECK(in_handler == before - 4);
    REQUIRE(loop.settle());  // a relay that is over may stay where it is
}

TEST_CASE("relay: tells the errno behind its end", "[proxy][relay]") {
    RelayFixture f{with_timeouts(10s, 10s)};
    REQUIRE(f.loop.settle());
    int error = 0;
    SECTION("of a reset") {
        const bool by_client = GENERATE(true, false);
        (by_client ? f.client : f.server).reset();
        error = ECONNRESET;
    }
    SECTION("there is none of a clean end") {
        f.client.half_close();
        f.server.half_close();
    }
    SECTION("nor of a timeout") { f.clock.advance(10s); }
    REQUIRE(f.until_with_time([&] { return f.over(); }, 1ms, 100));
    CHECK(f.result->error == error);
}

TEST_CASE("relay: its handler may throw, and the reactor goes on", "[proxy][relay]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    RelayContext context;
    Pair to_client = eplb::test::tcp_pair();
    Pair to_server = eplb::test::tcp_pair();
    const bool destroys = GENERATE(false, true);
    std::optional<Relay> relay;
    relay.emplace(reactor, context, std::move(to_client.far), std::move(to_server.near),
                  eplb::RelayTimeouts{}, [&](const RelayResult&) {
                      if (destroys) relay.reset();
                      throw std::runtime_error{"out of a handler"};
                  });
    to_client.near.reset();
    to_server.far.reset();
    CHECK_THROWS_WITH(
        [&] {
            for (int turns = 0; turns < 10; ++turns) reactor.run_once(Duration{0});
        }(),
        "out of a handler");
    CHECK_FALSE(reactor.run_once(Duration{0}));
}

TEST_CASE("relay: may be made without a handler", "[proxy][relay]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    RelayContext context{RelayContext::Options{}};
    Pair to_client = eplb::test::tcp_pair();
    Pair to_server = eplb::test::tcp_pair();
    Relay relay{reactor, context, std::move(to_client.far), std::move(to_server.near), {}, {}};
    Peer client{std::move(to_client.near)};
    to_server.far.reset();
    Loop loop{reactor};
    loop.add(client);
    REQUIRE(loop.until([&] { return client.over(); }));
    client.close();
    REQUIRE(loop.settle());
}

TEST_CASE("relay: a socket that cannot be watched throws and closes both", "[proxy][relay]") {
    const eplb::test::DescriptorCheck descriptors;
    eplb::ManualClock clock;
    {
        eplb::Reactor reactor{clock};
        RelayContext context{RelayContext::Options{}};
        Pair pair = eplb::test::tcp_pair();
        CHECK_THROWS_AS((Relay{reactor, context, std::move(pair.near), Fd{}, {}, {}}),
                        std::system_error);
        CHECK_THROWS_AS((Relay{reactor, context, Fd{}, std::move(pair.far), {}, {}}),
                        std::system_error);
        CHECK_FALSE(reactor.run_once(Duration{0}));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("relay: works between Unix sockets", "[proxy][relay]") {
    RelayFixture f{{.unix_sockets = true}};
    f.client.send(pattern(500'000));
    f.client.half_close();
    REQUIRE(f.loop.until([&] { return f.server.finished(); }));
    CHECK(f.server.received() == pattern(500'000));
    f.server.half_close();
    REQUIRE(f.loop.until([&] { return f.over(); }));
    CHECK(f.result->reason == EndReason::client_fin);
}

TEST_CASE("relay: a descriptor passed over a Unix socket is dropped, and no byte with it",
          "[proxy][relay]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        RelayFixture f{{.unix_sockets = true}};
        eplb::test::send_with_descriptor(f.client.socket(), "first", 0);
        f.client.send("second");
        REQUIRE(f.loop.settle());
        CHECK(f.server.received() == "firstsecond");
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("relay: many at once with shared pipes never mix their bytes, whoever dies",
          "[proxy][relay]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    const auto seed = GENERATE(range(1U, 4U));
    CAPTURE(mode, seed);
    std::mt19937 random{seed};
    const eplb::test::DescriptorCheck descriptors;
    {
        eplb::ManualClock clock;
        eplb::Reactor reactor{clock};
        RelayContext::Options options;
        options.mode = mode;
        options.pipe_bytes = 64 * 1024;
        RelayContext context{std::move(options)};
        Loop loop{reactor};

        struct Connection {
            Peer client;
            Peer server;
            std::unique_ptr<Relay> relay;
            Bytes up;
            Bytes down;
            bool killed = false;
        };
        std::vector<std::unique_ptr<Connection>> connections;
        for (std::uint64_t i = 0; i < 24; ++i) {
            auto c = std::make_unique<Connection>();
            const eplb::test::PairOptions small{.near_send_buffer = 8192,
                                                .far_receive_buffer = 8192};
            Pair to_client = eplb::test::tcp_pair(small);
            Pair to_server = eplb::test::tcp_pair(small);
            c->client = Peer{std::move(to_client.near)};
            c->server = Peer{std::move(to_server.far)};
            c->relay = std::make_unique<Relay>(
                reactor, context, std::move(to_client.far), std::move(to_server.near),
                eplb::RelayTimeouts{}, [p = c.get()](const RelayResult&) { p->relay.reset(); });
            c->up = pattern(random() % 200'000, 2 * i);
            c->down = pattern(random() % 200'000, 2 * i + 1);
            c->client.send(c->up);
            c->server.send(c->down);
            c->client.half_close();
            c->server.half_close();
            if (random() % 2 == 0) c->client.hold();
            if (random() % 2 == 0) c->server.hold();
            loop.add(c->client);
            loop.add(c->server);
            connections.push_back(std::move(c));
        }
        for (int step = 0; step < 60; ++step) {
            loop.turn();
            Connection& c = *connections[random() % connections.size()];
            switch (random() % 8) {
            case 0:
                c.killed = true;
                c.client.reset();
                break;
            case 1:
                c.killed = true;
                c.server.reset();
                break;
            case 2:
                c.killed = true;
                c.relay.reset();
                break;
            case 3: c.client.hold(); break;
            case 4: c.server.hold(); break;
            default:
                c.client.resume();
                c.server.resume();
                break;
            }
        }
        for (const auto& c : connections) {
            c->client.resume();
            c->server.resume();
        }
        for (int i = 0; i < 200; ++i) {
            REQUIRE(loop.settle());
            clock.advance(1s);  // for resets that wait
        }
        for (const auto& c : connections) {
            const auto is_prefix = [](const Bytes& got, const Bytes& all) {
                return all.view().starts_with(got.view());
            };
            CHECK(is_prefix(c->server.received(), c->up));
            CHECK(is_prefix(c->client.received(), c->down));
            if (!c->killed) {
                CHECK(c->server.received() == c->up);
                CHECK(c->client.received() == c->down);
                CHECK(c->client.finished());
                CHECK(c->server.finished());
            }
            CHECK(c->relay == nullptr);
        }
        CHECK(context.pipes().stats().lent == 0);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("relay: every end has a name of its own", "[proxy][relay]") {
    std::set<std::string> names;
    for (int i = 0; i <= static_cast<int>(EndReason::drain); ++i) {
        names.insert(std::string{to_string(static_cast<EndReason>(i))});
    }
    CHECK(names.size() == static_cast<std::size_t>(EndReason::drain) + 1);
    CHECK(names.count("client_fin") == 1);
    CHECK(names.count("unknown") == 0);
    CHECK(to_string(EndReason::half_close) == "half_close");
}
