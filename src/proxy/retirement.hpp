#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <functional>
#include <utility>

namespace eplb {

class Reactor;

/// Time that what was removed still has. Belongs to whoever removed it.
class Retirement final : public Task {
public:
    /// `on_over` is called once, in a turn of its own, after `time`; it may destroy the retirement.
    Retirement(Reactor& reactor, Duration time, std::function<void(Retirement&)> on_over)
        : timer_{reactor, *this}, on_over_{std::move(on_over)} {
        timer_.start(time);
    }

    Next run() noexcept override { return timer_.take_fired() ? Next::done : Next::wait; }
    void retire() noexcept override {
        const auto on_over = std::exchange(on_over_, {});
        on_over(*this);
    }

private:
    Timer timer_;
    std::function<void(Retirement&)> on_over_;
};

}  // namespace eplb
