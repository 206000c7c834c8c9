#include "base/escape.hpp"

#include <fmt/format.h>

namespace eplb {

std::string escaped(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c > ' ' && c < 0x7f && c != '"' && c != '\\') {
            result += c;
        } else {
            result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return result;
}

}  // namespace eplb
