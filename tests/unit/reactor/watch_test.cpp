#include "eplb/watch.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::Watch;
using eplb::test::FunctionTask;
using eplb::test::Pair;
using eplb::test::tcp_pair;

namespace {

struct Fixture {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    Pair pair = tcp_pair();
    Watch watch{reactor, task};

    bool turn() { return reactor.run_once(Duration{0}); }
    void attach() {
        REQUIRE(watch.attach(pair.near.get()) == 0);
        turn();
    }
    void write(const char* text = "x") const {
        REQUIRE(::send(pair.far.get(), text, 1, MSG_NOSIGNAL) == 1);
    }
};

}  // namespace

static_assert(sizeof(Watch) <= 24);

TEST_CASE("watch: knows nothing before it is attached", "[reactor][watch]") {
    const Fixture f;
    CHECK_FALSE(f.watch.attached());
    CHECK(f.watch.fd() == -1);
    CHECK_FALSE(f.watch.readable());
    CHECK_FALSE(f.watch.writable());
    CHECK_FALSE(f.watch.hung_up());
}

TEST_CASE("watch: the state that a descriptor is in already is reported in the next turn",
          "[reactor][watch]") {
    Fixture f;
    f.write();
    REQUIRE(f.watch.attach(f.pair.near.get()) == 0);
    CHECK(f.watch.attached());
    CHECK(f.watch.fd() == f.pair.near.get());
    CHECK_FALSE(f.watch.readable());
    CHECK(f.turn());
    CHECK(f.task.runs() == 1);
    CHECK(f.watch.readable());
    CHECK(f.watch.writable());
    CHECK_FALSE(f.watch.hung_up());
    CHECK_FALSE(f.watch.failed());
    CHECK_FALSE(f.watch.urgent());
}

TEST_CASE("watch: readiness is told once and remembered until it is proved stale",
          "[reactor][watch]") {
    Fixture f;
    f.attach();
    CHECK(f.task.runs() == 1);
    f.write();
    CHECK(f.turn());
    CHECK(f.task.runs() == 2);
    CHECK(f.watch.readable());

    CHECK_FALSE(f.turn());  // nothing new
    CHECK(f.watch.readable());

    char byte = 0;
    REQUIRE(::recv(f.pair.near.get(), &byte, 1, 0) == 1);
    f.watch.clear_readable();
    CHECK_FALSE(f.watch.readable());
    CHECK(f.watch.writable());
    CHECK_FALSE(f.turn());
    f.write();
    CHECK(f.turn());
    CHECK(f.watch.readable());
}

TEST_CASE("watch: a destination that drains turns writable again", "[reactor][watch]") {
    Fixture f;
    f.attach();
    const std::string chunk(65536, 'x');
    std::size_t sent = 0;
    for (;;) {
        const ssize_t n = ::send(f.pair.near.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
        if (n < 0) break;
        sent += static_cast<std::size_t>(n);
    }
    REQUIRE(errno == EAGAIN);
    f.watch.clear_writable();
    CHECK_FALSE(f.watch.writable());

    std::string sink(1 << 20, ' ');
    std::size_t received = 0;
    while (received < sent) {
        const ssize_t n = ::recv(f.pair.far.get(), sink.data(), sink.size(), 0);
        if (n > 0) received += static_cast<std::size_t>(n);
        f.turn();
    }
    f.turn();
    CHECK(f.watch.writable());
}

TEST_CASE("watch: FIN of the peer is a hang-up that can be read, and no failure",
          "[reactor][watch]") {
    Fixture f;
    f.attach();
    REQUIRE(::shutdown(f.pair.far.get(), SHUT_WR) == 0);
    CHECK(f.turn());
    CHECK(f.watch.hung_up());
    CHECK(f.watch.readable());
    CHECK_FALSE(f.watch.failed());

    f.watch.clear_readable();
    CHECK_FALSE(f.watch.readable());
    CHECK(f.watch.hung_up());  // never cleared
}

TEST_CASE("watch: a reset is a failure that reading and writing will find", "[reactor][watch]") {
    Fixture f;
    f.attach();
    f.watch.clear_readable();
    f.watch.clear_writable();
    eplb::test::reset_connection(std::move(f.pair.far));
    CHECK(f.turn());
    CHECK(f.watch.failed());
    CHECK(f.watch.hung_up());
    CHECK(f.watch.readable());
    CHECK(f.watch.writable());
}

TEST_CASE("watch: a refused connection fails and is writable", "[reactor][watch]") {
    Fixture f;
    const eplb::test::RefusingPort port;
    sockaddr_storage raw{};
    const socklen_t length = port.address.to_sockaddr(raw);
    const Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0);
    REQUIRE(f.watch.attach(fd.get()) == 0);
    CHECK(f.turn());
    CHECK(f.watch.failed());
    CHECK(f.watch.writable());
    f.watch.detach();
}

