// What can happen between two sockets, one thing at a time.

#include "sim/rig.hpp"
#include "support/catch.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>

using namespace std::chrono_literals;

namespace {

using eplb::EndReason;
using eplb::RelayMode;
using sim::Peer;
using sim::RelayRig;
using sim::Script;

sim::KernelOptions small_pipes(std::size_t slots = 2) {
    sim::KernelOptions options;
    options.pipe_slots = slots;
    options.link = {.send_buffer = 8 * 1024, .receive_buffer = 8 * 1024, .segment = 100};
    return options;
}

eplb::RelayContext::Options mode(RelayMode relay_mode) {
    eplb::RelayContext::Options options;
    options.mode = relay_mode;
    return options;
}

RelayMode any_mode() { return GENERATE(RelayMode::automatic, RelayMode::splice, RelayMode::copy); }

/// Neither reads nor finishes until resume().
Script stalled() {
    Script script;
    script.reads = false;
    script.end = Script::End::silent;
    return script;
}

void resume(Peer& peer) {
    peer.script().reads = true;
    peer.script().end = Script::End::fin;
    peer.step();
}

}  // namespace

TEST_CASE("relay: the end of a stream waits behind a full pipe", "[sim][relay]") {
    const std::size_t slots = GENERATE(1U, 2U, 16U);
    RelayRig rig{small_pipes(slots), mode(RelayMode::splice)};
    auto& joined = rig.join({.bytes = 20'000}, stalled());
    REQUIRE(rig.driver.run_dry());
    CHECK_FALSE(joined.over);
    CHECK(joined.client->sent() == 20'000);

    resume(*joined.server);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.server->received() == 20'000);
    CHECK(joined.server->saw_end());
    CHECK(joined.result.reason == EndReason::client_fin);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: bytes left in the socket survive a pipe that is out of slots", "[sim][relay]") {
    RelayRig rig{small_pipes(16), mode(RelayMode::splice)};
    // Tiny segments: sixteen of them fill the pipe, and the rest stays where it is without another
    // edge.
    Script client{.bytes = 6'000, .end = Script::End::silent};
    client.write_chunk = 10;
    auto& joined = rig.join(client, {.bytes = 0, .end = Script::End::silent});
    REQUIRE(rig.driver.run_until([&] { return joined.server->received() == 6'000; }));
    CHECK(rig.driver.failure() == "");
}

TEST_CASE("relay: what follows a byte of urgent data is delivered", "[sim][relay]") {
    const RelayMode relay_mode = any_mode();
    const std::uint64_t where = GENERATE(0U, 1U, 5'000U, 9'999U, 10'000U);
    const auto end = GENERATE(Script::End::fin, Script::End::silent);
    RelayRig rig{{}, mode(relay_mode)};
    Script client{.bytes = 10'000, .end = end};
    client.urgent_at = where;
    auto& joined = rig.join(client, {});
    REQUIRE(rig.driver.run_until([&] {
        return joined.server->received() == 10'000 &&
               (end == Script::End::silent || rig.all_over());
    }));
    CHECK(joined.server->saw_end() == (end == Script::End::fin));
    CHECK(joined.server->complaint() == "");
}

TEST_CASE("relay: what is in a pipe when splice is refused is copied out", "[sim][relay]") {
    const int error = GENERATE(EINVAL, ENOSYS, EPERM);
    RelayRig rig{small_pipes(16), mode(RelayMode::splice)};
    auto& joined = rig.join({.bytes = 30'000}, stalled());
    REQUIRE(rig.driver.run_dry());
    REQUIRE(rig.kernel.bytes_in_pipes() > 0);
    rig.kernel.options().faults.splice_refused_after =
        static_cast<std::int64_t>(rig.kernel.splices());
    rig.kernel.options().faults.splice_error = error;

    resume(*joined.server);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.server->received() == 30'000);
    CHECK(joined.server->saw_end());
    CHECK(rig.context.may_splice() == (error == EINVAL));
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: a reset comes behind the data that came before it", "[sim][relay]") {
    const RelayMode relay_mode = any_mode();
    const bool server_resets = GENERATE(false, true);
    RelayRig rig{small_pipes(16), mode(relay_mode)};
    const Script from{.bytes = 15'000, .end = Script::End::reset, .end_delay = 1s};
    auto& joined = server_resets ? rig.join(stalled(), from) : rig.join(from, stalled());
    Peer& sender = server_resets ? *joined.server : *joined.client;
    Peer& receiver = server_resets ? *joined.client : *joined.server;
    REQUIRE(rig.driver.run_for(2s));
    CHECK(sender.over());

    resume(receiver);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(receiver.received() == 15'000);
    CHECK(receiver.error() == ECONNRESET);
    CHECK_FALSE(receiver.saw_end());
    CHECK(joined.result.reason == (server_resets ? EndReason::server_rst : EndReason::client_rst));
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: a reset receiver leaves no pipe behind, and the sender is reset",
          "[sim][relay]") {
    const RelayMode relay_mode = any_mode();
    RelayRig rig{small_pipes(16), mode(relay_mode)};
    auto& joined = rig.join({.bytes = 100'000}, stalled());
    REQUIRE(rig.driver.run_dry());
    if (relay_mode == RelayMode::splice) REQUIRE(rig.kernel.bytes_in_pipes() > 0);
    const eplb::TimePoint start = rig.kernel.now();

    joined.server->reset_now();
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.client->error() == ECONNRESET);
    CHECK(joined.result.reason == EndReason::server_rst);
    CHECK(rig.kernel.now() - start < 100ms);
    CHECK(rig.context.pipes().stats().discarded == (relay_mode == RelayMode::splice ? 1 : 0));
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: when both sides were reset, nothing is waited for", "[sim][relay]") {
    const RelayMode relay_mode = any_mode();
    RelayRig rig{small_pipes(16), mode(relay_mode)};
    Script talker = stalled();
    talker.bytes = 100'000;
    auto& joined = rig.join(talker, talker);
    REQUIRE(rig.driver.run_dry());
    const eplb::TimePoint start = rig.kernel.now();

    joined.client->reset_now();
    joined.server->reset_now();
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(rig.kernel.now() - start < 100ms);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: saturated relays that nobody reads from rest, and go on when somebody does",
          "[sim][relay]") {
    const RelayMode relay_mode = any_mode();
    RelayRig rig{small_pipes(GENERATE(2U, 16U)), mode(relay_mode)};
    Script talker = stalled();
    talker.bytes = 100'000;
    for (int i = 0; i < 20; ++i) rig.join(talker, talker);
    REQUIRE(rig.driver.run_dry());
    const std::uint64_t calls = rig.kernel.calls();
    REQUIRE(rig.driver.run_for(10s));
    CHECK(rig.kernel.calls() - calls < 10);

    auto& first = *rig.joined.front();
    resume(*first.client);
    REQUIRE(rig.driver.run_until([&] { return first.client->received() == 100'000; }));
    CHECK_FALSE(first.over);
    for (const auto& each : rig.joined) {
        resume(*each->client);
        resume(*each->server);
    }
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    sim::Problems problems;
    rig.population.check_completeness(problems);
    CHECK(RelayRig::join_text(problems) == "");
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: who half-closes gets an answer that comes later", "[sim][relay]") {
    RelayRig rig{{}, mode(any_mode()), {0s, 60s}};
    Script server{.bytes = 50'000, .answers_at_end = true};
    server.start_delay = 10s;
    auto& joined = rig.join({.bytes = 1'000}, server);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.client->received() == 50'000);
    CHECK(joined.client->saw_end());
    CHECK(joined.result.reason == EndReason::client_fin);
    CHECK(joined.result.bytes_up == 1'000);
    CHECK(joined.result.bytes_down == 50'000);
}

TEST_CASE("relay: half a connection ends with a reset when nothing moves", "[sim][relay]") {
    RelayRig rig{{}, {}, {0s, 60s}};
    auto& joined = rig.join({.bytes = 1'000}, {.end = Script::End::silent});
    const eplb::TimePoint start = rig.kernel.now();
    REQUIRE(rig.driver.run_until([&] { return joined.over; }));
    CHECK(rig.kernel.now() - start >= 60s);
    CHECK(rig.kernel.now() - start < 61s);
    CHECK(joined.result.reason == EndReason::half_close);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.client->error() == ECONNRESET);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("relay: the half-close timeout begins with the half-close, not before", "[sim][relay]") {
    RelayRig rig{{}, mode(any_mode()), {0s, 60s}};
    // Ten quiet minutes, as between two queries; then the client is done, and the server needs a
    // second.
    auto& joined = rig.join({.bytes = 100, .end_delay = 10min},
                            {.bytes = 0, .answers_at_end = true, .end_delay = 1s});
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.result.reason == EndReason::client_fin);
    CHECK(joined.client->saw_end());
    CHECK(joined.server->received() == 100);
    CHECK(joined.server->error() == 0);
}

TEST_CASE("relay: the same if the end is stuck behind a reader that was slow before",
          "[sim][relay]") {
    RelayRig rig{small_pipes(16), mode(any_mode()), {0s, 60s}};
    Script slow = stalled();
    auto& joined = rig.join({.bytes = 30'000, .end = Script::End::silent}, slow);
    REQUIRE(rig.driver.run_for(2min));
    joined.client->finish_sending();
    REQUIRE(rig.driver.run_for(10s));
    CHECK_FALSE(joined.over);
    resume(*joined.server);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.server->received() == joined.client->sent());
    CHECK(joined.server->saw_end());
}

TEST_CASE("relay: no byte for the idle timeout resets both, any byte puts it off", "[sim][relay]") {
    // Also where 32 bits of milliseconds end.
    sim::KernelOptions options;
    if (GENERATE(false, true)) {
        options.start = eplb::TimePoint{std::chrono::milliseconds{(std::int64_t{1} << 32) - 7'000}};
    }
    RelayRig rig{options, {}, {5s, 60s}};
    const bool trickles = GENERATE(false, true);
    Script client{.bytes = 10, .end = Script::End::silent};
    client.write_chunk = 1;
    client.write_gap = trickles ? eplb::Duration{4s} : eplb::Duration{0};
    auto& joined = rig.join(client, {.end = Script::End::silent});
    REQUIRE(rig.driver.run_until([&] { return joined.server->received() == 10; }));
    const eplb::TimePoint last = rig.kernel.now();
    REQUIRE(rig.driver.run_until([&] { return joined.over; }));
    CHECK(rig.kernel.now() - last >= 5s);
    CHECK(rig.kernel.now() - last < 5010ms);
    CHECK(joined.result.reason == EndReason::idle);
    CHECK(rig.driver.turns() < 100);
    REQUIRE(rig.driver.run_until([&] { return rig.all_over(); }));
    CHECK(joined.client->error() == ECONNRESET);
    CHECK(joined.server->error() == ECONNRESET);
}

TEST_CASE("relay: an elephant leaves every turn to the others", "[sim][relay]") {
    sim::KernelOptions options;
    options.call_time = 2us;  // the network refills while we are at it
    options.link = {.send_buffer = 1 << 20, .receive_buffer = 1 << 20, .segment = 65'536};
    RelayRig rig{options, mode(any_mode())};
    auto& elephant = rig.join({.bytes = 24'000'000}, {});
    Script mouse{.bytes = 2'000, .end = Script::End::silent};
    mouse.write_chunk = 10;
    mouse.write_gap = 20us;
    auto& small = rig.join(mouse, {.echo = true, .end = Script::End::silent});
    REQUIRE(rig.driver.run_until([&] { return elephant.server->received() > 0; }));

    const std::size_t most = rig.context.turn_bytes() + 256 * 1024 + rig.context.scratch().size();
    std::uint64_t before = elephant.client->endpoint()->peer()->bytes_arrived() -
                           elephant.client->endpoint()->peer()->unread();
    while (small.client->received() < 2'000 && !elephant.over) {
        REQUIRE(rig.driver.failure() == "");
        const std::uint64_t turns = rig.driver.turns();
        REQUIRE(rig.driver.run_until([&] { return rig.driver.turns() > turns; }));
        if (elephant.over) break;
        const sim::Endpoint& end = *elephant.client->endpoint()->peer();
        const std::uint64_t taken = end.bytes_arrived() - end.unread();
        CHECK(taken - before <= most);
        before = taken;
    }
    CHECK(small.client->received() > 100);
}

TEST_CASE("relay: destroyed early it closes everything", "[sim][relay]") {
    RelayRig rig{small_pipes(16), mode(any_mode())};
    auto& joined = rig.join({.bytes = 100'000}, stalled());
    REQUIRE(rig.driver.run_dry());
    joined.relay.reset();
    CHECK(rig.check_rest() == "");
}
