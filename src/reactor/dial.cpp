#include "reactor/dial.hpp"

#include "base/sys.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace eplb {

int take_connect_error(const Watch& watch) noexcept {
    // Of a connection that stands the kernel reports EPOLLOUT alone.
    if (watch.hung_up()) {
        if (const int error = sys::take_error(watch.fd())) return error;
    }
    return watch.failed() ? ECONNABORTED : 0;
}

Duration time_to_next_dial(Duration waited, Duration limit) noexcept {
    // Ever less often: after about as long as it has been.
    static constexpr Duration first = std::chrono::milliseconds{1};
    static constexpr Duration last = std::chrono::milliseconds{64};
    const Duration next = std::clamp(waited, first, last);
    return limit > Duration{0} ? std::min(next, limit - waited) : next;
}

bool is_connected_to_itself(const Fd& socket, const Address& target) noexcept {
    if (target.is_unix()) return false;
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (sys::local_address(socket.get(), raw, length) != 0) return false;
    const Address local = Address::from(raw, length);
    // Whoever connects to "every address" is on loopback, at both ends.
    return local == target || (target.is_wildcard() && local.port() == target.port());
}

}  // namespace eplb
