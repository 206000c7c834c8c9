#include "health/rise_fall.hpp"

#include <algorithm>
#include <utility>

namespace eplb::health {

std::optional<Transition> RiseFall::count(bool good, std::string_view cause) {
    const Health told = good ? Health::up : Health::down;
    if (told == health_) {
        streak_ = 0;
        return std::nullopt;
    }
    ++streak_;
    const unsigned enough = health_ == Health::unknown ? 1 : good ? rise_ : fall_;
    if (streak_ < enough) return std::nullopt;
    // Before anything has changed: without memory for it, the next result tells.
    std::string why{cause};
    return Transition{.from = std::exchange(health_, told),
                      .to = told,
                      .results = std::exchange(streak_, 0),
                      .cause = std::move(why)};
}

void RiseFall::set_limits(unsigned rise, unsigned fall) noexcept {
    rise_ = std::max(rise, 1U);
    fall_ = std::max(fall, 1U);
}

void RiseFall::assume(Health health) noexcept {
    health_ = health;
    streak_ = 0;
}

void RiseFall::reset() noexcept { assume(Health::unknown); }

}  // namespace eplb::health
