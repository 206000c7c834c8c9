#include "base/socket_options.hpp"

#include "base/sys.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
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

std::string text_of(const Fd& fd, int level, int name) {
    std::array<char, 32> text{};
    socklen_t length = text.size() - 1;
    if (::getsockopt(fd.get(), level, name, text.data(), &length) != 0) return {};
    return text.data();
}

int value_of(const Fd& fd, int level, int name) noexcept {
    int value = 0;
    socklen_t length = sizeof value;
    return ::getsockopt(fd.get(), level, name, &value, &length) == 0 ? value : 0;
}

// Without which a connection would go another way than it should.
enum class RouteOption : std::uint8_t { interface, mark, congestion, transparent };
constexpr std::array route_options{RouteOption::interface, RouteOption::mark,
                                   RouteOption::congestion, RouteOption::transparent};

// No system call, if it has its default.
OptionFailure set_one(const Fd& fd, const SocketOptions& options, int family, bool transparent,
                      RouteOption option) noexcept {
    const bool v6 = family == AF_INET6;
    switch (option) {
    case RouteOption::interface:
        if (options.interface.empty()) break;
        return {sys::set_text_option(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.interface),
                "interface"};
    case RouteOption::mark:
        if (options.mark == 0) break;
        return {sys::set_option(fd.get(), SOL_SOCKET, SO_MARK, static_cast<int>(options.mark)),
                "mark"};
    case RouteOption::congestion:
        if (options.congestion.empty()) break;
        return {sys::set_text_option(fd.get(), IPPROTO_TCP, TCP_CONGESTION, options.congestion),
                "congestion"};
    case RouteOption::transparent:
        if (!transparent) break;
        return {sys::set_option(fd.get(), v6 ? SOL_IPV6 : SOL_IP,
                                v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1),
                "transparent"};
    }
    return {};
}

}  // namespace

bool is_internet_socket(const Fd& fd) noexcept {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    return sys::local_address(fd.get(), raw, length) == 0 &&
           (raw.ss_family == AF_INET || raw.ss_family == AF_INET6);
}

bool may_come_later(int error) noexcept { return error == ENODEV || error == EADDRNOTAVAIL; }

int set_no_delay(const Fd& fd) noexcept {
    return sys::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
}

int set_keepalive(const Fd& fd, const Keepalive& keepalive) noexcept {
    if (keepalive.idle == Duration{0}) return 0;
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
    int first = 0;
    for (const Option& option : options) {
        const int error = sys::set_option(fd.get(), option.level, option.name, option.value);
        if (first == 0) first = error;
    }
    return first;
}

OptionFailure set_route(const Fd& fd, const SocketOptions& options, int family,
                        bool transparent) noexcept {
    for (const RouteOption option : route_options) {
        if (const OptionFailure failure = set_one(fd, options, family, transparent, option))
            return failure;
    }
    return {};
}

void set_all_of_route(const Fd& fd, const SocketOptions& options, int family,
                      std::vector<OptionFailure>& refused) {
    for (const RouteOption option : route_options) {
        if (const OptionFailure failure = set_one(fd, options, family, options.transparent, option))
            refused.push_back(failure);
    }
}

void unset_options(const Fd& fd, const SocketOptions& options, int family,
                   std::vector<OptionFailure>& refused) {
    const auto note = [&](int error, const char* option) {
        if (error != 0) refused.push_back({error, option});
    };
    const auto unset = [&](int level, int name, const char* option) {
        if (value_of(fd, level, name) != 0) note(sys::set_option(fd.get(), level, name, 0), option);
    };
    if (options.keepalive.idle == Duration{0}) unset(SOL_SOCKET, SO_KEEPALIVE, "keepalive");
    if (options.interface.empty() && !text_of(fd, SOL_SOCKET, SO_BINDTODEVICE).empty())
        note(sys::set_text_option(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, ""), "interface");
    if (options.mark == 0) unset(SOL_SOCKET, SO_MARK, "mark");
    if (options.congestion.empty()) {
        // Of this network namespace. Only if there is a difference: once it is set, a socket does not
        // follow the system's any more.
        std::ifstream file{"/proc/sys/net/ipv4/tcp_congestion_control"};
        std::string usual;
        if (file >> usual && usual != text_of(fd, IPPROTO_TCP, TCP_CONGESTION))
            note(sys::set_text_option(fd.get(), IPPROTO_TCP, TCP_CONGESTION, usual), "congestion");
    }
    if (!options.transparent) {
        const bool v6 = family == AF_INET6;
        unset(v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, "transparent");
    }
}

}  // namespace eplb
