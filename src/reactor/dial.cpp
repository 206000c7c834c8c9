#include "reactor/dial.hpp"

#include "base/socket_options.hpp"
#include "base/sys.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>

namespace eplb {
namespace {

using Step = Dialled::Step;

[[nodiscard]] OptionFailure bind_to(const Fd& socket, const Address& source,
                                    const char* option) noexcept {
    // The kernel chooses the port when it knows where to: a full range for every peer, ip(7).
    static_cast<void>(sys::set_option(socket.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1));
    sockaddr_storage raw{};
    const socklen_t length = source.with_port(0).to_sockaddr(raw);
    return {sys::bind(socket.get(), raw, length), option};
}

[[nodiscard]] OptionFailure prepare(const Fd& socket, const DialTarget& target) noexcept {
    const int family = target.to.family();
    if (target.options.no_delay) set_no_delay(socket);
    if (target.keepalive) set_keepalive(socket, target.options.keepalive);
    if (const OptionFailure failure = set_route(socket, target.options, family, target.transparent))
        return failure;
    if (target.source == nullptr) return {};
    return bind_to(socket, *target.source, target.transparent ? "transparent" : "source");
}

[[nodiscard]] bool is_connected_to_itself(const Fd& socket, const Address& to) noexcept {
    if (to.is_unix()) return false;
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (sys::local_address(socket.get(), raw, length) != 0) return false;
    const Address local = Address::from(raw, length);
    // Whoever connects to "every address" is on loopback, at both ends.
    return local == to || (to.is_wildcard() && local.port() == to.port());
}

}  // namespace

bool Dialled::backlog_is_full(const Address& to) const noexcept {
    return error == EAGAIN && step == Step::connect && to.is_unix();
}

Dialled dial(const DialTarget& target, Fd& socket, Watch& watch) noexcept {
    const int fd = sys::socket(target.to.family());
    if (fd < 0) return {-fd, Step::socket};
    watch.detach();
    socket.reset(fd);
    if (!target.to.is_unix()) {
        if (const OptionFailure failure = prepare(socket, target))
            return {failure.error, Step::option, failure.option};
    }
    sockaddr_storage raw{};
    const socklen_t length = target.to.to_sockaddr(raw);
    const int result = sys::connect(fd, raw, length);
    if (result != 0 && result != EINPROGRESS) return {result};
    // Not before: epoll(7) reports a hang-up for a socket that was never connected.
    if (const int error = watch.attach(fd)) return {error, Step::watch};
    return {result != 0 ? result : refuse_connection_to_itself(socket, target.to)};
}

int take_connect_error(const Watch& watch) noexcept {
    // Of a connection that stands the kernel reports EPOLLOUT alone.
    if (watch.hung_up()) {
        if (const int error = sys::take_error(watch.fd())) return error;
    }
    return watch.failed() ? ECONNABORTED : 0;
}

int refuse_connection_to_itself(const Fd& socket, const Address& to) noexcept {
    if (!is_connected_to_itself(socket, to)) return 0;
    // Closed with a FIN, it would keep the peer's own port in TIME-WAIT.
    sys::reset_on_close(socket.get());
    return ECONNREFUSED;
}

Duration time_to_next_dial(Duration waited, Duration limit) noexcept {
    // Ever less often: after about as long as it has been.
    static constexpr Duration first = std::chrono::milliseconds{1};
    static constexpr Duration last = std::chrono::milliseconds{64};
    const Duration next = std::clamp(waited, first, last);
    return limit > Duration{0} ? std::min(next, limit - waited) : next;
}

}  // namespace eplb
