#include "eplb/timer.hpp"

#include "eplb/reactor.hpp"
#include "reactor/timer_wheel.hpp"

namespace eplb {

void Timer::start(Duration delay) noexcept {
    const TimePoint now = reactor_.now();
    start_at(delay < TimePoint::max() - now ? now + delay : TimePoint::max());
}

void Timer::start_at(TimePoint deadline) noexcept {
    cancel();
    reactor_.wheel_->insert(*this, deadline);
}

void Timer::cancel() noexcept {
    fired_ = false;
    if (armed()) reactor_.wheel_->remove(*this);
}

}  // namespace eplb
