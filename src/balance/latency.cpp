#include "eplb/latency.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace eplb {

void Latency::observe(Duration sample, TimePoint now) noexcept {
    const Duration counted =
        std::clamp<Duration>(sample, std::chrono::microseconds{1}, std::chrono::hours{1});
    const double lifetime =
        std::log(static_cast<double>(counted.count())) * static_cast<double>(time_constant.count());
    const Duration::rep forgotten_at =
        now.time_since_epoch().count() + static_cast<Duration::rep>(lifetime);
    Duration::rep known = forgotten_at_.load(std::memory_order_relaxed);
    while (known < forgotten_at &&
           !forgotten_at_.compare_exchange_weak(known, forgotten_at, std::memory_order_relaxed)) {}
}

Duration Latency::at(TimePoint now) const noexcept {
    const Duration::rep forgotten_at = forgotten_at_.load(std::memory_order_relaxed);
    const Duration::rep time = now.time_since_epoch().count();
    if (forgotten_at <= time) return Duration{0};
    const double decay =
        static_cast<double>(forgotten_at - time) / static_cast<double>(time_constant.count());
    return Duration{std::llround(std::exp(decay))};
}

}  // namespace eplb
