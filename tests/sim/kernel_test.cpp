// The simulated kernel must be as bad as the real one: each fact here was seen on Linux 6.18.

#include "sim/kernel.hpp"
#include "support/catch.hpp"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <netinet/in.h>
#include <span>
#include <string>
#include <sys/epoll.h>
#include <vector>

namespace {

namespace sys = eplb::sys;
using sim::Endpoint;
using sim::Kernel;
using sys::Io;
using sys::IoResult;

constexpr std::size_t plenty = 64 * 1024;
constexpr std::uint32_t stream = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;

/// A connected socket here, `fd`, and the other end of its connection.
struct Connection {
    explicit Connection(Kernel& kernel) {
        const auto pair = kernel.connected_pair();
        fd = pair.fd;
        remote = pair.remote;
    }
    int fd;
    Endpoint* remote;
};

struct PipeEnds {
    PipeEnds() { REQUIRE(sys::pipe(read_end, write_end) == 0); }
    int read_end = -1;
    int write_end = -1;
};

void remote_send(Endpoint& remote, std::size_t count) {
    const std::vector<std::byte> bytes(count);
    REQUIRE(remote.send(bytes).bytes == count);
}

void remote_reset(Endpoint& remote) { remote.abort(); }

std::string text(const IoResult& result) {
    switch (result.status) {
    case Io::moved: return std::to_string(result.bytes);
    case Io::eof: return "eof";
    case Io::would_block: return "EAGAIN";
    case Io::error: break;
    }
    return result.error == ECONNRESET ? "ECONNRESET" : result.error == EPIPE ? "EPIPE" : "error";
}

std::string splice(int from, int to) { return text(sys::splice(from, to, plenty)); }

std::string recv(int fd) {
    std::vector<std::byte> buffer(plenty);
    return text(sys::recv(fd, buffer));
}

std::string send(int fd, std::size_t count) {
    return text(sys::send(fd, std::vector<std::byte>(count)));
}

/// The events that epoll reports now.
class Poller {
public:
    explicit Poller(int fd) : fd_{fd}, epoll_{sys::epoll_create()} {
        REQUIRE(sys::epoll_add(epoll_, fd, stream, nullptr) == 0);
    }
    ~Poller() {
        sys::epoll_remove(epoll_, fd_);
        sys::close(epoll_);
    }
    Poller(const Poller&) = delete;
    Poller& operator=(const Poller&) = delete;

    std::uint32_t take() {
        epoll_event events[8];
        return sys::epoll_wait(epoll_, events, 0) == 1 ? events[0].events : 0;
    }

private:
    int fd_;
    int epoll_;
};

}  // namespace

TEST_CASE("kernel: a pipe fills by slots, not bytes", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    const PipeEnds pipe;
    for (int i = 0; i < 64; ++i) remote_send(*connection.remote, 100);
    kernel.advance({});

    CHECK(splice(connection.fd, pipe.write_end) == "1600");
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    std::vector<std::byte> some(50);
    CHECK(sys::read(pipe.read_end, some).bytes == 50);
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    CHECK(sys::read(pipe.read_end, some).bytes == 50);
    CHECK(splice(connection.fd, pipe.write_end) == "100");
}

TEST_CASE("kernel: draining a full pipe brings no new edge", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    const PipeEnds pipe;
    Poller poller{connection.fd};
    for (int i = 0; i < 64; ++i) remote_send(*connection.remote, 100);
    kernel.advance({});

    CHECK(poller.take() == (EPOLLIN | EPOLLOUT));
    CHECK(splice(connection.fd, pipe.write_end) == "1600");
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    std::vector<std::byte> all(plenty);
    CHECK(sys::read(pipe.read_end, all).bytes == 1600);
    CHECK(poller.take() == 0);
    CHECK(splice(connection.fd, pipe.write_end) == "1600");
}

