#pragma once

#include "config/document.hpp"

#include <string>
#include <utility>
#include <vector>

namespace eplb::test {

/// A word of the command line, where the option is called `flag`.
[[nodiscard]] inline control::Node word(std::string text, std::string flag) {
    control::Node node;
    node.text = std::move(text);
    node.untyped = true;
    node.place.flag = std::move(flag);
    return node;
}

[[nodiscard]] inline control::Node array_of(std::vector<control::Node> items) {
    control::Node node;
    node.kind = control::Node::Kind::array;
    node.items = std::move(items);
    return node;
}

[[nodiscard]] inline control::Node table_of(std::vector<control::Member> members) {
    control::Node node;
    node.kind = control::Node::Kind::table;
    node.members = std::move(members);
    return node;
}

/// A key that an option of the command line gives a value.
[[nodiscard]] inline control::Member option(std::string key, std::string value, std::string flag) {
    control::Place place;
    place.flag = flag;
    return {std::move(key), place, word(std::move(value), std::move(flag))};
}

}  // namespace eplb::test
