#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace eplb::health {

enum class Health : std::uint8_t {
    unknown,  ///< nobody has asked yet: usable
    up,
    down,
};

/// A state that has become another one.
struct Transition {
    Health from = Health::unknown;
    Health to = Health::unknown;
    /// Results in a row that brought it about.
    unsigned results = 0;
    /// Of the latest of them; empty for good ones.
    std::string cause;
};

/// Makes a state of results:
///
///   unknown --one result--> up, down
///   up      --fall bad ones in a row--> down
///   down    --rise good ones in a row--> up
///
/// Pure. Errors of this machine are no results.
class RiseFall {
public:
    /// Each at least 1; 0 is taken for 1.
    RiseFall(unsigned rise, unsigned fall) noexcept { set_limits(rise, fall); }

    /// Counts a result. Says what it changed, if it did.
    std::optional<Transition> count(bool good, std::string_view cause);

    /// They count from the next result on.
    void set_limits(unsigned rise, unsigned fall) noexcept;
    /// The results so far were those of another question: the state stays, what contradicts it is
    /// forgotten.
    void forget_streak() noexcept { streak_ = 0; }
    /// What was found before, by somebody else who counted.
    void assume(Health health) noexcept;
    /// Nothing is known any more.
    void reset() noexcept;

    [[nodiscard]] Health health() const noexcept { return health_; }
    /// Whether the latest results contradict the state, and were not enough to change it.
    [[nodiscard]] bool changing() const noexcept { return streak_ > 0; }

private:
    unsigned rise_ = 1;
    unsigned fall_ = 1;
    Health health_ = Health::unknown;
    unsigned streak_ = 0;  // results in a row that contradict the state
};

}  // namespace eplb::health
