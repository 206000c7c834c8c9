// What all codecs need: complaints, quotes, several values.
#include "config/codec.hpp"

#include "config/codec_parts.hpp"

#include <fmt/format.h>

namespace eplb::control {
namespace {

std::string_view name_of(const Node& node) noexcept {
    switch (node.kind) {
    case Node::Kind::string: return "a string";
    case Node::Kind::integer: return "a number";
    case Node::Kind::floating: return "a number with a fraction";
    case Node::Kind::boolean: return "a boolean";
    case Node::Kind::date: return "a date or time";
    case Node::Kind::array: return "an array";
    case Node::Kind::table: return "a table";
    }
    return "something else";
}

}  // namespace

void Complaint::operator()(const Node& at, std::string_view problem) const {
    diagnostics_.error(
        at.place, at.place.in_file() ? fmt::format("{}: {}", key_, problem) : std::string{problem});
}

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        if (is_control(c)) {
            result += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
        } else {
            result += c;
        }
    }
    return result + '"';
}

std::string unexpected(std::string_view wanted, const Node& node) {
    return fmt::format("expected {}, got {}", wanted, name_of(node));
}

std::vector<Node> split_at_commas(const Node& node) {
    std::vector<Node> items;
    std::string_view rest = node.text;
    for (;;) {
        const std::size_t comma = rest.find(',');
        items.push_back(node);
        items.back().text = rest.substr(0, comma);
        if (comma == std::string_view::npos) return items;
        rest.remove_prefix(comma + 1);
    }
}

std::optional<std::vector<Node>> strings_of(const Node& node, const Complaint& complain,
                                            std::string_view wanted) {
    if (is_string(node)) return node.untyped ? split_at_commas(node) : std::vector<Node>{node};
    if (node.kind != Node::Kind::array) {
        complain(node, unexpected(wanted, node));
        return std::nullopt;
    }
    bool all_good = true;
    for (const Node& item : node.items) {
        if (is_string(item)) continue;
        complain(item, unexpected(wanted, item));
        all_good = false;
    }
    if (!all_good) return std::nullopt;
    return node.items;
}

void append(std::string& list, const std::string& item) {
    if (!list.empty()) list += ", ";
    list += item;
}

}  // namespace eplb::control
