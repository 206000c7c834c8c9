#include "eplb/flow.hpp"

#include "eplb/descriptor_budget.hpp"
#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"
#include "support/relay_fixture.hpp"

#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

using eplb::DescriptorBudget;
using eplb::Duration;
using eplb::Flow;
using eplb::ManualClock;
using eplb::Next;
using eplb::PipePool;
using eplb::Reactor;
using eplb::RelayContext;
using eplb::RelayMode;
using eplb::Watch;
using eplb::test::all_relay_modes;
using eplb::test::Bytes;
using eplb::test::FunctionTask;
using eplb::test::Loop;
using eplb::test::Pair;
using eplb::test::PairOptions;
using eplb::test::pattern;
using eplb::test::Peer;
using State = eplb::Flow::State;

namespace {

struct Options {
    RelayContext::Options context;
    PairOptions source;         ///< near is the sender, far the flow's source
    PairOptions destination;    ///< near is the flow's destination, far the receiver
    bool unix_sockets = false;  ///< instead of TCP; then short reads are not trusted
    DescriptorBudget* budget = nullptr;
};

Options with_mode(RelayMode mode) {
    Options options;
    options.context.mode = mode;
    return options;
}

// sender -TCP-> flow -TCP-> receiver
class Fixture {
public:
    explicit Fixture(RelayMode mode) : Fixture{with_mode(mode)} {}
    explicit Fixture(Options options)
        : context{std::move(options.context), options.budget},
          in{options.unix_sockets ? eplb::test::unix_pair() : eplb::test::tcp_pair(options.source)},
          out{options.unix_sockets ? eplb::test::unix_pair()
                                   : eplb::test::tcp_pair(options.destination)} {
        sender = Peer{std::move(in.near)};
        receiver = Peer{std::move(out.far)};
        task.set([this] {
            if (flow.over()) return Next::wait;
            state = flow.pump(budget);
            ++pumps;
            return state == State::runnable ? Next::again : Next::wait;
        });
        if (source.attach(in.far.get()) != 0 || destination.attach(out.near.get()) != 0) {
            throw std::runtime_error{"cannot watch"};
        }
        if (!options.unix_sockets) flow.trust_short_reads();
        loop.add(sender);
        loop.add(receiver);
    }

    [[nodiscard]] PipePool::Stats pipes() { return context.pipes().stats(); }

    ManualClock clock;
    Reactor reactor{clock};
    Loop loop{reactor};
    RelayContext context;
    Pair in;
    Pair out;
    FunctionTask task;
    Watch source{reactor, task};
    Watch destination{reactor, task};
    Flow flow{source, destination, context};
    Peer sender;
    Peer receiver;
    std::size_t budget = std::size_t{256} * 1024;
    State state = State::blocked;
    int pumps = 0;
};

Options between_unix_sockets(RelayMode mode) {
    Options options = with_mode(mode);
    options.unix_sockets = true;
    return options;
}

// A destination that holds little, so that bytes get stuck soon.
Options narrow(RelayMode mode) {
    Options options = with_mode(mode);
    options.destination.near_send_buffer = 4096;
    options.destination.far_receive_buffer = 4096;
    return options;
}

}  // namespace

TEST_CASE("flow: every byte arrives, and the end of the stream behind them", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    // Around the sizes of pages, the scratch buffer, pipes, and what all of the buffers hold
    // together.
    const std::size_t size = GENERATE(as<std::size_t>{}, 0, 1, 2, 4095, 4096, 4097, 65535, 65536,
                                      65537, 131'072, 262'143, 262'144, 262'145, 3'000'001);
    CAPTURE(mode, size);
    Fixture f{mode};
    f.sender.send(pattern(size));
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.finished());
    CHECK(f.receiver.received() == pattern(size));
    CHECK(f.flow.state() == State::finished);
    CHECK(f.flow.over());
    CHECK(f.flow.bytes_moved() == size);
    CHECK(f.flow.error() == 0);
    CHECK(f.pipes().lent == 0);
}

