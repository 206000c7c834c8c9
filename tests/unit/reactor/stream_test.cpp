#include "eplb/stream.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <utility>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::Stream;
using eplb::test::FunctionTask;
using eplb::test::Pair;
using Status = eplb::Stream::Status;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

// A stream, its task, and the other end in the hands of the test.
struct Fixture {
    explicit Fixture(Pair connection = eplb::test::tcp_pair())
        : pair{std::move(connection)}, stream{std::in_place, reactor, task, std::move(pair.near)} {
        turn();
    }

    bool turn() { return reactor.run_once(Duration{0}); }
    void peer_sends(std::string_view text) {
        REQUIRE(::send(pair.far.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(text.size()));
    }
    std::string peer_received() {
        std::array<char, 4096> text{};
        const ssize_t got = ::recv(pair.far.get(), text.data(), text.size(), MSG_DONTWAIT);
        if (got < 0) return errno == EAGAIN ? "nothing" : "error";
        return got == 0 ? "the end" : std::string{text.data(), static_cast<std::size_t>(got)};
    }
    // What receive() gave: the text, or else its status by name.
    std::string receive(std::size_t most = 100) {
        std::string text(most, '\0');
        const Stream::Result got = stream->receive(std::as_writable_bytes(std::span{text}));
        switch (got.status) {
        case Status::moved: return text.substr(0, got.bytes);
        case Status::blocked: return "<blocked>";
        case Status::ended: return "<ended>";
        case Status::failed: break;
        }
        return "<failed>";
    }

    // What peek() gave: the text, behind the status's name unless that is `moved`.
    std::string peek(std::size_t at_least = 1, std::size_t most = 100) {
        std::string text(most, '\0');
        const Stream::Result got = stream->peek(std::as_writable_bytes(std::span{text}), at_least);
        text.resize(got.bytes);
        switch (got.status) {
        case Status::moved: return text;
        case Status::blocked: return "<blocked>" + text;
        case Status::ended: return "<ended>" + text;
        case Status::failed: break;
        }
        return "<failed>";
    }

    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    Pair pair;
    std::optional<Stream> stream;
};

}  // namespace

TEST_CASE("stream: receives what was sent, and runs its task when there is more",
          "[reactor][stream]") {
    Fixture f;
    CHECK(f.receive() == "<blocked>");
    f.peer_sends("one");
    CHECK(f.receive() == "<blocked>");  // nobody has told of it yet
    CHECK(f.turn());
    CHECK(f.task.runs() == 2);
    CHECK(f.receive() == "one");
    CHECK(f.receive() == "<blocked>");
    f.peer_sends("two");
    CHECK(f.turn());
    CHECK(f.receive() == "two");
}

TEST_CASE("stream: what did not fit into the buffer is received without another event",
          "[reactor][stream]") {
    Fixture f;
    f.peer_sends("onetwothr");
    f.turn();
    CHECK(f.receive(3) == "one");
    CHECK(f.stream->watch().readable());
    CHECK(f.receive(3) == "two");
    CHECK(f.receive(3) == "thr");
    CHECK(f.stream->watch().readable());  // it may be all; only the kernel knows
    CHECK(f.receive(3) == "<blocked>");
    CHECK_FALSE(f.stream->watch().readable());
}

TEST_CASE("stream: of TCP a short read spares the one that would find nothing",
          "[reactor][stream]") {
    Fixture f;
    f.peer_sends("short");
    f.turn();
    CHECK(f.receive() == "short");
    CHECK_FALSE(f.stream->watch().readable());
}

TEST_CASE("stream: on a Unix socket a short read proves nothing", "[reactor][stream]") {
    Fixture f{eplb::test::unix_pair()};
    eplb::test::send_with_descriptor(f.pair.far, "first", STDIN_FILENO);
    f.peer_sends("second");
    f.turn();
    CHECK(f.receive() == "first");  // stops behind the descriptor
    CHECK(f.receive() == "second");
    CHECK(f.receive() == "<blocked>");
}

TEST_CASE("stream: what is peeked at is there to be received", "[reactor][stream]") {
    Fixture f;
    CHECK(f.peek() == "<blocked>");
    f.peer_sends("hello");
    CHECK(f.turn());
    CHECK(f.peek() == "hello");
    CHECK(f.peek() == "hello");
    CHECK(f.peek(1, 3) == "hel");
    CHECK(f.receive(2) == "he");
    CHECK(f.peek() == "llo");
    CHECK(f.receive() == "llo");
    CHECK(f.peek() == "<blocked>");
}

TEST_CASE("stream: a peek that wants more than has come runs the task when it has",
          "[reactor][stream]") {
    Fixture f;
    f.peer_sends("12");
    f.turn();
    CHECK(f.peek(4) == "<blocked>12");
    const int runs = f.task.runs();
    CHECK_FALSE(f.turn());  // not for what is known
    f.peer_sends("34");
    CHECK(f.turn());
    CHECK(f.task.runs() == runs + 1);
    CHECK(f.peek(4) == "1234");
    CHECK(f.peek(8, 4) == "1234");  // no more fits
}

