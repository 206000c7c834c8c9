#include "base/sys.hpp"

#include "eplb/fd.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace sys = eplb::sys;
using eplb::Address;
using eplb::Fd;
using eplb::sys::Io;
using eplb::test::Bytes;
using eplb::test::is_close_on_exec;
using eplb::test::is_nonblocking;
using eplb::test::pattern;

namespace {

std::span<const std::byte> as_bytes(const Bytes& bytes) {
    return std::as_bytes(std::span{bytes.view()});
}

struct Pipe {
    Pipe() {
        int in = -1;
        int out = -1;
        REQUIRE(sys::pipe(in, out) == 0);
        read_end.reset(in);
        write_end.reset(out);
    }
    Fd read_end;
    Fd write_end;
};

Bytes read_all(int fd) {
    Bytes out;
    std::array<std::byte, 4096> buffer;
    for (;;) {
        const sys::IoResult result = sys::read(fd, buffer);
        if (result.status != Io::moved) return out;
        out.append({reinterpret_cast<const char*>(buffer.data()), result.bytes});
    }
}

sys::IoResult recv_some(const Fd& fd) {
    std::array<std::byte, 65536> buffer;
    return sys::recv(fd.get(), buffer);
}

// Fills what the connection can hold, and returns how much that was.
std::size_t fill(const Fd& fd) {
    const Bytes chunk = pattern(65536);
    std::size_t total = 0;
    for (;;) {
        const sys::IoResult result = sys::send(fd.get(), as_bytes(chunk));
        if (result.status != Io::moved) return total;
        total += result.bytes;
    }
}

}  // namespace

TEST_CASE("sys: send and recv move bytes and say when there are none", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    CHECK(recv_some(far).status == Io::would_block);

    const sys::IoResult sent = sys::send(near.get(), as_bytes("hello"));
    CHECK(sent.status == Io::moved);
    CHECK(sent.bytes == 5);
    const sys::IoResult received = recv_some(far);
    CHECK(received.status == Io::moved);
    CHECK(received.bytes == 5);
    CHECK(received.error == 0);
    CHECK(recv_some(far).status == Io::would_block);

    CHECK(sys::shutdown_write(near.get()) == 0);
    CHECK(recv_some(far).status == Io::eof);
    CHECK(recv_some(far).status == Io::eof);
}

TEST_CASE("sys: a full destination takes less, then would block", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    CHECK(fill(near) > 0);
    const sys::IoResult result = sys::send(near.get(), as_bytes("x"));
    CHECK(result.status == Io::would_block);
    CHECK(result.bytes == 0);
}

TEST_CASE("sys: sending into a reset connection is an error and not a signal", "[base][sys]") {
    auto [near, far] = eplb::test::tcp_pair();
    eplb::test::reset_connection(std::move(far));
    const sys::IoResult first = sys::send(near.get(), as_bytes("x"));
    CHECK(first.status == Io::error);
    CHECK(first.error == ECONNRESET);
    const sys::IoResult second = sys::send(near.get(), as_bytes("x"));
    CHECK(second.status == Io::error);
    CHECK(second.error == EPIPE);
}

TEST_CASE("sys: splice takes any length, up to SIZE_MAX", "[base][sys]") {
    const std::size_t length = GENERATE(
        std::size_t{100}, std::size_t{1} << 30, (std::size_t{1} << 30) + 1,
        std::numeric_limits<std::size_t>::max() / 2, std::numeric_limits<std::size_t>::max());
    const auto [near, far] = eplb::test::tcp_pair();
    const Pipe pipe;
    const Bytes bytes = pattern(100);
    REQUIRE(sys::send(near.get(), as_bytes(bytes)).bytes == 100);

    const sys::IoResult in = sys::splice(far.get(), pipe.write_end.get(), length);
    CHECK(in.status == Io::moved);
    CHECK(in.error == 0);
    CHECK(in.bytes == 100);

    SECTION("out of the pipe, into the file world") {
        CHECK(read_all(pipe.read_end.get()) == bytes);
    }
    SECTION("out of the pipe, into a socket") {
        const sys::IoResult out = sys::splice(pipe.read_end.get(), far.get(), length);
        CHECK(out.status == Io::moved);
        CHECK(out.bytes == 100);
        CHECK(read_all(near.get()) == bytes);
    }
}

