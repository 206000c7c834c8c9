#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <functional>
#include <utility>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// Something that is to be done after a while, and maybe again. To start it takes no memory, so it is
/// also what is left when there is none.
class Later final : public Task {
public:
    /// `what` must not throw, and must not destroy this.
    Later(Reactor& reactor, std::function<void()> what)
        : timer_{reactor, *this}, what_{std::move(what)} {}

    /// Unless it is started already.
    void start(Duration delay) noexcept {
        if (!timer_.armed()) timer_.start(delay);
    }

    [[nodiscard]] bool armed() const noexcept { return timer_.armed(); }

    Next run() override {
        if (timer_.take_fired()) what_();
        return Next::wait;
    }

private:
    Timer timer_;
    std::function<void()> what_;
};

}  // namespace eplb::control
