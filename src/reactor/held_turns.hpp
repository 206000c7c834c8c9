#pragma once

#include "eplb/clock.hpp"

#include <array>
#include <cstddef>

namespace eplb {

/// Turns that took far longer than a turn does, because the process was stopped or the machine
/// stood still: a turn has one now(), and what was noted in one of these may have happened long
/// after it. Remembers the longest of them.
class HeldTurns {
public:
    /// What is shorter is no matter for a timeout.
    static constexpr Duration least = std::chrono::milliseconds{50};

    /// A turn whose now() was `began` was over at `end`.
    void note(TimePoint began, TimePoint end) noexcept;
    /// When the turn that began at this very time was over, if it is one of them; else `began`.
    [[nodiscard]] TimePoint end_of(TimePoint began) const noexcept;

private:
    struct Held {
        TimePoint began{};
        TimePoint end{};
    };
    // One pause is one entry; a machine that stalls all the time has turns of about one length, and
    // then it hardly matters which of them are forgotten.
    static constexpr std::size_t most = 16;

    std::array<Held, most> turns_{};
};

}  // namespace eplb