TEST_CASE("flow: a stream of small messages arrives unchanged", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    Bytes expected;
    for (std::size_t i = 0; i < 200; ++i) {
        const Bytes message = pattern(i * 37 % 5000 + 1, i);
        f.sender.send(message);
        expected.append(message.view());
        f.loop.turn();
    }
    CHECK(f.loop.until([&] { return f.receiver.received().size() == expected.size(); }));
    CHECK(f.receiver.received() == expected);
    CHECK_FALSE(f.flow.over());
}

TEST_CASE("flow: a drained source is blocked, and holds neither a pipe nor the reactor",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.sender.send(pattern(300'000));
    REQUIRE(f.loop.until([&] { return f.receiver.received().size() == 300'000; }));
    REQUIRE(f.loop.settle());
    CHECK(f.flow.state() == State::blocked);
    CHECK_FALSE(f.source.readable());
    CHECK(f.destination.writable());
    CHECK(f.pipes().lent == 0);
    const int pumps = f.pumps;
    CHECK_FALSE(f.loop.turn());
    CHECK(f.pumps == pumps);
}

TEST_CASE("flow: bytes left in the socket survive a full pipe", "[proxy][flow]") {
    // One page of pipe, which is one slot, against a stalled destination.
    Options options = narrow(RelayMode::splice);
    options.context.pipe_bytes = 4096;
    Fixture f{std::move(options)};
    f.receiver.hold();
    f.sender.send(pattern(1'000'000));
    REQUIRE(f.loop.settle());
    CHECK(f.flow.state() == State::blocked);
    CHECK_FALSE(f.destination.writable());

    f.receiver.resume();
    REQUIRE(f.loop.until([&] { return f.receiver.received().size() == 1'000'000; }));
    CHECK(f.receiver.received() == pattern(1'000'000));
}

TEST_CASE("flow: small segments that fill a pipe's slots long before its bytes all arrive",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Options options = narrow(mode);
    options.context.pipe_bytes = 64 * 1024;
    options.source.max_segment = 100;
    options.destination.max_segment = 100;
    Fixture f{std::move(options)};
    f.receiver.hold();
    Bytes expected;
    for (std::size_t i = 0; i < 1000; ++i) {
        const Bytes segment = pattern(100, i);
        f.sender.send(segment);
        expected.append(segment.view());
        if (i % 50 == 0) f.loop.turn();
    }
    f.sender.half_close();
    REQUIRE(f.loop.settle());
    f.receiver.resume();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.received() == expected);
    CHECK(f.receiver.finished());
}

TEST_CASE("flow: a reader that takes a few bytes at a time gets them all", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{narrow(mode)};
    const std::size_t size = 60'000;
    f.sender.send(pattern(size));
    f.sender.half_close();
    f.receiver.hold();
    std::size_t grants = 0;
    while (!f.receiver.over() && grants < 2000) {
        f.receiver.read_at_most(97);
        const std::size_t before = f.receiver.received_bytes();
        REQUIRE(f.loop.until(
            [&] { return f.receiver.over() || f.receiver.received_bytes() > before; }));
        ++grants;
    }
    CHECK(f.receiver.finished());
    CHECK(f.receiver.received() == pattern(size));
}

TEST_CASE("flow: the end of the stream does not overtake bytes that are stuck", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{narrow(mode)};
    f.receiver.hold();
    f.sender.send(pattern(500'000));
    f.sender.half_close();
    REQUIRE(f.loop.settle());
    CHECK(f.flow.state() == State::blocked);
    CHECK_FALSE(f.flow.over());
    CHECK(f.flow.bytes_moved() < 500'000);

    f.receiver.resume();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.received() == pattern(500'000));
    CHECK(f.receiver.finished());
    CHECK(f.flow.state() == State::finished);
}

TEST_CASE("flow: a stalled destination stalls the source, and memory stays bounded",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Options options = narrow(mode);
    options.source.near_send_buffer = 4096;
    options.source.far_receive_buffer = 4096;
    Fixture f{std::move(options)};
    f.receiver.hold();
    f.sender.send(pattern(2'000'000));
    REQUIRE(f.loop.settle());
    // What left the sender is in socket buffers, one pipe or one scratch buffer.
    CHECK(f.sender.sent_bytes() < 1'000'000);
    CHECK(f.sender.unsent() > 0);
    CHECK_FALSE(f.loop.turn());
}

TEST_CASE("flow: with a budget it stops when that is spent, and says that there is more",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Options options = with_mode(mode);
    options.context.pipe_bytes = 64 * 1024;
    options.source.far_receive_buffer = 200'000;
    Fixture f{std::move(options)};
    f.loop.turn();

    constexpr std::size_t size = 140'000;
    f.sender.send(pattern(size));
    // All of it must have arrived at the source before the flow gets its turn.
    for (int i = 0; i < 1000 && eplb::test::readable_bytes(f.in.far) < size; ++i) f.sender.act();
    REQUIRE(eplb::test::readable_bytes(f.in.far) == size);

    f.budget = 50'000;
    f.reactor.run_once(Duration{0});
    CHECK(f.state == State::runnable);
    CHECK(f.source.readable());
    CHECK(f.flow.bytes_moved() >= 50'000);
    // It overshoots by one pipeful or one scratch buffer.
    CHECK(f.flow.bytes_moved() <= 50'000 + 64 * 1024);

    CHECK(f.loop.until([&] { return f.receiver.received().size() == size; }));
    CHECK(f.receiver.received() == pattern(size));
}

TEST_CASE("flow: with no budget at all it moves nothing and says that there is more",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.sender.send("hello");
    f.budget = 0;
    f.reactor.run_once(Duration{0});
    CHECK(f.state == State::runnable);
    CHECK(f.flow.bytes_moved() == 0);
    f.budget = 100'000;
    f.reactor.run_once(Duration{0});
    CHECK(f.state == State::blocked);
    CHECK(f.flow.bytes_moved() == 5);
}

TEST_CASE("flow: urgent data does not wedge the stream", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    std::string before;
    std::string after;
    SECTION("first") { after = "after"; }
    SECTION("in the middle") {
        before = "before";
        after = "after";
    }
    SECTION("last") { before = "before"; }
    SECTION("alone") {}
    SECTION("behind bulk") {
        before = std::string{pattern(200'000).view()};
        after = "after";
    }
    SECTION("before bulk") { after = std::string{pattern(200'000).view()}; }

    f.sender.send(before);
    REQUIRE(f.loop.until([&] { return f.sender.unsent() == 0; }));
    f.sender.send_urgent('!');
    f.sender.send(after);
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.finished());
    CHECK(f.receiver.received() == Bytes{before + after});
}

TEST_CASE(
    "flow: urgent data that arrives together with what is around it does not wedge the stream",
    "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.loop.turn();
    f.sender.send("before");
    f.sender.send_urgent('!');
    f.sender.send("between");
    f.sender.send_urgent('?');
    f.sender.send("after");
    REQUIRE(f.loop.settle());
    // Only the latest urgent byte is out of band; an earlier one becomes part of the stream,
    // tcp(7).
    const Bytes& got = f.receiver.received();
    CHECK((got == "before!betweenafter" || got == "beforebetweenafter"));
    f.sender.send("more");
    REQUIRE(f.loop.settle());
    CHECK(f.receiver.received().view().ends_with("aftermore"));
}

TEST_CASE("flow: of a reset source, what it sent before arrives, and then it is a failure",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    const std::size_t size = GENERATE(as<std::size_t>{}, 0, 1, 5000, 65536, 100'000);
    CAPTURE(mode, size);
    Fixture f{mode};
    f.loop.turn();
    f.sender.send(pattern(size));
    REQUIRE(f.sender.unsent() == 0);
    // All of it must have reached the source: a reset drops what has not.
    REQUIRE(f.loop.until(
        [&] { return f.flow.bytes_moved() + eplb::test::readable_bytes(f.in.far) >= size; }));
    f.sender.reset();
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::source_failed);
    CHECK(f.flow.error() == ECONNRESET);
    REQUIRE(f.loop.settle());
    CHECK(f.receiver.received() == pattern(size));
    CHECK_FALSE(f.receiver.finished());  // the end of a cut stream is not passed on as a FIN
    CHECK(f.pipes().lent == 0);
}

TEST_CASE("flow: a reset behind a byte that came in the same instant is not lost",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.loop.turn();
    // Both before the flow gets its next turn: one event with everything in it.
    f.sender.send(pattern(5000));
    f.sender.reset();
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::source_failed);
    CHECK(f.flow.error() == ECONNRESET);
    REQUIRE(f.loop.settle());
    CHECK(f.receiver.received() == pattern(5000));
}

TEST_CASE("flow: a source that is reset while its bytes are stuck fails only behind them",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{narrow(mode)};
    f.receiver.hold();
    f.sender.send(pattern(100'000));
    REQUIRE(f.loop.until([&] {
        return f.sender.unsent() == 0 &&
               f.flow.bytes_moved() + eplb::test::readable_bytes(f.in.far) > 0;
    }));
    REQUIRE(f.loop.settle());
    f.sender.reset();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.flow.over());

    f.receiver.resume();
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::source_failed);
    CHECK(f.flow.error() == ECONNRESET);
    REQUIRE(f.loop.settle());
    CHECK(f.receiver.received() == pattern(100'000));
}

TEST_CASE("flow: a source that is known to be broken does not end cleanly", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.loop.turn();
    f.sender.send("tail");
    f.sender.half_close();
    f.flow.source_is_broken(ECONNRESET);
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::source_failed);
    CHECK(f.flow.error() == ECONNRESET);
    REQUIRE(f.loop.settle());
    CHECK(f.receiver.received() == "tail");
    CHECK_FALSE(f.receiver.finished());
}

TEST_CASE("flow: a reset destination is a failure, and its pipe is not used again",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{narrow(mode)};
    f.receiver.hold();
    f.sender.send(pattern(1'000'000));
    REQUIRE(f.loop.settle());
    f.receiver.reset();
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::destination_failed);
    CHECK((f.flow.error() == ECONNRESET || f.flow.error() == EPIPE));
    CHECK(f.pipes().lent == 0);
    CHECK(f.pipes().open == f.pipes().created - f.pipes().discarded);
    if (mode == RelayMode::splice) CHECK(f.pipes().discarded == 1);
}

TEST_CASE(
    "flow: a destination that was reset before there was anything to write fails with the first byte",
    "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{mode};
    f.receiver.reset();
    REQUIRE(f.loop.settle());
    CHECK_FALSE(f.flow.over());
    f.sender.send(pattern(100));
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.state() == State::destination_failed);
    CHECK(f.flow.bytes_moved() == 0);
}

TEST_CASE("flow: once over, it stays as it is", "[proxy][flow]") {
    Fixture f{RelayMode::automatic};
    f.sender.send("x");
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.flow.over(); }));
    CHECK(f.flow.pump(1000) == State::finished);
    f.flow.source_is_broken(ECONNRESET);
    CHECK(f.flow.pump(1000) == State::finished);
    CHECK(f.flow.bytes_moved() == 1);
}

TEST_CASE("flow: in copy mode no pipe is ever made", "[proxy][flow]") {
    Fixture f{RelayMode::copy};
    CHECK_FALSE(f.context.may_splice());
    f.sender.send(pattern(1'000'000));
    REQUIRE(f.loop.until([&] { return f.receiver.received().size() == 1'000'000; }));
    CHECK(f.pipes().created == 0);
}

TEST_CASE("flow: in splice mode even one byte goes through a pipe", "[proxy][flow]") {
    Fixture f{RelayMode::splice};
    f.sender.send("x");
    REQUIRE(f.loop.until([&] { return f.receiver.received().size() == 1; }));
    CHECK(f.pipes().created == 1);
}

TEST_CASE("flow: in automatic mode small messages are copied and bulk is spliced",
          "[proxy][flow]") {
    Fixture f{RelayMode::automatic};
    std::size_t sent = 0;
    const auto send = [&](std::size_t size) {
        f.sender.send(pattern(size));
        sent += size;
        REQUIRE(f.loop.until([&] { return f.receiver.received_bytes() == sent; }));
        REQUIRE(f.loop.settle());
    };

    for (int i = 0; i < 20; ++i) send(1000);
    CHECK(f.pipes().created == 0);

    send(4'000'000);
    const auto created_in_bulk = f.pipes().created;
    CHECK(created_in_bulk > 0);
    CHECK(f.pipes().lent == 0);

    // Back again: after a few small ones, no pipe is asked for any more.
    for (int i = 0; i < 20; ++i) send(1000);
    f.context.pipes().trim();
    for (int i = 0; i < 20; ++i) send(1000);
    CHECK(f.pipes().created == created_in_bulk);
    CHECK(f.pipes().open == 0);

    send(4'000'000);
    CHECK(f.pipes().created > created_in_bulk);
}

TEST_CASE("flow: without a pipe to be had it copies", "[proxy][flow]") {
    const RelayMode mode = GENERATE(RelayMode::automatic, RelayMode::splice);
    CAPTURE(mode);
    DescriptorBudget nothing{0};
    Options options = with_mode(mode);
    options.budget = &nothing;
    Fixture f{std::move(options)};
    f.sender.send(pattern(2'000'000));
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.received() == pattern(2'000'000));
    CHECK(f.pipes().created == 0);
    CHECK(f.pipes().unavailable > 0);
    CHECK(f.context.may_splice());
}

TEST_CASE("flow: in automatic mode a pipe too small to be useful is not used", "[proxy][flow]") {
    Options options = with_mode(RelayMode::automatic);
    options.context.pipe_bytes = 4096;
    Fixture f{std::move(options)};
    f.sender.send(pattern(2'000'000));
    REQUIRE(f.loop.until([&] { return f.receiver.received().size() == 2'000'000; }));
    CHECK(f.receiver.received() == pattern(2'000'000));
    CHECK(f.pipes().lent == 0);
    CHECK(f.pipes().degraded > 0);
}

TEST_CASE("flow: a destination that cannot be spliced into gets the bytes by copy",
          "[proxy][flow]") {
    const RelayMode mode = GENERATE(RelayMode::automatic, RelayMode::splice);
    CAPTURE(mode);
    std::vector<int> told;
    Options options = with_mode(mode);
    options.context.on_splice_refused = [&](int error) { told.push_back(error); };
    Fixture f{std::move(options)};
    // splice(2) refuses a descriptor in append mode: it notices when the bytes are in the pipe
    // already.
    REQUIRE(::fcntl(f.out.near.get(), F_SETFL, O_NONBLOCK | O_APPEND) == 0);
    f.sender.send(pattern(2'000'000));
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.finished());
    CHECK(f.receiver.received() == pattern(2'000'000));
    CHECK(told == std::vector{EINVAL});
    CHECK(f.context.may_splice());  // it was this flow's socket, not the process
    CHECK(f.pipes().lent == 0);
}

TEST_CASE("flow: a slow destination that cannot be spliced into loses nothing", "[proxy][flow]") {
    Options options = narrow(RelayMode::splice);
    options.context.scratch_bytes = 1000;  // less than is in the pipe when it is fetched back
    Fixture f{std::move(options)};
    REQUIRE(::fcntl(f.out.near.get(), F_SETFL, O_NONBLOCK | O_APPEND) == 0);
    f.receiver.hold();
    f.sender.send(pattern(300'000));
    f.sender.half_close();
    REQUIRE(f.loop.settle());
    f.receiver.resume();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.received() == pattern(300'000));
}

TEST_CASE("flow: where splice(2) is forbidden it copies, and says so once", "[proxy][flow]") {
    const int error = GENERATE(EPERM, ENOSYS, EINVAL);
    const RelayMode mode = GENERATE(RelayMode::automatic, RelayMode::splice);
    CAPTURE(error, mode);
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([&]() -> int {
        std::vector<int> told;
        Options options = with_mode(mode);
        options.context.on_splice_refused = [&](int why) { told.push_back(why); };
        Fixture f{std::move(options)};
        Pair second_in = eplb::test::tcp_pair();
        Pair second_out = eplb::test::tcp_pair();
        if (!eplb::test::deny_splice(error)) return cannot_try;

        f.sender.send(pattern(2'000'000));
        f.sender.half_close();
        if (!f.loop.until([&] { return f.receiver.over(); })) return 1;
        if (!(f.receiver.received() == pattern(2'000'000))) return 2;
        if (told != std::vector{error}) return 3;
        if (f.context.may_splice() != (error == EINVAL)) return 4;
        if (f.pipes().lent != 0) return 5;

        // A second flow of the same context: it works, and nobody is told again.
        Peer sender{std::move(second_in.near)};
        Peer receiver{std::move(second_out.far)};
        FunctionTask task;
        Watch source{f.reactor, task};
        Watch destination{f.reactor, task};
        Flow flow{source, destination, f.context};
        task.set(
            [&] { return flow.pump(1'000'000) == State::runnable ? Next::again : Next::wait; });
        if (source.attach(second_in.far.get()) != 0) return 6;
        if (destination.attach(second_out.near.get()) != 0) return 6;
        f.loop.add(sender);
        f.loop.add(receiver);
        sender.send(pattern(2'000'000, 2));
        if (!f.loop.until([&] { return receiver.received_bytes() == 2'000'000; })) return 7;
        if (!(receiver.received() == pattern(2'000'000, 2))) return 8;
        if (told.size() != 1) return 9;
        return fine;
    });
    if (code == cannot_try) EPLB_SKIP("this kernel does not let us forbid system calls");
    CHECK(code == fine);
}

TEST_CASE("flow: splice(2) that is forbidden in the middle of a stream costs no byte",
          "[proxy][flow]") {
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([]() -> int {
        Fixture f{narrow(RelayMode::splice)};
        f.receiver.hold();
        f.sender.send(pattern(1'000'000));
        if (!f.loop.settle()) return 1;
        if (f.pipes().lent != 1) return 2;  // bytes are in a pipe now
        if (!eplb::test::deny_splice(EPERM)) return cannot_try;
        f.sender.half_close();
        f.receiver.resume();
        if (!f.loop.until([&] { return f.receiver.over(); })) return 3;
        if (!f.receiver.finished()) return 4;
        return f.receiver.received() == pattern(1'000'000) ? fine : 5;
    });
    if (code == cannot_try) EPLB_SKIP("this kernel does not let us forbid system calls");
    CHECK(code == fine);
}

TEST_CASE("flow: a splice(2) that only ever says EAGAIN does not stall the stream",
          "[proxy][flow]") {
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([]() -> int {
        Fixture f{RelayMode::splice};
        if (!eplb::test::deny_splice(EAGAIN, f.in.far.get())) return cannot_try;
        f.sender.send(pattern(1'000'000));
        f.sender.half_close();
        if (!f.loop.until([&] { return f.receiver.over(); })) return 1;
        return f.receiver.received() == pattern(1'000'000) ? fine : 2;
    });
    if (code == cannot_try) EPLB_SKIP("this kernel does not let us forbid system calls");
    CHECK(code == fine);
}

TEST_CASE("flow: a lack of kernel memory for splice(2) is passed over by copying",
          "[proxy][flow]") {
    const int error = GENERATE(ENOMEM, ENOBUFS);
    CAPTURE(error);
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([&]() -> int {
        Fixture f{RelayMode::splice};
        if (!eplb::test::deny_splice(error)) return cannot_try;
        f.sender.send(pattern(1'000'000));
        f.sender.half_close();
        if (!f.loop.until([&] { return f.receiver.over(); })) return 1;
        if (!f.context.may_splice()) return 2;
        return f.receiver.received() == pattern(1'000'000) ? fine : 3;
    });
    if (code == cannot_try) EPLB_SKIP("this kernel does not let us forbid system calls");
    CHECK(code == fine);
}

TEST_CASE("flow: works between Unix sockets", "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    Fixture f{between_unix_sockets(mode)};
    f.budget = 100'000;
    f.sender.send(pattern(1'000'000));
    f.sender.half_close();
    REQUIRE(f.loop.until([&] { return f.receiver.over(); }));
    CHECK(f.receiver.finished());
    CHECK(f.receiver.received() == pattern(1'000'000));
}

TEST_CASE(
    "flow: on a Unix socket a read that stops at a passed descriptor does not stop the stream",
    "[proxy][flow]") {
    const RelayMode mode = GENERATE(values(all_relay_modes));
    CAPTURE(mode);
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f{between_unix_sockets(mode)};
        f.budget = 100'000;
        eplb::test::send_with_descriptor(f.sender.socket(), "first", STDIN_FILENO);
        f.sender.send("second");
        REQUIRE(f.loop.settle());
        CHECK(f.receiver.received() == "firstsecond");  // the descriptor itself is dropped
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("flow: leaves no descriptor behind, however it ends", "[proxy][flow]") {
    const eplb::test::DescriptorCheck descriptors;
    for (const RelayMode mode : all_relay_modes) {
        for (int end = 0; end < 4; ++end) {
            Fixture f{narrow(mode)};
            f.receiver.hold();
            f.sender.send(pattern(500'000));
            REQUIRE(f.loop.settle());
            if (end == 1) f.sender.reset();
            if (end == 2) f.receiver.reset();
            if (end == 3) f.sender.half_close();
            REQUIRE(f.loop.settle());
        }
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("relay context: offers a scratch buffer of the size asked for", "[proxy][flow]") {
    RelayContext::Options options;
    options.scratch_bytes = 12345;
    options.turn_bytes = 777;
    RelayContext context{std::move(options)};
    CHECK(context.scratch().size() == 12345);
    CHECK(context.turn_bytes() == 777);
    CHECK(context.mode() == RelayMode::automatic);
    CHECK(context.may_splice());
}

TEST_CASE("relay context: sizes with which nothing could move are refused", "[proxy][flow]") {
    RelayContext::Options options;
    SECTION("nothing would be received, and look like the end of the stream") {
        options.scratch_bytes = 0;
        CHECK_THROWS_AS(RelayContext(options), std::invalid_argument);
        CHECK_THROWS_WITH(RelayContext(options), "scratch_bytes has to be above zero");
    }
    SECTION("a turn would never be long enough") {
        options.turn_bytes = 0;
        CHECK_THROWS_AS(RelayContext(options), std::invalid_argument);
        CHECK_THROWS_WITH(RelayContext(options), "turn_bytes has to be above zero");
    }
    SECTION("one byte is enough") {
        options.scratch_bytes = options.turn_bytes = 1;
        options.pipe_bytes = 0;  // a page, then
        CHECK_NOTHROW(RelayContext(options));
    }
}

TEST_CASE("relay context: a refusal is told once; only a denial is for good", "[proxy][flow]") {
    std::vector<int> told;
    RelayContext::Options options;
    options.on_splice_refused = [&](int error) { told.push_back(error); };
    RelayContext context{std::move(options)};
    context.splice_refused(EINVAL);
    CHECK(context.may_splice());
    context.splice_refused(EPERM);
    CHECK_FALSE(context.may_splice());
    CHECK(told == std::vector{EINVAL});

    RelayContext silent{RelayContext::Options{}};
    silent.splice_refused(ENOSYS);
    CHECK_FALSE(silent.may_splice());
}
