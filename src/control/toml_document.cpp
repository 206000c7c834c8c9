#include "control/toml_document.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>

#include <toml++/toml.h>

namespace eplb::control {
namespace {

constexpr int deepest = 16;
// Finding a further key that is given twice takes reading everything again.
constexpr std::size_t most_bytes_reread = 512 * 1024;

Place place_of(const toml::source_region& region) {
    Place place{.line = region.begin.line, .column = region.begin.column, .length = 0, .flag = {}};
    if (region.end.line == region.begin.line && region.end.column > region.begin.column)
        place.length = region.end.column - region.begin.column;
    return place;
}

// toml++ recurses over values, and so do the destructors of what it builds, also out of dotted keys,
// of which it has no limit. How deep brackets and dotted keys go, found without recursion and without building anything.
class NestingScan {
public:
    explicit NestingScan(std::string_view text) noexcept : text_{text} {}

    /// Where it gets too deep.
    [[nodiscard]] std::optional<Place> run() {
        while (!at_end()) {
            if (text_[at_] == '#') {
                skip_comment();
            } else if (text_[at_] == '"' || text_[at_] == '\'') {
                skip_string(text_[at_]);
            } else if (!step(text_[at_])) {
                return Place{.line = line_,
                             .column = static_cast<std::uint32_t>(at_ - line_start_ + 1),
                             .length = 0,
                             .flag = {}};
            }
        }
        return std::nullopt;
    }

private:
    [[nodiscard]] bool at_end() const noexcept { return at_ >= text_.size(); }
    [[nodiscard]] bool is_at(std::string_view what) const noexcept {
        return text_.substr(at_, what.size()) == what;
    }

    void advance() noexcept {
        if (text_[at_] == '\n') {
            ++line_;
            line_start_ = at_ + 1;
        }
        ++at_;
    }

    void skip_comment() noexcept {
        while (!at_end() && text_[at_] != '\n') advance();
    }

    // One that is not closed ends with its line, or the text; the parser will complain.
    void skip_string(char quote) noexcept {
        const std::string fence(3, quote);
        const bool multiline = is_at(fence);
        for (int i = multiline ? 3 : 1; i > 0; --i) advance();
        while (!at_end()) {
            if (!multiline && text_[at_] == '\n') return;
            if (multiline ? is_at(fence) : text_[at_] == quote) break;
            if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) advance();
            advance();
        }
        for (int i = multiline ? 3 : 1; i > 0 && !at_end(); --i) advance();
    }

