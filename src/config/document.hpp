#pragma once

#include "config/diagnostics.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

struct Member;

/// A value as it was written, before anybody knows what it means: TOML's, less what a configuration
/// has no use for.
struct Node {
    enum class Kind : std::uint8_t { string, integer, floating, boolean, date, array, table };

    Kind kind = Kind::string;
    Place place;
    std::string text;          ///< of a string
    std::int64_t integer = 0;  ///< of an integer
    bool boolean = false;      ///< of a boolean
    /// A string that stands for whatever its key wants: a word of the command line, or one made of
    /// ${VARIABLES}.
    bool untyped = false;
    /// Something was wrong with it, which has been told: nobody needs to look at it any more.
    bool broken = false;
    std::vector<Node> items;      ///< of an array
    std::vector<Member> members;  ///< of a table, in the order in which they were written

    [[nodiscard]] const Member* find(std::string_view key) const noexcept;
};

struct Member {
    std::string key;
    Place place;  ///< of the key
    Node value;
};

inline const Member* Node::find(std::string_view key) const noexcept {
    for (const Member& member : members) {
        if (member.key == key) return &member;
    }
    return nullptr;
}

}  // namespace eplb::control
