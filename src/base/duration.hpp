#pragma once

#include "eplb/clock.hpp"

#include <string>
#include <string_view>

namespace eplb {

/// Reads "50us", "250ms", "5s", "10m", "2h" or "1d": a whole number and a unit, nothing else. "0" and "off"
/// are zero. Throws std::invalid_argument with a message that quotes `text`.
[[nodiscard]] Duration parse_duration(std::string_view text);

/// The shortest text that parse_duration() reads back, in whole microseconds: "5s", "90s", "250ms";
/// "off" for zero.
[[nodiscard]] std::string format_duration(Duration duration);

}  // namespace eplb