    [[nodiscard]] bool step(char c) noexcept {
        switch (c) {
        case '[':
        case '{': ++depth_; [[fallthrough]];
        case '\n':
        case '=':
        case ',': dots_ = 0; break;
        case ']':
        case '}': depth_ = std::max(0, depth_ - 1); break;
        case '.': ++dots_; break;
        default: break;
        }
        if (depth_ > deepest || dots_ > deepest) return false;
        advance();
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t line_start_ = 0;
    std::uint32_t line_ = 1;
    int depth_ = 0;
    int dots_ = 0;
};

Node to_node(const toml::node& value);

std::vector<Member> to_members(const toml::table& table) {
    std::vector<Member> members;
    members.reserve(table.size());
    for (const auto& [key, value] : table) {
        members.push_back({std::string{key.str()}, place_of(key.source()), to_node(value)});
    }
    // toml++ has them by name.
    std::ranges::stable_sort(members, {}, [](const Member& member) {
        return std::pair{member.place.line, member.place.column};
    });
    return members;
}

Node to_node(const toml::node& value) {
    Node node;
    node.place = place_of(value.source());
    switch (value.type()) {
    case toml::node_type::string:
        node.kind = Node::Kind::string;
        node.text = **value.as_string();
        break;
    case toml::node_type::integer:
        node.kind = Node::Kind::integer;
        node.integer = **value.as_integer();
        break;
    case toml::node_type::boolean:
        node.kind = Node::Kind::boolean;
        node.boolean = **value.as_boolean();
        break;
    case toml::node_type::array:
        node.kind = Node::Kind::array;
        for (const toml::node& item : *value.as_array()) node.items.push_back(to_node(item));
        break;
    case toml::node_type::table:
        node.kind = Node::Kind::table;
        node.members = to_members(*value.as_table());
        break;
    case toml::node_type::floating_point: node.kind = Node::Kind::floating; break;
    default: node.kind = Node::Kind::date; break;
    }
    return node;
}

// The text between the quotes of "cannot redefine existing integer 'a.b'".
std::string quoted_part(std::string_view description) {
    const std::size_t begin = description.find('\'');
    const std::size_t end = description.rfind('\'');
    if (begin == std::string_view::npos || end <= begin) return {};
    return std::string{description.substr(begin + 1, end - begin - 1)};
}

struct Line {
    std::size_t begin = 0;
    std::size_t end = 0;  // without the line feed
};

Line find_line(std::string_view text, std::uint32_t number) {
    std::size_t begin = 0;
    for (std::uint32_t line = 1; line < number; ++line) {
        const std::size_t end = text.find('\n', begin);
        if (end == std::string_view::npos) return {text.size(), text.size()};
        begin = end + 1;
    }
    return {begin, std::min(text.find('\n', begin), text.size())};
}

// The line of a key that is given again, if it is one that can be left out: all of the value is on
// it, and nothing else is. Nothing: it can not.
std::optional<Place> duplicate_key(const toml::parse_error& error, std::string_view text) {
    if (!error.description().starts_with("Error while parsing key-value pair: cannot redefine"))
        return std::nullopt;
    const std::string key = quoted_part(error.description());
    const std::uint32_t number = error.source().begin.line;
    const Line range = find_line(text, number);
    const std::string_view line = text.substr(range.begin, range.end - range.begin);
    const std::size_t start = line.find_first_not_of(" \t");
    if (key.empty() || start == std::string_view::npos || !line.substr(start).starts_with(key))
        return std::nullopt;
    return Place{.line = number,
                 .column = static_cast<std::uint32_t>(start + 1),
                 .length = static_cast<std::uint32_t>(key.size()),
                 .flag = {}};
}

void blank(std::string& text, std::uint32_t number) {
    const Line range = find_line(text, number);
    std::fill(text.begin() + static_cast<std::ptrdiff_t>(range.begin),
              text.begin() + static_cast<std::ptrdiff_t>(range.end), ' ');
}

// "Error while parsing key: expected ..." says twice that it is an error.
std::string message_of(std::string_view description) {
    static constexpr std::string_view opening = "Error while ";
    if (description.starts_with(opening)) description.remove_prefix(opening.size());
    return std::string{description};
}

// The innermost table whose header is above `line`.
const Node& table_above(const Node& table, std::uint32_t line) {
    const Node* best = &table;
    const auto consider = [&](const Node& candidate) {
        if (candidate.kind != Node::Kind::table || candidate.place.line >= line) return;
        const Node& inner = table_above(candidate, line);
        if (inner.place.line > best->place.line || best == &table) best = &inner;
    };
    for (const Member& member : table.members) {
        consider(member.value);
        for (const Node& item : member.value.items) consider(item);
    }
    return *best;
}

void report_duplicate(const Node& root, const Place& place, const std::string& key,
                      Diagnostics& diagnostics) {
    std::string message = fmt::format("\"{}\" is given twice", key);
    if (const Member* const first = table_above(root, place.line).find(key))
        message += fmt::format("; first in line {}", first->place.line);
    diagnostics.error(place, std::move(message));
}

}  // namespace

Node parse_toml(std::string_view source, Diagnostics& diagnostics) {
    Node root;
    root.kind = Node::Kind::table;
    if (const auto too_deep = NestingScan{source}.run()) {
        diagnostics.error(*too_deep, fmt::format("nested more than {} deep", deepest));
        return root;
    }
    std::string text{source};
    std::vector<std::pair<Place, std::string>> duplicates;
    for (;;) {
        try {
            const toml::table table = toml::parse(std::string_view{text});
            root.members = to_members(table);
            break;
        } catch (const toml::parse_error& error) {
            const auto duplicate = duplicate_key(error, text);
            if (!duplicate) {
                // What was left out may have gone on in the next line.
                if (duplicates.empty())
                    diagnostics.error(place_of(error.source()), message_of(error.description()));
                break;
            }
            duplicates.emplace_back(*duplicate, quoted_part(error.description()));
            if (duplicates.size() * text.size() > most_bytes_reread) break;
            blank(text, duplicate->line);
        }
    }
    for (const auto& [place, key] : duplicates) report_duplicate(root, place, key, diagnostics);
    return root;
}

}  // namespace eplb::control
