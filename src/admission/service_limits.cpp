#include "admission/service_limits.hpp"

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

// Whoever waits has asked and then looked for room; we have made room and then look who has asked. In
// the one order of all these operations, one of the two sees the other.
void ServiceLimits::leave() noexcept {
    sessions_.fetch_sub(1);
    pass_on();
}

void ServiceLimits::pass_on() noexcept {
    if (!waiting_.anyone() || !has_room(sessions_.load())) return;
    if (const auto worker = waiting_.take_next(); worker && on_room_) on_room_(*worker);
}

void ServiceLimits::undo() noexcept {
    limiter_.give_back();
    leave();
}

}  // namespace eplb
