#pragma once

#include "config/document.hpp"

#include <string_view>

namespace eplb::control {

/// Reads TOML 1.0. After an error what is returned holds less than was written, and `diagnostics`
/// says what is wrong: keys that are given twice are all found, of other slips the first one, since
/// what follows it may be taken for anything.
///
/// Safe with hostile text: nesting is bounded before a parser sees it.
[[nodiscard]] Node parse_toml(std::string_view text, Diagnostics& diagnostics);

}  // namespace eplb::control