TEST_CASE("sys: splice never blocks on an empty socket, an empty pipe or a full pipe",
          "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    const Pipe pipe;
    CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).status == Io::would_block);
    CHECK(sys::splice(pipe.read_end.get(), far.get(), 1000).status == Io::would_block);

    const Bytes filling(
        std::string(static_cast<std::size_t>(sys::pipe_size(pipe.write_end.get())), 'x'));
    REQUIRE(sys::write(pipe.write_end.get(), as_bytes(filling)).bytes == filling.size());
    REQUIRE(sys::send(near.get(), as_bytes("hello")).status == Io::moved);
    CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).status == Io::would_block);
}

TEST_CASE("sys: splice tells the end of the stream and a reset", "[base][sys]") {
    auto [near, far] = eplb::test::tcp_pair();
    const Pipe pipe;

    SECTION("FIN behind data") {
        REQUIRE(sys::send(near.get(), as_bytes("tail")).bytes == 4);
        near.reset();
        CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).bytes == 4);
        CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).status == Io::eof);
    }
    SECTION("RST behind data: the data, the error once, and then it looks like the end") {
        REQUIRE(sys::send(near.get(), as_bytes("tail")).bytes == 4);
        eplb::test::reset_connection(std::move(near));
        CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).bytes == 4);
        const sys::IoResult result = sys::splice(far.get(), pipe.write_end.get(), 1000);
        CHECK(result.status == Io::error);
        CHECK(result.error == ECONNRESET);
        CHECK(sys::splice(far.get(), pipe.write_end.get(), 1000).status == Io::eof);
    }
}

TEST_CASE("sys: splice of what cannot be spliced is EINVAL", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    const sys::IoResult result = sys::splice(near.get(), far.get(), 1000);  // no pipe at all
    CHECK(result.status == Io::error);
    CHECK(result.error == EINVAL);
}

TEST_CASE("sys: read and write use pipes without blocking", "[base][sys]") {
    const Pipe pipe;
    std::array<std::byte, 16> buffer;
    CHECK(sys::read(pipe.read_end.get(), buffer).status == Io::would_block);
    CHECK(sys::write(pipe.write_end.get(), as_bytes("abc")).bytes == 3);
    CHECK(sys::read(pipe.read_end.get(), buffer).bytes == 3);

    while (sys::write(pipe.write_end.get(), as_bytes(pattern(4096))).status == Io::moved) {}
    CHECK(sys::write(pipe.write_end.get(), as_bytes("x")).status == Io::would_block);
}

TEST_CASE("sys: a bad descriptor is an error with its errno", "[base][sys]") {
    std::array<std::byte, 16> buffer;
    for (const sys::IoResult& result :
         {sys::recv(-1, buffer), sys::send(-1, as_bytes("x")), sys::read(-1, buffer),
          sys::write(-1, as_bytes("x")), sys::splice(-1, -1, 1)}) {
        CHECK(result.status == Io::error);
        CHECK(result.error == EBADF);
    }
    CHECK(sys::listen(-1, 1) == EBADF);
    CHECK(sys::set_option(-1, SOL_SOCKET, SO_REUSEADDR, 1) == EBADF);
    CHECK(sys::set_pipe_size(-1, 4096) == -EBADF);
    CHECK(sys::pipe_size(-1) == -EBADF);
    CHECK(sys::epoll_add(-1, -1, 0, nullptr) == EBADF);
    CHECK(sys::shutdown_write(-1) == EBADF);
    CHECK(sys::unsent_bytes(-1) == 0);
}

TEST_CASE("sys: every descriptor that it makes is nonblocking and close-on-exec", "[base][sys]") {
    const Pipe pipe;
    sigset_t none;
    sigemptyset(&none);
    std::vector<std::pair<std::string, Fd>> made;
    made.emplace_back("IPv4 socket", Fd{sys::socket(AF_INET)});
    made.emplace_back("Unix socket", Fd{sys::socket(AF_UNIX)});
    made.emplace_back("eventfd", Fd{sys::eventfd()});
    made.emplace_back("signalfd", Fd{sys::signalfd(none)});
    for (const auto& [what, fd] : made) {
        INFO(what);
        REQUIRE(fd.valid());
        CHECK(is_nonblocking(fd.get()));
        CHECK(is_close_on_exec(fd.get()));
    }
    for (const Fd* const end : {&pipe.read_end, &pipe.write_end}) {
        CHECK(is_nonblocking(end->get()));
        CHECK(is_close_on_exec(end->get()));
    }
    const Fd epoll{sys::epoll_create()};
    REQUIRE(epoll.valid());
    CHECK(is_close_on_exec(epoll.get()));
}

