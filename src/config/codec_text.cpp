// Texts and names.
#include "config/codec_parts.hpp"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

namespace eplb::control {

Codec<std::string> text_codec(const std::string& what) {
    const auto read = [what](const Node& node,
                             const Complaint& complain) -> std::optional<std::string> {
        if (!is_string(node)) {
            complain(node, unexpected(what, node));
        } else if (node.text.empty()) {
            complain(node, fmt::format("expected {}, got nothing", what));
        } else if (std::ranges::any_of(node.text, is_control)) {
            complain(node, fmt::format("expected {}, got control characters", what));
        } else {
            return node.text;
        }
        return std::nullopt;
    };
    return {.type = "string", .read = read, .write = [](const std::string& value) {
                return quoted(value);
            }};
}

Codec<std::string> name_codec() {
    const auto read = [](const Node& node,
                         const Complaint& complain) -> std::optional<std::string> {
        const bool fits =
            is_string(node) && !node.text.empty() &&
            std::ranges::all_of(node.text, [](char c) { return c > ' ' && c != '"' && c < 0x7f; });
        if (fits) return node.text;
        if (is_string(node)) {
            complain(node,
                     "a name is one or more printable ASCII characters without blanks and quotes");
        } else {
            complain(node, unexpected("a name", node));
        }
        return std::nullopt;
    };
    return {.type = "name", .read = read, .write = [](const std::string& value) {
                return quoted(value);
            }};
}

Codec<std::string> system_name_codec(const std::string& what, const std::string& none,
                                     std::size_t longest) {
    const auto read = [what, none, longest](
                          const Node& node,
                          const Complaint& complain) -> std::optional<std::string> {
        if (!is_string(node)) {
            complain(node, unexpected(what, node));
        } else if (node.text == none) {
            return std::string{};
        } else if (node.text.empty() || node.text.size() > longest ||
                   std::ranges::any_of(
                       node.text, [](char c) { return is_control(c) || c == '/' || c == ' '; })) {
            complain(node, fmt::format("\"{}\" is not {}", node.text, what));
        } else {
            return node.text;
        }
        return std::nullopt;
    };
    return {
        .type = fmt::format("{}, or {}", what, quoted(none)),
        .read = read,
        .write = [none](const std::string& value) { return quoted(value.empty() ? none : value); }};
}

}  // namespace eplb::control
