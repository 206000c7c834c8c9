#pragma once

// What the codecs are made of; for codec_*.cpp alone.

#include "config/codec.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

[[nodiscard]] inline bool is_string(const Node& node) noexcept {
    return node.kind == Node::Kind::string;
}

[[nodiscard]] inline bool is_control(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// Runs a parser of src/base, which throws std::invalid_argument.
template <class Parse>
auto parse_or_complain(const Node& node, const Complaint& complain, Parse parse)
    -> std::optional<decltype(parse(node.text))> {
    try {
        return parse(node.text);
    } catch (const std::invalid_argument& error) {
        complain(node, error.what());
        return std::nullopt;
    }
}

/// The node's own text as an address; whether it is a host name does not matter yet.
[[nodiscard]] std::optional<Endpoint> read_endpoint(const Node& node, const Complaint& complain,
                                                    std::string_view example);

/// ${LISTENERS} may stand for several.
[[nodiscard]] std::vector<Node> split_at_commas(const Node& node);

/// An array of strings, or one, or one made of ${VARIABLES} with commas in it; nothing, after a
/// complaint, if it is something else.
[[nodiscard]] std::optional<std::vector<Node>> strings_of(const Node& node,
                                                          const Complaint& complain,
                                                          std::string_view wanted);

/// `parse` makes an item of a text, or throws std::invalid_argument.
template <class Item, class Parse>
std::optional<std::vector<Item>> read_list(const Node& node, const Complaint& complain,
                                           std::string_view wanted, Parse parse) {
    const auto items = strings_of(node, complain, wanted);
    if (!items) return std::nullopt;
    std::vector<Item> list;
    for (const Node& item : *items) {
        const auto value = parse_or_complain(item, complain, parse);
        if (value) list.push_back(*value);
    }
    if (list.size() != items->size()) return std::nullopt;
    return list;
}

/// To a list of TOML.
void append(std::string& list, const std::string& item);

}  // namespace eplb::control
