#include "eplb/acceptor.hpp"

#include "base/socket_options.hpp"
#include "base/sys.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace eplb {
namespace {

// The way out of the common ones.
const char* hint(const Address& address, int error) noexcept {
    if (address.is_unix()) {
        if (error == EADDRINUSE) return " (somebody listens there, or it is no socket)";
        return error == ENOENT ? " (there is no such folder)" : "";
    }
    switch (error) {
    case EADDRINUSE: return " (somebody listens there: ss -ltnp tells who)";
    case EADDRNOTAVAIL: return " (no interface of this machine has that address)";
    case EACCES: return " (a port below 1024 needs root or CAP_NET_BIND_SERVICE)";
    default: return "";
    }
}

[[noreturn]] void cannot_listen(const Address& address, int error) {
    throw fmt::system_error(error, "cannot listen on {}{}", address.to_string(),
                            hint(address, error));
}

bool has_path(const Address& address) noexcept {
    return address.is_unix() && !address.path().starts_with('@');
}

// Whether `path` is a socket that nobody listens on: what a process that was killed left behind.
bool is_stale_socket(const Address& address) noexcept {
    struct stat status{};
    if (::lstat(address.path().c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    const int probe = sys::socket(AF_UNIX);
    if (probe < 0) return false;
    const Fd closer{probe};
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    return sys::connect(probe, raw, length) == ECONNREFUSED;
}

int bind_to(const Fd& fd, const Address& address) noexcept {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    return sys::bind(fd.get(), raw, length);
}

// TCP's, beside those that decide where a connection goes.
void set_tcp_options(const Fd& fd, const ListenOptions& options) noexcept {
    static_cast<void>(
        sys::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, options.socket.no_delay ? 1 : 0));
    set_keepalive(fd, options.socket.keepalive);
    if (options.fast_open != 0) {
        static_cast<void>(sys::set_option(fd.get(), IPPROTO_TCP, TCP_FASTOPEN,
                                          static_cast<int>(options.fast_open)));
    }
    if (options.defer_accept > Duration{0}) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(options.defer_accept).count();
        static_cast<void>(
            sys::set_option(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT,
                            static_cast<int>(std::min<std::int64_t>(seconds, INT_MAX))));
    }
}

int set_permissions(const Address& address, const ListenOptions& options) noexcept {
    if (!has_path(address)) return 0;
    const char* const path = address.path().c_str();
    static constexpr auto unchanged = static_cast<uid_t>(-1);
    if ((options.owner || options.group) &&
        ::chown(path, options.owner.value_or(unchanged), options.group.value_or(unchanged)) != 0)
        return errno;
    if (options.mode && ::chmod(path, *options.mode) != 0) return errno;
    return 0;
}

// An IPv6 socket, or for a wildcard on a machine without IPv6 the IPv4 one that does the same; with
// its options.
Fd open_socket(const Address& address, const ListenOptions& options, Address& effective) {
    effective = address;
    int fd = sys::socket(address.family());
    if (fd == -EAFNOSUPPORT && address.family() == AF_INET6 && address.is_wildcard()) {
        effective = Address::parse(fmt::format("0.0.0.0:{}", address.port()));
        fd = sys::socket(AF_INET);
    }
    if (fd < 0) cannot_listen(address, -fd);

    Fd opened{fd};
    if (!effective.is_unix()) {
        static_cast<void>(sys::set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1));
        set_tcp_options(opened, options);
        if (const OptionFailure failure = set_route(opened, options.socket, effective.family())) {
            throw fmt::system_error(failure.error, "cannot listen on {} with this {}",
                                    address.to_string(), failure.option);
        }
    }
    if (effective.family() == AF_INET6) {
        static_cast<void>(
            sys::set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, effective.is_wildcard() ? 0 : 1));
    }
    return opened;
}

}  // namespace

Fd listen_on(const Address& address, const ListenOptions& options) {
    Address effective;
    Fd fd = open_socket(address, options, effective);
    if (options.share_port && !effective.is_unix()) {
        if (const int error = sys::set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1)) {
            cannot_listen(address, error);
        }
    }
    int error = bind_to(fd, effective);
    if (error == EADDRINUSE && effective.is_unix() && is_stale_socket(effective)) {
        ::unlink(effective.path().c_str());
        error = bind_to(fd, effective);
    }
    // Nobody can connect before listen(2).
    if (error == 0) error = set_permissions(effective, options);
    if (error == 0) error = sys::listen(fd.get(), options.backlog);
    if (error != 0) cannot_listen(address, error);
    return fd;
}

// Two bound sockets may have the same address while neither listens, and both allow for it; one
// that listens makes bind(2) fail.
void require_unused(const Address& address) {
    if (address.is_unix()) return;
    Address effective;
    const Fd fd = open_socket(address, {}, effective);
    if (const int error = bind_to(fd, effective)) cannot_listen(address, error);
}

int change_options(const Fd& listener, const Address& address,
                   const ListenOptions& options) noexcept {
    int error = sys::listen(listener.get(), options.backlog);
    if (address.is_unix()) {
        const int refused = set_permissions(address, options);
        return error != 0 ? error : refused;
    }
    set_tcp_options(listener, options);
    // On a machine without IPv6 the listener of [::] is an IPv4 one.
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    const int refused = sys::local_address(listener.get(), raw, length);
    if (refused != 0) return error != 0 ? error : refused;
    // What was wanted before and is not any more.
    unset_options(listener, options.socket, raw.ss_family);
    for (const auto& [name, off] : {std::pair{TCP_FASTOPEN, options.fast_open == 0},
                                    {TCP_DEFER_ACCEPT, options.defer_accept == Duration{0}}}) {
        if (off) static_cast<void>(sys::set_option(listener.get(), IPPROTO_TCP, name, 0));
    }
    const OptionFailure failure = set_route(listener, options.socket, raw.ss_family);
    return error != 0 ? error : failure.error;
}

Address local_address(const Fd& fd) {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (const int error = sys::local_address(fd.get(), raw, length)) {
        throw fmt::system_error(error, "cannot tell the address of a socket");
    }
    return Address::from(raw, length);
}

}  // namespace eplb
