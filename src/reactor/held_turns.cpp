#include "reactor/held_turns.hpp"

#include <algorithm>

namespace eplb {

void HeldTurns::note(TimePoint began, TimePoint end) noexcept {
    const auto length = [](const Held& held) { return held.end - held.began; };
    Held& shortest = *std::ranges::min_element(turns_, {}, length);
    if (end - began >= length(shortest)) shortest = {began, end};
}

TimePoint HeldTurns::end_of(TimePoint began) const noexcept {
    TimePoint end = began;
    for (const Held& held : turns_) {
        if (held.began == began) end = std::max(end, held.end);
    }
    return end;
}

}  // namespace eplb
