#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace eplb {

/// Reads "64KiB", "1MiB", "2GiB" or "4096": a whole number of bytes, or of a unit of 1024. Throws
/// std::invalid_argument with a message that quotes `text`.
[[nodiscard]] std::uint64_t parse_size(std::string_view text);

/// The shortest text that parse_size() reads back: "64KiB", "1000".
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace eplb
