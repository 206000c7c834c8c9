#pragma once

#include <string>
#include <string_view>

namespace eplb::control {

/// `text` as mdoc(7) takes it: a line that begins with a dot or an apostrophe is a macro there, and a
/// backslash an escape.
[[nodiscard]] std::string mdoc_text(std::string_view text);
/// The same, with `code` between backquotes in bold.
[[nodiscard]] std::string mdoc_sentences(std::string_view text);

}  // namespace eplb::control