TEST_CASE("sys: accept makes the descriptor nonblocking and close-on-exec and tells the peer",
          "[base][sys]") {
    const Fd listener = eplb::test::listener();
    sockaddr_storage peer{};
    socklen_t length = 0;
    CHECK(sys::accept(listener.get(), peer, length) == -EAGAIN);

    const Fd client = eplb::test::connect_to(eplb::test::address_of(listener));
    const Fd accepted{sys::accept(listener.get(), peer, length)};
    REQUIRE(accepted.valid());
    CHECK(is_nonblocking(accepted.get()));
    CHECK(is_close_on_exec(accepted.get()));
    CHECK(Address::from(peer, length) == eplb::test::address_of(client));
}

TEST_CASE("sys: bind, listen, connect and local_address work together", "[base][sys]") {
    const Fd listener{sys::socket(AF_INET)};
    sockaddr_storage raw{};
    socklen_t length = Address::parse("127.0.0.1:0").to_sockaddr(raw);
    REQUIRE(sys::bind(listener.get(), raw, length) == 0);
    REQUIRE(sys::listen(listener.get(), 5) == 0);
    REQUIRE(sys::local_address(listener.get(), raw, length) == 0);
    CHECK(Address::from(raw, length).port() != 0);

    const Fd other{sys::socket(AF_INET)};
    CHECK(sys::bind(other.get(), raw, length) == EADDRINUSE);

    const int result = sys::connect(other.get(), raw, length);
    CHECK((result == EINPROGRESS || result == 0));
}

TEST_CASE("sys: take_error returns the refusal once and clears it", "[base][sys]") {
    const eplb::test::RefusingPort port;
    sockaddr_storage raw{};
    const socklen_t length = port.address.to_sockaddr(raw);
    const Fd fd{sys::socket(AF_INET)};
    const int result = sys::connect(fd.get(), raw, length);
    if (result == ECONNREFUSED) EPLB_SKIP("this kernel refuses a nonblocking connect at once");
    REQUIRE(result == EINPROGRESS);
    CHECK(sys::take_error(fd.get()) == ECONNREFUSED);
    CHECK(sys::take_error(fd.get()) == 0);
}

TEST_CASE("sys: take_error of a healthy socket is 0", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    CHECK(sys::take_error(near.get()) == 0);
}

TEST_CASE("sys: connecting a Unix socket is done at once or refused", "[base][sys]") {
    const std::string name = "unix:@eplb-unit-sys-" + std::to_string(::getpid());
    sockaddr_storage raw{};
    const socklen_t length = Address::parse(name).to_sockaddr(raw);
    const Fd refused{sys::socket(AF_UNIX)};
    CHECK(sys::connect(refused.get(), raw, length) == ECONNREFUSED);

    const Fd listener{sys::socket(AF_UNIX)};
    REQUIRE(sys::bind(listener.get(), raw, length) == 0);
    REQUIRE(sys::listen(listener.get(), 1) == 0);
    const Fd client{sys::socket(AF_UNIX)};
    CHECK(sys::connect(client.get(), raw, length) == 0);
}

