#include "reactor/listening.hpp"

#include "base/random_word.hpp"
#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "reactor/socket_file.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <random>
#include <stdexcept>
#include <sys/file.h>
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
    throw fmt::system_error(error, "{}", listen_problem(address, error));
}

[[noreturn]] void cannot_listen(const Address& address, const OptionFailure& failure) {
    throw fmt::system_error(failure.error, "cannot listen on {} with this {}", address.to_string(),
                            failure.option);
}

void nap(std::chrono::microseconds time) noexcept {
    const timespec wait{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds{time}.count()};
    ::nanosleep(&wait, nullptr);
}

std::string folder_of(const Address& address) {
    const std::string folder = std::filesystem::path{address.path()}.parent_path().string();
    return folder.empty() ? "." : folder;
}

// Held while the path of a Unix socket is being taken, flock(2) of its folder: between bind(2) and
// listen(2) one that lives looks like one that was left behind, and another process would remove it.
// Whoever holds it for longer than that takes is none of us; then we do without.
class FolderLock {
public:
    explicit FolderLock(const Address& address) {
        if (!has_path(address)) return;
        fd_.reset(::open(folder_of(address).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        for (int i = 0; fd_.valid() && i < 20; ++i) {
            if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
            nap(std::chrono::milliseconds{1});
        }
    }

private:
    Fd fd_;
};

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

// TCP's, beside those that decide where a connection goes. Appends what is refused.
void set_tcp_options(const Fd& fd, const ListenOptions& options,
                     std::vector<OptionFailure>& refused) {
    const auto note = [&](int error, const char* option) {
        if (error != 0) refused.push_back({error, option});
    };
    const auto set = [&](int name, int value) {
        return sys::set_option(fd.get(), IPPROTO_TCP, name, value);
    };
    note(set(TCP_NODELAY, options.socket.no_delay ? 1 : 0), "nodelay");
    note(set_keepalive(fd, options.socket.keepalive), "keepalive");
    if (options.fast_open != 0)
        note(set(TCP_FASTOPEN, static_cast<int>(options.fast_open)), "fast_open");
    if (options.defer_accept > Duration{0}) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(options.defer_accept).count();
        note(set(TCP_DEFER_ACCEPT, static_cast<int>(std::min<std::int64_t>(seconds, INT_MAX))),
             "defer_accept");
    }
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
        std::vector<OptionFailure> without_which_it_works;
        set_tcp_options(opened, options, without_which_it_works);
        if (const OptionFailure failure =
                set_route(opened, options.socket, effective.family(), options.socket.transparent))
            cannot_listen(address, failure);
    }
    if (effective.family() == AF_INET6) {
        static_cast<void>(
            sys::set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, effective.is_wildcard() ? 0 : 1));
    }
    return opened;
}

// How often a race for an address is run again. Each time takes some ten microseconds.
constexpr int most_races = 12;

// Somebody else's nap is another one.
void wait_for_another_race(int races) {
    thread_local std::minstd_rand random{static_cast<std::minstd_rand::result_type>(random_word())};
    nap(std::chrono::microseconds{std::uniform_int_distribution<std::int64_t>{
        0, std::int64_t{50} << std::min(races, 5)}(random)});
}

// A socket of no use but for its options; not valid: there is none now, which says nothing.
Fd throw_away_socket(int family) { return Fd{std::max(-1, sys::socket(family))}; }

// A path in the folder of `address` that is not taken.
std::optional<Address> path_beside(const Address& address) {
    static std::atomic<unsigned> count{0};
    try {
        return Address::parse(
            fmt::format("unix:{}/.eplb-{}-{}", folder_of(address), ::getpid(), ++count));
    } catch (const std::invalid_argument&) {
        return std::nullopt;  // longer than a socket's path may be
    }
}

std::vector<OptionFailure> try_folder(const Address& address, const ListenOptions& options) {
    const std::optional<Address> beside = path_beside(address);
    const Fd fd = throw_away_socket(AF_UNIX);
    if (!beside || !fd.valid()) return {};
    static_cast<void>(::fchmod(fd.get(), S_IRUSR | S_IWUSR));
    if (const int error = bind_to(fd, *beside)) return {{error, "listen"}};
    SocketFile file{*beside};
    std::vector<OptionFailure> refused = file.set_permissions(options);
    file.remove();
    return refused;
}

}  // namespace

std::string listen_problem(const Address& address, int error) {
    return fmt::format("cannot listen on {}{}", address.to_string(), hint(address, error));
}

Fd listen_on(const Address& address, const ListenOptions& options) {
    const FolderLock lock{address};
    for (int races = 0;; ++races) {
        Address effective;
        Fd fd = open_socket(address, options, effective);
        if (options.share_port && !effective.is_unix()) {
            if (const int error = sys::set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1))
                cannot_listen(address, error);
        }
        // The file has the mode of the socket, less the umask: until its owner is right, nobody else
        // may use it.
        if (has_path(effective) && options.mode)
            static_cast<void>(::fchmod(fd.get(), S_IRUSR | S_IWUSR));
        int error = bind_to(fd, effective);
        if (error == EADDRINUSE && effective.is_unix() && is_stale_socket(effective)) {
            ::unlink(effective.path().c_str());
            error = bind_to(fd, effective);
        }
        if (error != 0) cannot_listen(address, error);
        // Nobody can connect before listen(2).
        SocketFile file{effective};
        if (file) {
            const std::vector<OptionFailure> refused = file.set_permissions(options);
            if (!refused.empty()) {
                file.remove();
                cannot_listen(address, refused.front());
            }
        }
        error = sys::listen(fd.get(), options.backlog);
        if (error == 0) return fd;
        file.remove();
        // Two sockets may be bound to an address while neither listens. listen(2) looks again, and
        // where two come to it in the same moment, it may refuse both. One that listens makes bind(2)
        // fail, the next time.
        if (error != EADDRINUSE || effective.is_unix() || races == most_races)
            cannot_listen(address, error);
        wait_for_another_race(races);
    }
}

