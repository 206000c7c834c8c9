#include "config/mdoc.hpp"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

namespace eplb::control {

std::string mdoc_text(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c == '\\') {
            result += "\\e";
        } else if (c == '-') {
            result += "\\-";
        } else if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n')) {
            result += "\\&";
            result += c;
        } else {
            result += c;
        }
    }
    return result;
}

std::string mdoc_sentences(std::string_view text) {
    std::string result;
    bool code = false;
    for (std::size_t end = 0; !text.empty(); code = !code) {
        end = std::min(text.find('`'), text.size());
        const std::string part = mdoc_text(text.substr(0, end));
        result += code ? fmt::format("\\fB{}\\fR", part) : part;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return result;
}

}  // namespace eplb::control
