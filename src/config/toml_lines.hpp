#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace eplb::control {

// Places in the text of a TOML file.

/// Where a line is.
struct Line {
    std::size_t begin = 0;
    std::size_t end = 0;  // without the line feed
};

/// The line with this number, from 1 on; behind the end for one that is not there.
[[nodiscard]] Line find_line(std::string_view text, std::uint32_t number);
/// Where the key ends that `line` begins with: at its equals sign; npos: it has none.
[[nodiscard]] std::size_t end_of_key(std::string_view line);
/// Of UTF-8.
[[nodiscard]] std::uint32_t count_characters(std::string_view text) noexcept;

}  // namespace eplb::control
