#pragma once

#include <string>
#include <string_view>

namespace eplb {

/// `text` as one word of printable ASCII: blanks, quotes, backslashes and all other bytes become \xNN.
/// For what a peer chose (the name of its Unix socket, the id in its PROXY header), which must not be
/// able to write fields, or lines, into a log.
[[nodiscard]] std::string escaped(std::string_view text);

/// The same, but blanks stay: for text that a log has between quotes.
[[nodiscard]] std::string escaped_phrase(std::string_view text);

}  // namespace eplb
