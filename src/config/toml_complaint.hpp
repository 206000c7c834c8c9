#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace eplb::control {

/// What is wrong at this place of `text`, and the way out of it, in our words. `description` is what
/// toml++ says of it.
[[nodiscard]] std::string complaint_of(std::string_view description, std::uint32_t line,
                                       std::uint32_t column, std::string_view text);

}  // namespace eplb::control
