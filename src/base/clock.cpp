#include "eplb/clock.hpp"

namespace eplb {

MonotonicClock& MonotonicClock::instance() noexcept {
    static MonotonicClock clock;
    return clock;
}

}  // namespace eplb
