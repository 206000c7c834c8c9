// base: so many in such a time.
#pragma once

#include "eplb/clock.hpp"
#include "eplb/export.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace eplb {

/// So many a period, for instance connections. A plain value.
///
/// The count is the burst as well: 100/s lets 100 come at once, and then 100 a second. 1/10ms is
/// the same in the long run, and lets nobody come together.
struct EPLB_API Rate {
    std::uint32_t count = 0;                    ///< 0: no limit
    Duration period = std::chrono::seconds{1};  ///< above zero, and not above a century

    /// Reads "100/s", "5/10s", "1000/m" or "off": a whole number above zero, and a period as other
    /// durations are written, of which a leading 1 may be left out. Throws std::invalid_argument
    /// with a message that quotes `text` and says what is wrong with it.
    [[nodiscard]] static Rate parse(std::string_view text);

    /// Whatever the period.
    [[nodiscard]] bool unlimited() const noexcept { return count == 0; }

    /// The shortest text that parse() reads back, with a period in whole microseconds: "100/s",
    /// "5/10s"; "off" for no limit.
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const Rate& a, const Rate& b) noexcept = default;
};

}  // namespace eplb