TEST_CASE("kernel: the end of a stream hides behind a full pipe", "[sim][kernel]") {
    Kernel kernel{{.pipe_slots = 1}};
    const Connection connection{kernel};
    const PipeEnds pipe;
    remote_send(*connection.remote, 10);
    connection.remote->shutdown_write();
    kernel.advance({});

    CHECK(splice(connection.fd, pipe.write_end) == "10");
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    std::vector<std::byte> all(plenty);
    CHECK(sys::read(pipe.read_end, all).bytes == 10);
    CHECK(splice(connection.fd, pipe.write_end) == "eof");
}

TEST_CASE("kernel: splice stops at urgent data for ever, recv once", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    const PipeEnds pipe;
    Poller poller{connection.fd};
    remote_send(*connection.remote, 2);
    connection.remote->send_urgent(std::byte{'!'});
    remote_send(*connection.remote, 3);
    kernel.advance({});

    CHECK(splice(connection.fd, pipe.write_end) == "2");
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    CHECK(splice(connection.fd, pipe.write_end) == "EAGAIN");
    CHECK(poller.take() == (EPOLLIN | EPOLLPRI | EPOLLOUT));

    SECTION("recv skips the mark") {
        CHECK(recv(connection.fd) == "3");
        CHECK(recv(connection.fd) == "EAGAIN");
    }
    SECTION("with the end of the stream behind it, splice says that this is the end") {
        connection.remote->shutdown_write();
        kernel.advance({});
        CHECK(splice(connection.fd, pipe.write_end) == "eof");
        CHECK(recv(connection.fd) == "3");
        CHECK(recv(connection.fd) == "eof");
    }
    SECTION("with a reset behind it, splice tells the reset first") {
        remote_reset(*connection.remote);
        kernel.advance({});
        CHECK(splice(connection.fd, pipe.write_end) == "ECONNRESET");
        CHECK(recv(connection.fd) == "3");
        CHECK(recv(connection.fd) == "eof");
    }
}

TEST_CASE("kernel: recv stops at urgent data if it has read anything", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    remote_send(*connection.remote, 2);
    connection.remote->send_urgent(std::byte{'!'});
    remote_send(*connection.remote, 3);
    kernel.advance({});

    CHECK(recv(connection.fd) == "2");
    CHECK(recv(connection.fd) == "3");
}

TEST_CASE("kernel: a lone byte of urgent data is not readable", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    Poller poller{connection.fd};
    connection.remote->send_urgent(std::byte{'!'});
    kernel.advance({});

    CHECK(poller.take() == (EPOLLPRI | EPOLLOUT));
    CHECK(recv(connection.fd) == "EAGAIN");
    CHECK(connection.remote->peer()->unread() == 0);
}

TEST_CASE("kernel: data before a reset can be read, then the reset once, then the end",
          "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    const PipeEnds pipe;
    Poller poller{connection.fd};
    remote_send(*connection.remote, 5000);
    kernel.advance({});
    remote_reset(*connection.remote);
    kernel.advance({});
    CHECK(poller.take() == (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP));

    SECTION("read first") {
        CHECK(splice(connection.fd, pipe.write_end) == "5000");
        CHECK(splice(connection.fd, pipe.write_end) == "ECONNRESET");
        CHECK(splice(connection.fd, pipe.write_end) == "eof");
    }
    SECTION("SO_ERROR first: the reset looks like an end") {
        CHECK(sys::take_error(connection.fd) == ECONNRESET);
        CHECK(splice(connection.fd, pipe.write_end) == "5000");
        CHECK(splice(connection.fd, pipe.write_end) == "eof");
    }
    SECTION("send first: the same") {
        CHECK(send(connection.fd, 1) == "ECONNRESET");
        CHECK(send(connection.fd, 1) == "EPIPE");
        CHECK(recv(connection.fd) == "5000");
        CHECK(recv(connection.fd) == "eof");
    }
}

TEST_CASE("kernel: a reset behind the end of the stream is for writers only", "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    remote_send(*connection.remote, 5);
    connection.remote->shutdown_write();
    kernel.advance({});
    remote_reset(*connection.remote);
    kernel.advance({});

    CHECK(recv(connection.fd) == "5");
    CHECK(recv(connection.fd) == "eof");
    CHECK(send(connection.fd, 1) == "EPIPE");
    CHECK(sys::take_error(connection.fd) == 0);
}

