#include "admission/rate_limiter.hpp"

namespace eplb {
namespace {

// Far from overflowing, even added to a time twice.
constexpr Duration century = std::chrono::hours{24} * 36'525;

}  // namespace

static_assert(std::atomic<TimePoint>::is_always_lock_free);

Pace::Pace(const Rate& rate) noexcept {
    if (rate.unlimited() || rate.period <= Duration{0}) return;
    const Duration period = std::min(rate.period, century);
    const Duration::rep count = rate.count;
    interval_ = Duration{(period.count() + count - 1) / count};
    burst_ = interval_ * count;
}

bool RateLimiter::try_take(TimePoint now) noexcept {
    const Pace pace = this->pace();
    if (pace.unlimited()) return true;
    TimePoint seen = due_.load(std::memory_order_relaxed);
    for (;;) {
        TimePoint due = seen;
        const bool taken = pace.take(due, now);
        if (due == seen) return taken;  // refused, and nothing to forgive
        if (due_.compare_exchange_weak(seen, due, std::memory_order_relaxed)) return taken;
    }
}

void RateLimiter::give_back() noexcept {
    const Duration interval = interval_.load(std::memory_order_relaxed);
    TimePoint due = due_.load(std::memory_order_relaxed);
    while (due != Pace::never &&
           !due_.compare_exchange_weak(due, due - interval, std::memory_order_relaxed)) {}
}

void RateLimiter::set_rate(const Rate& rate) noexcept {
    const Pace pace{rate};
    interval_.store(pace.interval(), std::memory_order_relaxed);
    burst_.store(pace.burst(), std::memory_order_relaxed);
}

}  // namespace eplb
