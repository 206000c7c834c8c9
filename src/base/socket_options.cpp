#include "base/socket_options.hpp"

#include "base/sys.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <string_view>

namespace eplb {
namespace {

// The kernel counts in seconds, from 1 to 32767, tcp(7).
int to_seconds(Duration duration) noexcept {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(duration).count();
    return static_cast<int>(std::clamp<decltype(seconds)>(seconds, 1, 32767));
}

std::string congestion_of(const Fd& fd) {
    std::array<char, 32> name{};
    socklen_t length = name.size() - 1;
    if (::getsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &length) != 0) return {};
    return name.data();
}

}  // namespace

bool is_internet_socket(const Fd& fd) noexcept {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    return sys::local_address(fd.get(), raw, length) == 0 &&
           (raw.ss_family == AF_INET || raw.ss_family == AF_INET6);
}

void set_no_delay(const Fd& fd) noexcept {
    static_cast<void>(sys::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1));
}

void set_keepalive(const Fd& fd, const Keepalive& keepalive) noexcept {
    if (keepalive.idle == Duration{0}) return;
    struct Option {
        int level;
        int name;
        int value;
    };
    const std::array<Option, 4> options{{
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, to_seconds(keepalive.idle)},
        {IPPROTO_TCP, TCP_KEEPINTVL, to_seconds(keepalive.interval)},
        {IPPROTO_TCP, TCP_KEEPCNT, static_cast<int>(keepalive.count)},
    }};
    for (const Option& option : options) {
        static_cast<void>(sys::set_option(fd.get(), option.level, option.name, option.value));
    }
}

OptionFailure set_route(const Fd& fd, const SocketOptions& options, int family) noexcept {
    if (!options.interface.empty()) {
        if (const int error =
                sys::set_text_option(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.interface))
            return {error, "interface"};
    }
    if (options.mark != 0) {
        if (const int error =
                sys::set_option(fd.get(), SOL_SOCKET, SO_MARK, static_cast<int>(options.mark)))
            return {error, "mark"};
    }
    if (!options.congestion.empty()) {
        if (const int error =
                sys::set_text_option(fd.get(), IPPROTO_TCP, TCP_CONGESTION, options.congestion))
            return {error, "congestion"};
    }
    if (options.transparent) {
        const bool v6 = family == AF_INET6;
        if (const int error = sys::set_option(fd.get(), v6 ? SOL_IPV6 : SOL_IP,
                                              v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1))
            return {error, "transparent"};
    }
    return {};
}

void unset_options(const Fd& fd, const SocketOptions& options, int family) noexcept {
    const auto set = [&](int level, int name, int value) {
        static_cast<void>(sys::set_option(fd.get(), level, name, value));
    };
    const auto set_text = [&](int level, int name, std::string_view value) {
        static_cast<void>(sys::set_text_option(fd.get(), level, name, value));
    };
    if (options.keepalive.idle == Duration{0}) set(SOL_SOCKET, SO_KEEPALIVE, 0);
    if (options.interface.empty()) set_text(SOL_SOCKET, SO_BINDTODEVICE, "");
    if (options.mark == 0) set(SOL_SOCKET, SO_MARK, 0);
    if (options.congestion.empty()) {
        // Of this network namespace. Only if there is a difference: once it is set, a socket does not
        // follow the system's any more.
        std::ifstream file{"/proc/sys/net/ipv4/tcp_congestion_control"};
        std::string usual;
        if (file >> usual && usual != congestion_of(fd))
            set_text(IPPROTO_TCP, TCP_CONGESTION, usual);
    }
    if (!options.transparent) {
        const bool v6 = family == AF_INET6;
        set(v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 0);
    }
}

}  // namespace eplb
