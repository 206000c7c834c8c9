#pragma once

#include "eplb/backend.hpp"
#include "eplb/clock.hpp"
#include "health/rise_fall.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace eplb {

/// What was known of a backend when it left.
struct Verdict {
    Backend::Wanted wanted = Backend::Wanted::up;
    bool untried = false;
    health::Health health = health::Health::unknown;
    std::string cause;  ///< why it is down
    std::uint32_t ejections = 0;
    std::uint32_t failures_in_a_row = 0;
    TimePoint ejected_until = TimePoint::max();  ///< max(): it is not ejected
    bool ejected = false;
    TimePoint slow_since = TimePoint::max();  ///< max(): it does not start slowly
};

/// Verdicts on backends that have left their service, for a while: names lose an address in one
/// answer and have it again in the next, and a server that was down is not up because of that.
///
/// Bounded: of more than `most`, those that would be forgotten first are; now and then, so that there
/// may be twice as many for a while. Belongs to one thread.
class VerdictMemory {
public:
    static constexpr std::size_t most = 16'384;

    /// What is known of `who`, until then. Instead of what was.
    void remember(std::string who, Verdict verdict, TimePoint until);
    /// nullptr: nothing, or not any more. The pointer is good until the next call.
    [[nodiscard]] const Verdict* recall(std::string_view who, TimePoint now) const;
    /// Gives the memory of what is out of date back. O(size()).
    void tidy(TimePoint now);
    [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>{}(text);
        }
    };
    struct Known {
        Verdict verdict;
        TimePoint until;
    };

    void forget_earliest();

    std::unordered_map<std::string, Known, Hash, std::equal_to<>> known_;
};

}  // namespace eplb
