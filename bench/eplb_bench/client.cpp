#include "client.hpp"

#include <cerrno>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace eplb::bench {
namespace {

// 127.1.0.1 and so on: apart from the addresses that proxies and backends use.
constexpr std::uint32_t first_source = 0x7f010001;
constexpr std::size_t sources = 16;

}  // namespace

int begin_connect(Client& client, const sockaddr_in& target, std::size_t number) {
    ++client.generation;
    client.socket = Fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!client.socket.valid()) return errno;
    const int fd = client.socket.get();
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // ip(7): the port is chosen by connect(2), which knows the other end, so that a port is taken
    // only for this source and destination.
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(first_source + static_cast<std::uint32_t>(number % sources));
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) return errno;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0) return 0;
    return errno == EINPROGRESS ? 0 : errno;
}

int socket_error(const Fd& socket) noexcept {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

void reset_on_close(const Fd& socket) noexcept {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace eplb::bench
