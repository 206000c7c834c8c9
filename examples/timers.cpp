// Timers: a task looks which of its own have fired. Ticks three times; each tick puts the watchdog
// off, which barks when they have stopped.
//     timers

#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <chrono>
#include <iostream>

namespace {

using namespace eplb;
using namespace std::chrono_literals;

class Metronome final : public Task {
public:
    explicit Metronome(Reactor& reactor) : reactor_{reactor} {
        tick_.start(period);
        watchdog_.start(patience);
    }

    // Never early; a timer that is late counts from when it was due, so the ticks do not drift.
    Next run() override {
        if (tick_.take_fired()) {
            due_ += period;
            std::cout << "tick at " << elapsed() << " ms" << std::endl;
            if (++ticks_ < 3) tick_.start_at(due_ + period);
            watchdog_.start(patience);  // moves it: a timer fires once for each start
        }
        if (watchdog_.take_fired()) {
            std::cout << "nothing for " << patience / 1ms << " ms" << std::endl;
            reactor_.stop();
        }
        return Next::wait;
    }

private:
    static constexpr Duration period = 20ms;
    static constexpr Duration patience = 50ms;

    [[nodiscard]] long elapsed() const { return (reactor_.now() - start_) / 1ms; }

    Reactor& reactor_;
    TimePoint start_ = reactor_.now();
    TimePoint due_ = start_;
    Timer tick_{reactor_, *this};
    Timer watchdog_{reactor_, *this};
    int ticks_ = 0;
};

}  // namespace

int main() {
    Reactor reactor;
    Metronome metronome{reactor};
    reactor.run();
}