TEST_CASE("sys: set_option sets", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair();
    CHECK(sys::set_option(near.get(), SOL_SOCKET, SO_KEEPALIVE, 1) == 0);
    CHECK(eplb::test::get_option(near, SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(sys::set_option(near.get(), IPPROTO_TCP, 9999, 1) == ENOPROTOOPT);
}

TEST_CASE("sys: unsent_bytes counts what the peer has not acknowledged", "[base][sys]") {
    const auto [near, far] = eplb::test::tcp_pair({.far_receive_buffer = 4096});
    CHECK(sys::unsent_bytes(near.get()) == 0);
    const std::size_t sent = fill(near);
    const std::size_t queued = sys::unsent_bytes(near.get());
    CHECK(queued > 0);
    CHECK(queued <= sent);
    const Pipe pipe;
    CHECK(sys::unsent_bytes(pipe.read_end.get()) == 0);
}

TEST_CASE("sys: reset_on_close makes close send RST", "[base][sys]") {
    auto [near, far] = eplb::test::tcp_pair();
    sys::reset_on_close(near.get());
    near.reset();
    const sys::IoResult result = recv_some(far);
    CHECK(result.status == Io::error);
    CHECK(result.error == ECONNRESET);
}

TEST_CASE("sys: set_pipe_size returns what the kernel made of it", "[base][sys]") {
    const Pipe pipe;
    const int page = static_cast<int>(::sysconf(_SC_PAGESIZE));
    CHECK(sys::set_pipe_size(pipe.write_end.get(), 1) == page);
    CHECK(sys::pipe_size(pipe.write_end.get()) == page);
    CHECK(sys::set_pipe_size(pipe.write_end.get(), 128 * 1024) == 128 * 1024);
    CHECK(sys::pipe_size(pipe.read_end.get()) == 128 * 1024);

    REQUIRE(sys::write(pipe.write_end.get(), as_bytes(pattern(100'000))).bytes == 100'000);
    CHECK(sys::set_pipe_size(pipe.write_end.get(), 4096) == -EBUSY);
}

TEST_CASE("sys: epoll_wait reports what was added, and not what was removed", "[base][sys]") {
    const Fd epoll{sys::epoll_create()};
    const Pipe pipe;
    int tag = 0;
    std::array<epoll_event, 4> events;
    CHECK(sys::epoll_wait(epoll.get(), events, 0) == 0);

    REQUIRE(sys::epoll_add(epoll.get(), pipe.read_end.get(), EPOLLIN | EPOLLET, &tag) == 0);
    CHECK(sys::epoll_add(epoll.get(), pipe.read_end.get(), EPOLLIN, &tag) == EEXIST);
    REQUIRE(sys::write(pipe.write_end.get(), as_bytes("x")).bytes == 1);
    REQUIRE(sys::epoll_wait(epoll.get(), events, 0) == 1);
    CHECK(events[0].events == EPOLLIN);
    CHECK(events[0].data.ptr == &tag);
    CHECK(sys::epoll_wait(epoll.get(), events, 0) == 0);

    sys::epoll_remove(epoll.get(), pipe.read_end.get());
    REQUIRE(sys::write(pipe.write_end.get(), as_bytes("x")).bytes == 1);
    CHECK(sys::epoll_wait(epoll.get(), events, 0) == 0);
}

TEST_CASE("sys: epoll_wait interrupted by a signal says so, and not that there are no events",
          "[base][sys]") {
    struct sigaction ignore{};
    struct sigaction old{};
    ignore.sa_handler = [](int) {};  // without SA_RESTART
    REQUIRE(::sigaction(SIGALRM, &ignore, &old) == 0);
    const Fd epoll{sys::epoll_create()};
    std::array<epoll_event, 1> events;
    ::alarm(1);
    const int result = sys::epoll_wait(epoll.get(), events, 60'000);
    ::alarm(0);
    ::sigaction(SIGALRM, &old, nullptr);
    CHECK(result == -EINTR);
}

TEST_CASE("sys: a regular file cannot be watched", "[base][sys]") {
    const Fd epoll{sys::epoll_create()};
    const Fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    REQUIRE(file.valid());
    CHECK(sys::epoll_add(epoll.get(), file.get(), EPOLLIN, nullptr) == EPERM);
}

TEST_CASE("sys: a shortage of descriptors is told as a number", "[base][sys]") {
    const Fd listener = eplb::test::listener();
    const Fd client = eplb::test::connect_to(eplb::test::address_of(listener));
    sigset_t none;
    sigemptyset(&none);
    sockaddr_storage peer{};
    socklen_t length = 0;
    int in = -1;
    int out = -1;
    std::array<int, 6> results{};
    {
        const eplb::test::DescriptorShortage shortage;
        results = {sys::socket(AF_INET), sys::accept(listener.get(), peer, length),
                   sys::epoll_create(),  sys::eventfd(),
                   sys::signalfd(none),  -sys::pipe(in, out)};
    }
    CHECK(results == std::array{-EMFILE, -EMFILE, -EMFILE, -EMFILE, -EMFILE, -EMFILE});
    CHECK(in == -1);
    CHECK(out == -1);
}
