#include "base/escape.hpp"

#include <fmt/format.h>

namespace eplb {
namespace {

// What is below `first`, and what else could end a word or a quotation, becomes \xNN.
std::string escape_below(char first, std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c >= first && c < 0x7f && c != '"' && c != '\\') {
            result += c;
        } else {
            result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return result;
}

}  // namespace

std::string escaped(std::string_view text) { return escape_below('!', text); }

std::string escaped_phrase(std::string_view text) { return escape_below(' ', text); }

}  // namespace eplb
