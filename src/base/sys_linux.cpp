#include "base/sys.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace eplb::sys {
namespace {

// A splice(2) length near SIZE_MAX is EINVAL; nobody moves a gigabyte at once.
constexpr std::size_t max_splice_bytes = std::size_t{1} << 30;

template <class Call>
auto retry_eintr(Call call) noexcept {
    for (;;) {
        const auto result = call();
        if (result >= 0 || errno != EINTR) return result;
    }
}

IoResult io_result(ssize_t result) noexcept {
    if (result > 0) return {Io::moved, 0, static_cast<std::size_t>(result)};
    if (result == 0) return {Io::eof, 0, 0};
    if (errno == EAGAIN) return {Io::would_block, EAGAIN, 0};
    return {Io::error, errno, 0};
}

int value_or_errno(int result) noexcept { return result >= 0 ? result : -errno; }
int zero_or_errno(int result) noexcept { return result >= 0 ? 0 : errno; }

const sockaddr* plain(const sockaddr_storage& address) noexcept {
    return reinterpret_cast<const sockaddr*>(&address);
}
sockaddr* plain(sockaddr_storage& address) noexcept {
    return reinterpret_cast<sockaddr*>(&address);
}

}  // namespace

IoResult recv(int fd, std::span<std::byte> buffer) noexcept {
    return io_result(retry_eintr([&] { return ::recv(fd, buffer.data(), buffer.size(), 0); }));
}

IoResult send(int fd, std::span<const std::byte> bytes) noexcept {
    return io_result(
        retry_eintr([&] { return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL); }));
}

IoResult peek(int fd, std::span<std::byte> buffer) noexcept {
    return io_result(
        retry_eintr([&] { return ::recv(fd, buffer.data(), buffer.size(), MSG_PEEK); }));
}

IoResult send_ahead(int fd, std::span<const std::byte> bytes) noexcept {
    return io_result(retry_eintr(
        [&] { return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_MORE); }));
}

IoResult splice(int from, int to, std::size_t count) noexcept {
    const std::size_t capped = std::min(count, max_splice_bytes);
    return io_result(retry_eintr([&] {
        return ::splice(from, nullptr, to, nullptr, capped, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    }));
}

IoResult read(int fd, std::span<std::byte> buffer) noexcept {
    return io_result(retry_eintr([&] { return ::read(fd, buffer.data(), buffer.size()); }));
}

IoResult write(int fd, std::span<const std::byte> bytes) noexcept {
    return io_result(retry_eintr([&] { return ::write(fd, bytes.data(), bytes.size()); }));
}

int socket(int family) noexcept {
    return value_or_errno(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int bind(int fd, const sockaddr_storage& address, socklen_t length) noexcept {
    return zero_or_errno(::bind(fd, plain(address), length));
}

int listen(int fd, int backlog) noexcept { return zero_or_errno(::listen(fd, backlog)); }

int accept(int fd, sockaddr_storage& peer, socklen_t& length) noexcept {
    return value_or_errno(retry_eintr([&] {
        length = sizeof peer;
        return ::accept4(fd, plain(peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }));
}

int connect(int fd, const sockaddr_storage& address, socklen_t length) noexcept {
    const int error = zero_or_errno(::connect(fd, plain(address), length));
    // Interrupted, it goes on in the background all the same: connect(2).
    return error == EINTR ? EINPROGRESS : error;
}

int local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
    length = sizeof address;
    return zero_or_errno(::getsockname(fd, plain(address), &length));
}

int set_option(int fd, int level, int name, int value) noexcept {
    return zero_or_errno(::setsockopt(fd, level, name, &value, sizeof value));
}

int set_text_option(int fd, int level, int name, std::string_view value) noexcept {
    return zero_or_errno(
        ::setsockopt(fd, level, name, value.data(), static_cast<socklen_t>(value.size())));
}

int take_error(int fd) noexcept {
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
}

std::size_t unsent_bytes(int fd) noexcept {
    int count = 0;
    if (::ioctl(fd, SIOCOUTQ, &count) < 0 || count <= 0) return 0;
    // A dead connection keeps the count that it died with. poll(2) need not tell: whoever met the
    // error first took it away.
    tcp_info info{};
    socklen_t length = sizeof info;
    const bool dead = ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
                      info.tcpi_state == TCP_CLOSE;
    return dead ? 0 : static_cast<std::size_t>(count);
}

int peer_state(int fd, PeerState& state) noexcept {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return errno;
    state.unacknowledged = info.tcpi_unacked > 0;
    state.probes = info.tcpi_probes;
    state.silent_ms = info.tcpi_last_ack_recv;
    state.rtt_us = info.tcpi_rtt;
    return 0;
}

int shutdown_write(int fd) noexcept { return zero_or_errno(::shutdown(fd, SHUT_WR)); }

void reset_on_close(int fd) noexcept {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

int pipe(int& read_end, int& write_end) noexcept {
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return errno;
    read_end = ends[0];
    write_end = ends[1];
    return 0;
}

int set_pipe_size(int fd, std::size_t bytes) noexcept {
    return value_or_errno(::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(bytes)));
}

int pipe_size(int fd) noexcept { return value_or_errno(::fcntl(fd, F_GETPIPE_SZ)); }

void* map(std::size_t bytes) noexcept {
    void* const area =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return area == MAP_FAILED ? nullptr : area;
}

void unmap(void* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }

int epoll_create() noexcept { return value_or_errno(::epoll_create1(EPOLL_CLOEXEC)); }

int epoll_add(int epoll, int fd, std::uint32_t events, void* data) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.ptr = data;
    return zero_or_errno(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

void epoll_remove(int epoll, int fd) noexcept { ::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr); }

int epoll_wait(int epoll, std::span<epoll_event> events, int timeout_ms) noexcept {
    return value_or_errno(
        ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), timeout_ms));
}

std::size_t events_per_wait() noexcept { return 512; }

int eventfd() noexcept { return value_or_errno(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

int signalfd(const sigset_t& signals) noexcept {
    return value_or_errno(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
}

void close(int fd) noexcept { ::close(fd); }

}  // namespace eplb::sys
