#include "support/net.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace eplb::test {
namespace {

constexpr int guard_ms = 60'000;

[[noreturn]] void fail(const char* what) {
    throw std::system_error{errno, std::system_category(), what};
}

Fd open_socket(int family) {
    Fd fd{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!fd.valid()) fail("socket");
    return fd;
}

void bind_to_loopback(const Fd& socket) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("bind");
    }
}

void set_buffers(const Fd& socket, int send_buffer, int receive_buffer) {
    if (send_buffer != 0) set_option(socket, SOL_SOCKET, SO_SNDBUF, send_buffer);
    if (receive_buffer != 0) set_option(socket, SOL_SOCKET, SO_RCVBUF, receive_buffer);
}

void wait_for(const Fd& fd, short events, const char* what) {
    pollfd entry{fd.get(), events, 0};
    if (::poll(&entry, 1, guard_ms) != 1) {
        errno = ETIMEDOUT;
        fail(what);
    }
}

}  // namespace

Pair tcp_pair(const PairOptions& options) {
    const Fd listening = open_socket(AF_INET);
    // The size of the receive buffer decides on the window scale, so it is set before the
    // handshake.
    set_buffers(listening, options.far_send_buffer, options.far_receive_buffer);
    if (options.max_segment != 0) {
        set_option(listening, IPPROTO_TCP, TCP_MAXSEG, options.max_segment);
    }
    bind_to_loopback(listening);
    if (::listen(listening.get(), 1) != 0) fail("listen");

    Pair pair;
    pair.near = open_socket(AF_INET);
    set_buffers(pair.near, options.near_send_buffer, options.near_receive_buffer);
    if (options.max_segment != 0) {
        set_option(pair.near, IPPROTO_TCP, TCP_MAXSEG, options.max_segment);
    }
    sockaddr_storage raw{};
    const socklen_t length = address_of(listening).to_sockaddr(raw);
    if (::connect(pair.near.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 &&
        errno != EINPROGRESS) {
        fail("connect");
    }
    pair.far = accept_one(listening);
    wait_for(pair.near, POLLOUT, "connect");
    set_option(pair.near, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(pair.far, IPPROTO_TCP, TCP_NODELAY, 1);
    return pair;
}

Pair unix_pair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        fail("socketpair");
    }
    return {Fd{fds[0]}, Fd{fds[1]}};
}

Fd listener(int backlog) {
    Fd fd = open_socket(AF_INET);
    bind_to_loopback(fd);
    if (::listen(fd.get(), backlog) != 0) fail("listen");
    return fd;
}

Address address_of(const Fd& socket) {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&raw), &length) != 0) {
        fail("getsockname");
    }
    return Address::from(raw, length);
}

Fd accept_one(const Fd& listener) {
    wait_for(listener, POLLIN, "accept");
    Fd fd{::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!fd.valid()) fail("accept4");
    return fd;
}

Fd connect_to(const Address& address, int receive_buffer) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    Fd fd = open_socket(address.family());
    set_buffers(fd, 0, receive_buffer);
    if (address.family() != AF_UNIX) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) {
        if (errno == ECONNREFUSED || errno == ENOENT || errno == EAGAIN) return Fd{};
        if (errno != EINPROGRESS) fail("connect");
        if (get_option(fd, SOL_SOCKET, SO_ERROR) != 0) return Fd{};
    }
    return fd;
}

RefusingPort::RefusingPort() : socket{open_socket(AF_INET)} {
    bind_to_loopback(socket);
    address = address_of(socket);
}

void set_option(const Fd& socket, int level, int name, int value) {
    if (::setsockopt(socket.get(), level, name, &value, sizeof value) != 0) fail("setsockopt");
}

int get_option(const Fd& socket, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    if (::getsockopt(socket.get(), level, name, &value, &length) != 0) fail("getsockopt");
    return value;
}

void reset_connection(Fd socket) {
    const linger hard{1, 0};
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard) != 0) {
        fail("SO_LINGER");
    }
}

void send_with_descriptor(const Fd& socket, std::string_view text, int descriptor) {
    iovec bytes{const_cast<char*>(text.data()), text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptor)> control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    if (::sendmsg(socket.get(), &message, 0) != static_cast<ssize_t>(text.size())) fail("sendmsg");
}

std::size_t readable_bytes(const Fd& socket) {
    int count = 0;
    if (::ioctl(socket.get(), FIONREAD, &count) != 0) fail("FIONREAD");
    return static_cast<std::size_t>(count);
}

bool is_nonblocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }

bool is_close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

bool has_ipv6() {
    const Fd fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd.valid()) return false;
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace eplb::test
