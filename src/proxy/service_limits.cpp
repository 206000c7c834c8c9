#include "proxy/service_limits.hpp"

namespace eplb {

void ServiceLimits::set_options(const Options& options) noexcept {
    max_connections_.store(options.max_connections);
    limiter_.set_rate(options.rate);
}

Admission ServiceLimits::try_enter(TimePoint now) noexcept {
    std::size_t sessions = sessions_.load();
    do {
        if (!has_room(sessions)) return Admission::too_many;
    } while (!sessions_.compare_exchange_weak(sessions, sessions + 1));
    if (limiter_.try_take(now)) return Admission::admitted;
    leave();
    return Admission::too_fast;
}

// Whoever waits has set the flag and then looked for room; we have made room and then look at the
// flag. In the one order of all these operations, one of the two sees the other.
void ServiceLimits::leave() noexcept {
    const std::size_t left = sessions_.fetch_sub(1) - 1;
    if (!room_wanted_.load() || !has_room(left)) return;
    if (room_wanted_.exchange(false) && on_room_) on_room_();
}

void ServiceLimits::undo() noexcept {
    limiter_.give_back();
    leave();
}

}  // namespace eplb
