// What can happen around a session: accepting, connecting, running short, shutting down.

#include "sim/memory.hpp"
#include "sim/rig.hpp"
#include "support/catch.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>

using namespace std::chrono_literals;

namespace {

using eplb::EndReason;
using sim::Dialled;
using sim::Peer;
using sim::ProxyRig;
using sim::Script;

const Dialled accepts{.kind = Dialled::Kind::accepted};
const Dialled accepts_late{.kind = Dialled::Kind::accepted, .delay = 500ms};
const Dialled accepts_at_once{.kind = Dialled::Kind::accepted_at_once};
const Dialled refuses{.kind = Dialled::Kind::fails, .error = ECONNREFUSED, .delay = 10ms};
const Dialled refuses_at_once{.kind = Dialled::Kind::refused_at_once, .error = ECONNREFUSED};
const Dialled unreachable{.kind = Dialled::Kind::fails, .error = EHOSTUNREACH, .delay = 10ms};
const Dialled silent{.kind = Dialled::Kind::silent};
const Dialled itself{.kind = Dialled::Kind::itself};

const Script asks{.bytes = 5'000};
const Script answers{.bytes = 30'000};

}  // namespace

TEST_CASE("proxy: a session from accept to the last byte", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(GENERATE(0, 1) == 0 ? accepts : accepts_at_once, answers);
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.received() == 30'000);
    CHECK(client.saw_end());
    CHECK(rig.backends.at(0)->received() == 5'000);
    CHECK(rig.recorder.last.up == 5'000);
    CHECK(rig.recorder.last.down == 30'000);
    CHECK(rig.recorder.last_listener == "127.0.0.1:5555");
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a backend that resets right behind its accept is one that reset",
          "[sim][proxy]") {
    const int error = GENERATE(ECONNRESET, EPIPE);  // the second: it had finished before
    const bool another = GENERATE(false, true);
    ProxyRig rig;
    rig.service.eject_after = 0;
    rig.add_backend({.kind = Dialled::Kind::fails, .error = error, .delay = 10ms});
    if (another) rig.add_backend(accepts, answers);
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.recorder.last.failed_attempts == 1);
    CHECK(rig.proxy->backends().at(0).failures == 1);
    CHECK(client.received() == (another ? 30'000 : 0));
    if (!another) CHECK(rig.recorder.last.reason == EndReason::server_rst);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a session whose server broke gives its place to the next at once",
          "[sim][proxy]") {
    ProxyRig rig;
    Script breaks{.bytes = 100'000, .end = Script::End::reset, .end_delay = 100ms};
    rig.add_backend(accepts, breaks);
    rig.service.backends.at(0).max_connections = 1;
    rig.open();
    // It has yet to get what came before the reset.
    rig.add_client({.end = Script::End::silent, .reads = false, .patience = 10s});
    rig.add_client({.end = Script::End::silent, .reads = false, .patience = 10s}, 1ms);
    REQUIRE(rig.driver.run_until([&] { return rig.attempts == 2; }));
    CHECK(rig.recorder.count == 0);
    CHECK(rig.proxy->backends().at(0).active == 2);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a refusal that is seen late leaves time for the next backend", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend({.kind = Dialled::Kind::fails, .error = ECONNREFUSED, .delay = 500ms});
    rig.add_backend(accepts_late, answers);
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.attempts == 1; }));
    rig.kernel.advance(1min);  // we stand still, and nobody else
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.received() == 30'000);
    CHECK(rig.recorder.last.served);
    CHECK(rig.recorder.last.failed_attempts == 1);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: who fails to connect is replaced before a byte of the client is read",
          "[sim][proxy]") {
    const int how = GENERATE(0, 1, 2, 3);
    ProxyRig rig;
    rig.add_backend(how == 0   ? refuses
                    : how == 1 ? refuses_at_once
                    : how == 2 ? unreachable
                               : silent);
    rig.add_backend(accepts_late, answers);
    rig.open();
    Peer& client = rig.add_client(asks);
    rig.on_accepted = [&] { CHECK(client.endpoint()->peer()->unread() == 5'000); };
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.backends.at(0)->received() == 5'000);
    CHECK(client.received() == 30'000);
    CHECK(rig.recorder.last.failed_attempts == 1);
    CHECK(rig.recorder.last.reason != EndReason::connect_refused);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a client for whom there is no backend is reset", "[sim][proxy]") {
    const int how = GENERATE(0, 1, 2);
    ProxyRig rig;
    rig.add_backend(refuses);
    rig.add_backend(how == 0 ? refuses : how == 1 ? silent : unreachable);
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.error() == ECONNRESET);
    CHECK_FALSE(client.saw_end());
    CHECK(rig.recorder.last.failed_attempts == 2);
    CHECK(rig.recorder.last.reason == (how == 0   ? EndReason::connect_refused
                                       : how == 1 ? EndReason::connect_timeout
                                                  : EndReason::connect_unreachable));
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: no further backend is tried after twice the connect timeout", "[sim][proxy]") {
    ProxyRig rig;
    for (int i = 0; i < 5; ++i) rig.add_backend(silent);
    rig.open();
    rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.attempts == 2);
    CHECK(rig.recorder.last.total_time < 2100ms);
}

TEST_CASE("proxy: a socket that is connected to itself is a backend that refuses", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(itself, {}, 40'001);  // among the ephemeral ports
    rig.add_backend(accepts, answers);
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.received() == 30'000);
    CHECK(rig.backends.at(0)->received() == 5'000);
    CHECK(rig.recorder.last.failed_attempts == 1);
}

TEST_CASE("proxy: a client that half-closes while a backend is sought gets its answer",
          "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(refuses);
    rig.add_backend(accepts_late, {.bytes = 30'000, .answers_at_end = true});
    rig.open();
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.backends.at(0)->received() == 5'000);
    CHECK(client.received() == 30'000);
    CHECK(client.saw_end());
    CHECK(rig.recorder.last.reason == EndReason::client_fin);
}

TEST_CASE("proxy: a client that resets while a backend is sought is forgotten", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts_late);
    rig.open();
    Peer& client = rig.add_client({.bytes = 100, .end = Script::End::silent});
    REQUIRE(rig.driver.run_for(100ms));
    CHECK(rig.proxy->active_sessions() == 1);
    client.reset_now();
    REQUIRE(rig.driver.run_for(10ms));
    CHECK(rig.proxy->active_sessions() == 0);
    CHECK(rig.recorder.last.reason == EndReason::client_rst);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a client that is gone before it is accepted does no harm", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts);
    rig.open();
    Peer& client = rig.add_client({.bytes = 100, .end = Script::End::silent});
    rig.kernel.advance(0s);
    REQUIRE(client.sent() == 100);
    client.reset_now();
    rig.kernel.advance(0s);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(rig.recorder.last.reason == EndReason::client_rst);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a backend that resets what it accepted resets the client", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts, {.end = Script::End::reset, .end_delay = GENERATE(0ms, 10ms)});
    rig.open();
    Peer& client = rig.add_client({.bytes = 5'000, .end = Script::End::silent});
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.error() == ECONNRESET);
    CHECK_FALSE(client.saw_end());
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: clients wait for descriptors, and need not knock again", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts, {.echo = true});
    rig.open();
    SECTION("none to accept with") { rig.kernel.options().max_descriptors = rig.baseline; }
    SECTION("none for the backend's socket") {
        rig.kernel.options().max_descriptors = rig.baseline + 1;
    }
    Peer& client = rig.add_client(asks);
    REQUIRE(rig.driver.run_for(500ms));
    CHECK(client.received() == 0);
    CHECK(rig.driver.turns() < 30);

    rig.kernel.options().max_descriptors = 1'000;
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(client.received() == 5'000);
    CHECK(client.saw_end());
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: who comes when there are enough is served when somebody leaves", "[sim][proxy]") {
    ProxyRig rig;
    rig.config.max_connections = 3;
    rig.add_backend(accepts, {.echo = true});
    rig.open();
    for (int i = 0; i < 12; ++i) rig.add_client({.bytes = 5'000, .end_delay = 100ms});
    std::size_t most = 0;
    REQUIRE(rig.driver.run_until([&] {
        most = std::max(most, rig.proxy->active_sessions());
        return rig.over() && rig.recorder.count == 12;
    }));
    CHECK(most == 3);
    for (const Peer& peer : rig.population.all()) CHECK(peer.saw_end());
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a descriptor's number may come back in the same turn", "[sim][proxy]") {
    sim::KernelOptions options;
    options.seed = GENERATE(range(1U, 40U));
    options.shuffle_events = true;
    ProxyRig rig{options};
    rig.add_backend(accepts_at_once, {.bytes = 500, .echo = true});
    rig.open();
    // At each tick some reset, some finish and some come, all in one batch of events.
    for (int tick = 0; tick < 10; ++tick) {
        rig.add_client({.bytes = 3'000, .end = Script::End::reset, .end_delay = 30ms}, tick * 10ms);
        rig.add_client({.bytes = 3'000, .end_delay = 20ms}, tick * 10ms);
        rig.add_client({.bytes = 3'000, .end = Script::End::close, .end_delay = 10ms}, tick * 10ms);
    }
    REQUIRE(rig.driver.run_until([&] { return rig.over() && rig.recorder.count == 30; }));
    sim::Problems problems;
    rig.population.check_completeness(problems);
    CHECK(sim::RelayRig::join_text(problems) == "");
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: draining serves who is there and nobody else", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts, {.echo = true});
    rig.open();
    Peer& early = rig.add_client({.bytes = 5'000, .end_delay = 2s});
    REQUIRE(rig.driver.run_for(1s));
    Peer& queued = rig.add_client(asks);
    rig.kernel.advance(0s);  // in the backlog, and not accepted yet

    std::size_t reset_sessions = 99;
    rig.proxy->drain(10s, [&](std::size_t count) { reset_sessions = count; });
    Peer& late = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return reset_sessions != 99; }));
    CHECK(reset_sessions == 0);
    CHECK(rig.proxy->active_sessions() == 0);
    REQUIRE(rig.driver.run_until([&] { return rig.population.over(); }));
    CHECK(early.received() == 5'000);
    CHECK(early.saw_end());
    CHECK(queued.received() == 5'000);
    CHECK(queued.saw_end());
    CHECK(late.error() == ECONNREFUSED);
}

TEST_CASE("proxy: draining resets who does not finish in time", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts, {.end = Script::End::silent});
    rig.open();
    Peer& client = rig.add_client({.bytes = 5'000, .end = Script::End::silent});
    REQUIRE(rig.driver.run_for(1s));
    const eplb::TimePoint start = rig.kernel.now();
    std::size_t reset_sessions = 0;
    rig.proxy->drain(10s, [&](std::size_t count) { reset_sessions = count; });
    REQUIRE(rig.driver.run_until([&] { return reset_sessions == 1; }));
    CHECK(rig.kernel.now() - start >= 10s);
    CHECK(rig.kernel.now() - start < 10100ms);
    CHECK(rig.recorder.last.reason == EndReason::drain);
    CHECK(rig.recorder.last_listener == "127.0.0.1:5555");
    REQUIRE(rig.driver.run_until([&] { return rig.population.over(); }));
    CHECK(client.error() == ECONNRESET);
    CHECK(rig.backends.at(0)->error() == ECONNRESET);
}

TEST_CASE("proxy: destroyed with sessions in every phase it leaves nothing open", "[sim][proxy]") {
    ProxyRig rig;
    rig.add_backend(accepts, {.bytes = 1'000'000});
    rig.add_backend(silent);
    rig.open();
    const std::size_t before = 2;  // the reactor's
    for (int i = 0; i < 6; ++i) rig.add_client({.bytes = 1'000'000, .reads = false});
    REQUIRE(rig.driver.run_for(500ms));
    CHECK(rig.proxy->active_sessions() == 6);
    rig.proxy.reset();
    CHECK(rig.recorder.count == 6);
    CHECK(rig.kernel.open_descriptors() == before);
    REQUIRE(rig.driver.run_until([&] { return rig.population.over(); }));
    CHECK(rig.kernel.violations().empty());
}

TEST_CASE(
    "proxy: a client for whose session there is no memory is reset, and the next one is served",
    "[sim][proxy]") {
    ProxyRig rig;
    rig.service.max_connections = 1;
    rig.config.max_connections = 1;
    rig.add_backend(accepts, answers);
    rig.open();
    Peer& unlucky = rig.add_client(asks);
    {
        const sim::ScarceMemory none{1, 1};
        REQUIRE(rig.driver.run_until([&] { return rig.recorder.count == 1 && rig.over(); }));
    }
    CHECK(unlucky.error() == ECONNRESET);
    CHECK(rig.recorder.last.reason == EndReason::local_error);
    Peer& next = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.recorder.count == 2 && rig.over(); }));
    CHECK(next.received() == 30'000);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: a client for whose failed attempt there is no memory is reset, and no other one",
          "[sim][proxy]") {
    ProxyRig rig;
    rig.service.max_connections = 2;
    rig.add_backend(accepts, {.bytes = 30'000, .write_gap = 1s});
    rig.add_backend(refuses);
    rig.open();
    Peer& lucky = rig.add_client(asks);
    REQUIRE(rig.driver.run_until([&] { return rig.backends.size() == 1; }));
    Peer& unlucky = rig.add_client(asks);
    {
        // Its session has room where the first one is.
        const sim::ScarceMemory none{1, 1};
        REQUIRE(rig.driver.run_until([&] { return rig.recorder.count == 1; }));
    }
    CHECK(rig.recorder.last.reason == EndReason::local_error);
    REQUIRE(rig.driver.run_until([&] { return rig.over(); }));
    CHECK(unlucky.error() == ECONNRESET);
    CHECK(lucky.received() == 30'000);
    CHECK(rig.check_rest() == "");
}

TEST_CASE("proxy: going over to another configuration comes to its end, though memory was scarce",
          "[sim][proxy]") {
    const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 150)));
    CAPTURE(seed);
    ProxyRig rig;
    rig.config.workers = 3;
    rig.add_backend(accepts, answers);
    rig.open();
    eplb::Config changed = rig.proxy->config();
    changed.services[0].name = "another name";
    changed.services[0].listen = {eplb::Address::parse("127.0.0.1:5556")};
    bool applied = false;
    rig.proxy->apply(changed, [&] { applied = true; });
    {
        const sim::ScarceMemory scarce{2, seed};
        const bool survived = rig.driver.run_for(1s);
        INFO(rig.driver.failure());
        REQUIRE(survived);
    }
    CHECK(rig.driver.run_until([&] { return applied; }));
    CHECK(rig.driver.failure().empty());
}
