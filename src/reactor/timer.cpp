#include "eplb/timer.hpp"

#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "reactor/timer_wheel.hpp"

namespace eplb {

void Timer::start(Duration delay) noexcept {
    const TimePoint now = reactor_.now();
    cancel();
    if (delay <= Duration{0}) return reactor_.wheel_->insert_due(*this, now);
    reactor_.wheel_->insert(*this, saturating_add(now, delay));
}

void Timer::start_at(TimePoint deadline) noexcept {
    cancel();
    if (deadline <= reactor_.now()) return reactor_.wheel_->insert_due(*this, deadline);
    reactor_.wheel_->insert(*this, deadline);
}

void Timer::cancel() noexcept {
    fired_ = false;
    if (armed()) reactor_.wheel_->remove(*this);
}

}  // namespace eplb
