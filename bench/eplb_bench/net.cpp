#include "net.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <fmt/format.h>
#include <fstream>
#include <netinet/tcp.h>
#include <random>
#include <stdexcept>
#include <sys/socket.h>

namespace eplb::bench {
namespace {

constexpr int backlog = 4096;
constexpr std::uint16_t least_port = 10'000;

std::uint16_t most_port() {
    std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
    unsigned first = 0;
    if (range >> first && first > least_port + 1000U) return static_cast<std::uint16_t>(first - 1);
    return 65'535;
}

}  // namespace

sockaddr_in to_sockaddr(const std::string& address) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    const std::size_t colon = std::min(address.rfind(':'), address.size());
    std::uint16_t port = 0;
    const char* const end = address.data() + address.size();
    const char* const begin = address.data() + std::min(colon + 1, address.size());
    const auto [rest, error] = std::from_chars(begin, end, port);
    const std::string host = address.substr(0, colon);
    if (rest != end || error != std::errc{} || ::inet_aton(host.c_str(), &result.sin_addr) == 0)
        throw std::invalid_argument{
            fmt::format("\"{}\" is not an address like 127.0.0.1:80", address)};
    result.sin_port = htons(port);
    return result;
}

Listener listen_on_free_port(const std::string& host) {
    static std::mt19937 random{std::random_device{}()};
    std::uniform_int_distribution<unsigned> ports{least_port, most_port()};
    for (int attempt = 0; attempt < 200; ++attempt) {
        const auto port = static_cast<std::uint16_t>(ports(random));
        Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        const int on = 1;
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const sockaddr_in here = to_sockaddr(fmt::format("{}:{}", host, port));
        if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) == 0 &&
            ::listen(socket.get(), backlog) == 0) {
            return {std::move(socket), port};
        }
    }
    throw std::runtime_error{fmt::format("cannot find a free port on {}", host)};
}

std::uint16_t find_free_port(const std::string& host) { return listen_on_free_port(host).port; }

bool accepts_connections(const std::string& address) {
    const Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const sockaddr_in peer = to_sockaddr(address);
    return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer) == 0;
}

}  // namespace eplb::bench