TEST_CASE("stream: a peek tells the end although bytes are in front of it", "[reactor][stream]") {
    Fixture f;
    f.peer_sends("half a hello");
    ::shutdown(f.pair.far.get(), SHUT_WR);
    f.turn();
    CHECK(f.peek(100) == "<ended>half a hello");
    CHECK(f.peek(5) == "half a hello");
    CHECK(f.receive() == "half a hello");
    CHECK(f.peek() == "<ended>");
}

TEST_CASE("stream: a peek at what is broken says so", "[reactor][stream]") {
    Fixture f;
    eplb::test::reset_connection(std::move(f.pair.far));
    f.turn();
    CHECK(f.peek() == "<failed>");
    CHECK(f.peek() == "<failed>");
}

TEST_CASE("stream: the end of the stream comes behind the last byte, again and again",
          "[reactor][stream]") {
    Fixture f;
    f.peer_sends("last");
    ::shutdown(f.pair.far.get(), SHUT_WR);
    f.turn();
    CHECK(f.receive() == "last");
    CHECK(f.receive() == "<ended>");
    CHECK(f.receive() == "<ended>");
    const Stream::Result sent = f.stream->send(bytes_of("answer"));
    CHECK(sent.status == Status::moved);
    CHECK(f.peer_received() == "answer");
}

TEST_CASE("stream: a reset is a failure of reading, and of writing", "[reactor][stream]") {
    Fixture f;
    eplb::test::reset_connection(std::move(f.pair.far));
    f.turn();
    SECTION("reading") {
        std::array<std::byte, 10> buffer{};
        const Stream::Result got = f.stream->receive(buffer);
        CHECK(got.status == Status::failed);
        CHECK(got.error == ECONNRESET);
        CHECK(f.receive() == "<failed>");  // a cut stream is never a whole one
    }
    SECTION("writing, and no SIGPIPE is raised") {
        const Stream::Result sent = f.stream->send(bytes_of("x"));
        CHECK(sent.status == Status::failed);
        CHECK((sent.error == ECONNRESET || sent.error == EPIPE));
        // The kernel has told of it once, and says "end of stream" from now on.
        CHECK(f.receive() == "<failed>");
    }
}

TEST_CASE("stream: a peer that does not read stops it, and starts it again", "[reactor][stream]") {
    Fixture f;
    const std::string chunk(100'000, 'x');
    std::size_t sent_bytes = 0;
    for (;;) {
        const Stream::Result sent = f.stream->send(bytes_of(chunk));
        if (sent.status == Status::blocked) break;
        REQUIRE(sent.status == Status::moved);
        sent_bytes += sent.bytes;
        REQUIRE(sent_bytes < 100'000'000);
    }
    CHECK_FALSE(f.stream->watch().writable());
    f.turn();
    const int runs = f.task.runs();
    std::size_t received_bytes = 0;
    while (received_bytes < sent_bytes) {
        std::string text(chunk.size(), '\0');
        const ssize_t got = ::recv(f.pair.far.get(), text.data(), text.size(), 0);
        if (got > 0) received_bytes += static_cast<std::size_t>(got);
        REQUIRE((got > 0 || errno == EAGAIN));
    }
    while (!f.stream->watch().writable()) f.reactor.run_once(5s);
    CHECK(f.task.runs() > runs);
    CHECK(f.stream->send(bytes_of("more")).status == Status::moved);
    CHECK(f.peer_received() == "more");
}

TEST_CASE("stream: finish tells the peer the end, and receiving goes on", "[reactor][stream]") {
    Fixture f;
    CHECK(f.stream->send(bytes_of("bye")).status == Status::moved);
    f.stream->finish();
    CHECK(f.peer_received() == "bye");
    CHECK(f.peer_received() == "the end");
    f.peer_sends("still here");
    f.turn();
    CHECK(f.receive() == "still here");
}

TEST_CASE("stream: closing ends the connection, or resets it if that is wanted",
          "[reactor][stream]") {
    Fixture f;
    SECTION("ends") {
        f.stream.reset();
        CHECK(f.peer_received() == "the end");
    }
    SECTION("resets") {
        f.stream->reset_on_close();
        f.stream.reset();
        CHECK(f.peer_received() == "error");
    }
}

TEST_CASE("stream: release gives the open socket up, and watches it no longer",
          "[reactor][stream]") {
    Fixture f;
    const Fd socket = f.stream->release();
    CHECK(socket.valid());
    CHECK_FALSE(f.stream->socket().valid());
    f.peer_sends("for somebody else");
    CHECK_FALSE(f.turn());
    f.stream.reset();
    std::array<char, 100> text{};
    CHECK(::recv(socket.get(), text.data(), text.size(), 0) == 17);
}

TEST_CASE("stream: what cannot be watched throws, and is closed", "[reactor][stream]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        ManualClock clock;
        Reactor reactor{clock};
        FunctionTask task;
        CHECK_THROWS_AS((Stream{reactor, task, Fd{}}), std::system_error);
        CHECK_THROWS_AS((Stream{reactor, task, Fd{::memfd_create("not a socket", MFD_CLOEXEC)}}),
                        std::system_error);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("stream: is as small as it says", "[reactor][stream]") { CHECK(sizeof(Stream) == 32); }