TEST_CASE("watch: a hang-up or a failure alone makes the owner try to read and to write",
          "[reactor][watch]") {
    // Sockets say that they can be read and written too. A pipe does not: EPOLLHUP at one end, and
    // when it is full, EPOLLERR at the other.
    Fixture f;
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    Fd read_end{ends[0]};
    Fd write_end{ends[1]};

    SECTION("the reader of a pipe whose writer is gone") {
        REQUIRE(f.watch.attach(read_end.get(), Watch::input_events) == 0);
        CHECK_FALSE(f.turn());
        write_end.reset();
        CHECK(f.turn());
        CHECK(f.watch.hung_up());
        CHECK(f.watch.readable());
    }
    SECTION("the writer of a full pipe whose reader is gone") {
        const std::string page(4096, 'x');
        while (::write(write_end.get(), page.data(), page.size()) > 0) {}
        REQUIRE(f.watch.attach(write_end.get(), EPOLLOUT | EPOLLET) == 0);
        CHECK_FALSE(f.turn());
        read_end.reset();
        CHECK(f.turn());
        CHECK(f.watch.failed());
        CHECK(f.watch.writable());
    }
    f.watch.detach();
}

TEST_CASE("watch: urgent data is told", "[reactor][watch]") {
    Fixture f;
    f.attach();
    REQUIRE(::send(f.pair.far.get(), "!", 1, MSG_OOB) == 1);
    CHECK(f.turn());
    CHECK(f.watch.urgent());
}

TEST_CASE("watch: hears nothing once detached", "[reactor][watch]") {
    Fixture f;
    f.attach();
    f.watch.detach();
    CHECK_FALSE(f.watch.attached());
    CHECK(f.watch.fd() == -1);
    f.write();
    CHECK_FALSE(f.turn());
    f.watch.detach();
}

TEST_CASE("watch: one that dies is not told of events that are still to come", "[reactor][watch]") {
    Fixture f;
    auto watch = std::make_unique<Watch>(f.reactor, f.task);
    REQUIRE(watch->attach(f.pair.near.get()) == 0);
    f.write();
    watch.reset();
    CHECK_FALSE(f.turn());
    CHECK(f.task.runs() == 0);
}

TEST_CASE("watch: attaching to another descriptor forgets what was known of the first",
          "[reactor][watch]") {
    Fixture f;
    f.attach();
    f.write();
    REQUIRE(::shutdown(f.pair.far.get(), SHUT_WR) == 0);
    f.turn();
    REQUIRE(f.watch.hung_up());

    const Pair other = tcp_pair();
    REQUIRE(f.watch.attach(other.near.get()) == 0);
    CHECK(f.watch.fd() == other.near.get());
    CHECK_FALSE(f.watch.readable());
    CHECK_FALSE(f.watch.hung_up());
    f.turn();
    CHECK(f.watch.writable());
    CHECK_FALSE(f.watch.readable());
    CHECK_FALSE(f.watch.hung_up());
    f.watch.detach();
}

TEST_CASE("watch: hears only of the events that it asked for", "[reactor][watch]") {
    Fixture f;
    REQUIRE(f.watch.attach(f.pair.near.get(), Watch::input_events) == 0);
    CHECK_FALSE(f.turn());  // writable, but nobody asked
    f.write();
    CHECK(f.turn());
    CHECK(f.watch.readable());
}

TEST_CASE("watch: what cannot be watched is an errno and stays unattached", "[reactor][watch]") {
    Fixture f;
    const Fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    CHECK(f.watch.attach(file.get()) == EPERM);
    CHECK_FALSE(f.watch.attached());
    CHECK(f.watch.attach(-1) == EBADF);
    CHECK_FALSE(f.watch.attached());

    Watch second{f.reactor, f.task};
    f.attach();
    CHECK(second.attach(f.pair.near.get()) == EEXIST);
    CHECK_FALSE(second.attached());
}

TEST_CASE("watch: a failed attach lets go of the descriptor before", "[reactor][watch]") {
    Fixture f;
    f.attach();
    CHECK(f.watch.attach(-1) == EBADF);
    CHECK_FALSE(f.watch.attached());
    f.write();
    CHECK_FALSE(f.turn());
}

TEST_CASE("watch: several watches of one task run it once a turn", "[reactor][watch]") {
    Fixture f;
    const Pair other = tcp_pair();
    Watch second{f.reactor, f.task};
    REQUIRE(f.watch.attach(f.pair.near.get()) == 0);
    REQUIRE(second.attach(other.near.get()) == 0);
    CHECK(f.turn());
    CHECK(f.task.runs() == 1);
    CHECK(f.watch.writable());
    CHECK(second.writable());
    second.detach();
}
