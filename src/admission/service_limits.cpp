#include "admission/service_limits.hpp"

#include <bit>

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

// Whoever waits has set its bit and then looked for room; we have made room and then look at the
// bits. In the one order of all these operations, one of the two sees the other.
void ServiceLimits::leave() noexcept {
    const std::size_t left = sessions_.fetch_sub(1) - 1;
    if (waiting_.load() == 0 || !has_room(left)) return;
    const std::size_t worker = take_next_waiting();
    if (worker != most_told_apart && on_room_) on_room_(worker);
}

// If whoever is quickest got every place, some workers' clients would wait many times as long as
// others'.
std::size_t ServiceLimits::take_next_waiting() noexcept {
    std::uint64_t waiting = waiting_.load();
    while (waiting != 0) {
        const std::size_t behind = (told_last_.load() + 1) % most_told_apart;
        const auto steps = static_cast<std::size_t>(
            std::countr_zero(std::rotr(waiting, static_cast<int>(behind))));
        const std::size_t worker = (behind + steps) % most_told_apart;
        if (!waiting_.compare_exchange_weak(waiting, waiting & ~(std::uint64_t{1} << worker)))
            continue;
        told_last_.store(worker);
        return worker;
    }
    return most_told_apart;
}

void ServiceLimits::undo() noexcept {
    limiter_.give_back();
    leave();
}

}  // namespace eplb