// The first one is opened without SO_REUSEPORT, which would let us and another process of the same user
// have the address together, each without knowing. It may be set when it listens: the kernel makes the
// group when the second one comes.
std::vector<Fd> listen_together(const Address& address, ListenOptions options, std::size_t count) {
    options.share_port = false;
    std::vector<Fd> sockets;
    sockets.push_back(listen_on(address, options));
    if (address.is_unix() || count < 2) return sockets;
    if (const int error = sys::set_option(sockets.front().get(), SOL_SOCKET, SO_REUSEPORT, 1))
        cannot_listen(address, error);
    options.share_port = true;
    const Address actual = local_address(sockets.front());
    while (sockets.size() < count) sockets.push_back(listen_on(actual, options));
    return sockets;
}

// Two bound sockets may have the same address while neither listens, and both allow for it; one
// that listens makes bind(2) fail.
void require_unused(const Address& address) {
    if (address.is_unix()) return;
    Address effective;
    const Fd fd = open_socket(address, {}, effective);
    if (const int error = bind_to(fd, effective)) cannot_listen(address, error);
}

std::vector<OptionFailure> change_listener(const Fd& listener, const ListenOptions& options) {
    std::vector<OptionFailure> refused;
    const auto note = [&](int error, const char* option) {
        if (error != 0) refused.push_back({error, option});
    };
    note(sys::listen(listener.get(), options.backlog), "backlog");
    // On a machine without IPv6 the listener of [::] is an IPv4 one.
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    note(sys::local_address(listener.get(), raw, length), "listen");
    if (raw.ss_family != AF_INET && raw.ss_family != AF_INET6) return refused;
    set_tcp_options(listener, options, refused);
    // What was wanted before and is not any more.
    unset_options(listener, options.socket, raw.ss_family, refused);
    const auto off = [&](int name, const char* option) {
        note(sys::set_option(listener.get(), IPPROTO_TCP, name, 0), option);
    };
    if (options.fast_open == 0) off(TCP_FASTOPEN, "fast_open");
    if (options.defer_accept == Duration{0}) off(TCP_DEFER_ACCEPT, "defer_accept");
    set_all_of_route(listener, options.socket, raw.ss_family, refused);
    return refused;
}

int change_options(const Fd& listener, const Address& address,
                   const ListenOptions& options) noexcept {
    if (address.is_unix()) return sys::listen(listener.get(), options.backlog);
    const std::vector<OptionFailure> refused = change_listener(listener, options);
    return refused.empty() ? 0 : refused.front().error;
}

std::vector<OptionFailure> try_options(const ListenOptions& options) {
    std::vector<OptionFailure> refused;
    int family = AF_INET;
    Fd fd = throw_away_socket(family);
    if (!fd.valid()) fd = throw_away_socket(family = AF_INET6);
    if (!fd.valid()) return refused;
    set_tcp_options(fd, options, refused);
    set_all_of_route(fd, options.socket, family, refused);
    return refused;
}

int try_source(const Address& source, const SocketOptions& options) {
    const Fd fd = throw_away_socket(source.family());
    if (!fd.valid()) return 0;
    std::vector<OptionFailure> told_elsewhere;
    set_all_of_route(fd, options, source.family(), told_elsewhere);
    static_cast<void>(sys::set_option(fd.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1));
    return bind_to(fd, source.with_port(0));
}

std::vector<OptionFailure> try_to_listen(const Address& address, const ListenOptions& options) {
    if (has_path(address)) {
        struct stat status{};
        const bool taken = ::lstat(address.path().c_str(), &status) == 0;
        if (taken && !is_stale_socket(address)) return {{EADDRINUSE, "listen"}};
        return try_folder(address, options);
    }
    Address effective = address;
    Fd fd = throw_away_socket(address.family());
    if (!fd.valid() && address.family() == AF_INET6 && address.is_wildcard()) {
        effective = Address::parse(fmt::format("0.0.0.0:{}", address.port()));
        fd = throw_away_socket(AF_INET);
    }
    if (!fd.valid()) return {};
    if (!effective.is_unix()) {
        std::vector<OptionFailure> told_elsewhere;
        set_all_of_route(fd, options.socket, effective.family(), told_elsewhere);
        static_cast<void>(sys::set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
    }
    if (effective.family() == AF_INET6) {
        static_cast<void>(
            sys::set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, effective.is_wildcard() ? 0 : 1));
    }
    if (const int error = bind_to(fd, effective)) return {{error, "listen"}};
    return {};
}

std::vector<OptionFailure> try_permissions(const Address& address, const ListenOptions& options) {
    if (!has_path(address) || (!options.mode && !options.owner && !options.group)) return {};
    return try_folder(address, options);
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