TEST_CASE("kernel: splice to a reset peer fails and leaves the bytes in the pipe",
          "[sim][kernel]") {
    Kernel kernel;
    sigset_t sigpipe;
    sigset_t old;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
    const Connection connection{kernel};
    const PipeEnds pipe;
    CHECK(sys::write(pipe.write_end, std::vector<std::byte>(3)).bytes == 3);
    remote_reset(*connection.remote);
    kernel.advance({});

    CHECK(splice(pipe.read_end, connection.fd) == "ECONNRESET");
    CHECK(splice(pipe.read_end, connection.fd) == "EPIPE");
    CHECK(kernel.bytes_in_pipes() == 3);
    CHECK(kernel.violations().empty());
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

TEST_CASE("kernel: what SIOCOUTQ says survives a reset", "[sim][kernel]") {
    Kernel kernel{{.link = {.send_buffer = 50'000, .receive_buffer = 10'000}}};
    const Connection connection{kernel};
    CHECK(send(connection.fd, 30'000) == "30000");
    kernel.advance({});
    const Endpoint& ours = *connection.remote->peer();
    const std::size_t before = ours.unsent();
    CHECK(before > 0);
    CHECK(sys::unsent_bytes(connection.fd) == before);
    remote_reset(*connection.remote);
    kernel.advance({});
    CHECK(ours.unsent() == before);
    CHECK(sys::unsent_bytes(connection.fd) == 0);  // which asks whether the connection is dead
}

TEST_CASE("kernel: room in a send buffer makes an edge only for who met a full one",
          "[sim][kernel]") {
    Kernel kernel{{.link = {.send_buffer = 10'000, .receive_buffer = 4'000}}};
    const Connection connection{kernel};
    Poller poller{connection.fd};
    CHECK(poller.take() == EPOLLOUT);
    std::vector<std::byte> buffer(plenty);
    const auto remote_read = [&] {
        static_cast<void>(connection.remote->recv(buffer));
        kernel.advance({});
    };

    CHECK(send(connection.fd, 5'000) == "5000");
    kernel.advance({});
    remote_read();
    CHECK(poller.take() == 0);

    remote_read();
    CHECK(send(connection.fd, 20'000) == "10000");  // short: it met the end of the buffer
    CHECK(poller.take() == 0);
    remote_read();
    CHECK(poller.take() == EPOLLOUT);
    CHECK(poller.take() == 0);
}

TEST_CASE("kernel: a listener's edge comes with new clients only", "[sim][kernel]") {
    Kernel kernel;
    const int listener = sys::socket(AF_INET);
    sockaddr_storage any{};
    CHECK(sys::bind(listener, any, sizeof(sockaddr_in)) == 0);
    CHECK(sys::listen(listener, 16) == 0);
    Poller poller{listener};
    sockaddr_storage address{};
    socklen_t length = 0;
    CHECK(sys::local_address(listener, address, length) == 0);
    const auto port = static_cast<std::uint16_t>(40'000);
    for (int i = 0; i < 3; ++i) static_cast<void>(kernel.dial(port, {}));
    kernel.advance({});

    CHECK(poller.take() == EPOLLIN);
    CHECK(sys::accept(listener, address, length) >= 0);
    CHECK(poller.take() == 0);
    kernel.options().max_descriptors = kernel.open_descriptors();
    CHECK(sys::accept(listener, address, length) == -EMFILE);
    kernel.options().max_descriptors = 100;
    CHECK(poller.take() == 0);
    CHECK(sys::accept(listener, address, length) >= 0);
}

TEST_CASE("kernel: clients in the queue of a listener that closes are reset", "[sim][kernel]") {
    Kernel kernel;
    const int listener = sys::socket(AF_INET);
    CHECK(sys::bind(listener, {}, sizeof(sockaddr_in)) == 0);
    CHECK(sys::listen(listener, 16) == 0);
    Endpoint& client = kernel.dial(40'000, {});
    kernel.advance({});
    CHECK(client.state() == Endpoint::State::established);
    sys::close(listener);
    kernel.advance({});
    CHECK(client.take_error() == ECONNRESET);
}

TEST_CASE("kernel: a refused connect tells its error once", "[sim][kernel]") {
    Kernel kernel;
    const int fd = sys::socket(AF_INET);
    sockaddr_storage nowhere{};
    CHECK(sys::connect(fd, nowhere, sizeof(sockaddr_in)) == EINPROGRESS);
    Poller poller{fd};
    kernel.advance({});
    CHECK(poller.take() == (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP));
    CHECK(sys::take_error(fd) == ECONNREFUSED);
    CHECK(sys::take_error(fd) == 0);
}

TEST_CASE("kernel: close() with unread data resets, else it delivers what is queued",
          "[sim][kernel]") {
    Kernel kernel;
    const Connection connection{kernel};
    std::vector<std::byte> buffer(plenty);
    CHECK(send(connection.fd, 1000) == "1000");

    SECTION("nothing unread") {
        sys::close(connection.fd);
        kernel.advance({});
        CHECK(text(connection.remote->recv(buffer)) == "1000");
        CHECK(text(connection.remote->recv(buffer)) == "eof");
    }
    SECTION("unread data") {
        remote_send(*connection.remote, 1);
        kernel.advance({});
        sys::close(connection.fd);
        kernel.advance({});
        CHECK(text(connection.remote->recv(buffer)) == "1000");
        CHECK(text(connection.remote->recv(buffer)) == "ECONNRESET");
    }
    SECTION("data that comes too late") {
        sys::close(connection.fd);
        kernel.advance({});
        remote_send(*connection.remote, 1);
        kernel.advance({});
        CHECK(text(connection.remote->recv(buffer)) == "1000");
        CHECK(text(connection.remote->recv(buffer)) == "eof");
        CHECK(text(connection.remote->send(buffer)) == "EPIPE");
    }
}

TEST_CASE("kernel: half-closing reports itself, and again when the peer has it", "[sim][kernel]") {
    Kernel kernel{{.link = {.latency = std::chrono::milliseconds{1}}}};
    const Connection connection{kernel};
    Poller poller{connection.fd};
    CHECK(poller.take() == EPOLLOUT);
    CHECK(sys::shutdown_write(connection.fd) == 0);
    CHECK(poller.take() == EPOLLOUT);
    CHECK(poller.take() == 0);
    kernel.advance(std::chrono::milliseconds{2});
    CHECK(poller.take() == EPOLLOUT);
    connection.remote->release();
    kernel.advance(std::chrono::milliseconds{2});
    CHECK(poller.take() == (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP));
}

TEST_CASE("kernel: descriptors are reused at once, and misuse is noticed", "[sim][kernel]") {
    Kernel kernel;
    const int first = sys::eventfd();
    sys::close(first);
    CHECK(sys::eventfd() == first);
    CHECK(kernel.violations().empty());
    sys::close(first + 1);
    CHECK(kernel.violations().size() == 1);
    CHECK(recv(first) == "error");
    CHECK(kernel.violations().size() == 2);

    const int epoll = sys::epoll_create();
    CHECK(sys::epoll_add(epoll, first, EPOLLIN, nullptr) == 0);
    sys::close(first);
    CHECK(kernel.violations().size() == 3);
}

TEST_CASE("kernel: waiting for ever for nothing is a stall, not a hang", "[sim][kernel]") {
    Kernel kernel;
    const int epoll = sys::epoll_create();
    epoll_event events[1];
    CHECK(sys::epoll_wait(epoll, events, 500) == 0);
    CHECK_FALSE(kernel.stalled());
    CHECK(sys::epoll_wait(epoll, events, -1) == 0);
    CHECK(kernel.stalled());
}
