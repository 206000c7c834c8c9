#pragma once

#include <span>
#include <string>
#include <string_view>

namespace eplb {

/// `; did you mean "weight"?` for the candidate that `word` looks like a slip of, or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       std::span<const std::string_view> candidates);

}  // namespace eplb
