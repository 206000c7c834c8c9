#include "config/toml_document.hpp"

#include "config/toml_complaint.hpp"
#include "config/toml_lines.hpp"

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
    explicit NestingScan(std::string_view text) noexcept : text_{text} {
        if (text_.starts_with("\xef\xbb\xbf")) at_ = line_start_ = 3;  // a byte order mark
    }

    /// Where it gets too deep.
    [[nodiscard]] std::optional<Place> run() {
        while (!at_end()) {
            if (text_[at_] == '#') {
                skip_comment();
            } else if (text_[at_] == '"' || text_[at_] == '\'') {
                skip_string(text_[at_]);
            } else if (!step(text_[at_])) {
                return Place{.line = line_, .column = column(), .length = 0, .flag = {}};
            }
        }
        return std::nullopt;
    }

    /// Whether all brackets and strings are closed at the end of the text.
    [[nodiscard]] bool is_complete() const noexcept { return depth_ == 0 && !in_string_; }

private:
    [[nodiscard]] std::uint32_t column() const noexcept {
        return 1 + count_characters(text_.substr(line_start_, at_ - line_start_));
    }
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
        in_string_ = true;
        while (!at_end()) {
            if (!multiline && text_[at_] == '\n') return;
            if (multiline ? is_at(fence) : text_[at_] == quote) {
                in_string_ = false;
                break;
            }
            if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) advance();
            advance();
        }
        for (int i = multiline ? 3 : 1; i > 0 && !at_end(); --i) advance();
        // One or two quotes right before the fence belong to the string.
        for (int i = multiline ? 2 : 0; i > 0 && !at_end() && text_[at_] == quote; --i) advance();
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
    bool in_string_ = false;
};

Node to_node(const toml::node& value);

std::vector<Member> to_members(const toml::table& table) {
    std::vector<Member> members;
    members.reserve(table.size());
    for (const auto& [key, value] : table) {
        members.push_back({std::string{key.str()}, place_of(key.source()), to_node(value)});
    }
    // toml++ has them by name.
    std::ranges::sort(members, {}, [](const Member& member) {
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

// A key that is given again, and where.
struct Duplicate {
    Place place;
    std::vector<std::string> path;  // its dotted parts, without quotes

    [[nodiscard]] std::string key() const {
        std::string text;
        for (const std::string& part : path) text += (text.empty() ? "" : ".") + part;
        return text;
    }
};

// The parts of `key`, as written before an equals sign. Escapes in quotes stay what they are.
std::vector<std::string> split_key(std::string_view key) {
    std::vector<std::string> parts(1);
    char quote = 0;
    for (const char c : key) {
        if (quote != 0 ? c == quote : c == '"' || c == '\'') {
            quote = quote != 0 ? '\0' : c;
        } else if (quote == 0 && c == '.') {
            parts.emplace_back();
        } else if (quote != 0 || (c != ' ' && c != '\t')) {
            parts.back() += c;
        }
    }
    return parts;
}

// What toml++ complains of, if it is that the key at the beginning of a line is given twice.
std::optional<Duplicate> duplicate_key(const toml::parse_error& error, std::string_view text) {
    if (!error.description().starts_with("Error while parsing key-value pair: cannot redefine"))
        return std::nullopt;
    const std::uint32_t number = error.source().begin.line;
    const Line range = find_line(text, number);
    const std::string_view line = text.substr(range.begin, range.end - range.begin);
    const std::size_t start = std::min(line.find_first_not_of(" \t"), line.size());
    const std::size_t equals = end_of_key(line);
    if (equals == std::string_view::npos || equals < start) return std::nullopt;
    // It complains right before the value; later, of a key in an inline table.
    const std::size_t value = std::min(line.find_first_not_of(" \t", equals + 1), line.size());
    if (error.source().begin.column > value + 1) return std::nullopt;
    std::string_view key = line.substr(start, equals - start);
    key = key.substr(0, key.find_last_not_of(" \t") + 1);
    return Duplicate{{.line = number,
                      .column = static_cast<std::uint32_t>(start + 1),
                      .length = count_characters(key),
                      .flag = {}},
                     split_key(key)};
}

// Whether the value ends with its line, so that the line can be left out.
bool is_complete_line(std::string_view text, std::uint32_t number) {
    const Line range = find_line(text, number);
    NestingScan scan{text.substr(range.begin, range.end - range.begin)};
    return !scan.run() && scan.is_complete();
}

void blank(std::string& text, std::uint32_t number) {
    const Line range = find_line(text, number);
    std::fill(text.begin() + static_cast<std::ptrdiff_t>(range.begin),
              text.begin() + static_cast<std::ptrdiff_t>(range.end), ' ');
}

// Of each line, from 1 on: whether it is a [header].
std::vector<bool> find_headers(std::string_view text) {
    std::vector<bool> headers(1);
    while (!text.empty()) {
        const std::size_t first = std::min(text.find_first_not_of(" \t"), text.size() - 1);
        headers.push_back(text[first] == '[');
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    }
    return headers;
}

// The innermost table whose header is above `line`. Inline tables, and those that dotted keys have
// made, have none.
const Node& table_above(const Node& table, std::uint32_t line, const std::vector<bool>& headers) {
    const Node* best = &table;
    const auto consider = [&](const Node& candidate) {
        const std::uint32_t own = candidate.place.line;
        // toml++ may count more lines than there are line feeds (U+2028 and the like).
        if (candidate.kind != Node::Kind::table || own >= line || own >= headers.size() ||
            !headers[own])
            return;
        const Node& inner = table_above(candidate, line, headers);
        if (inner.place.line > best->place.line || best == &table) best = &inner;
    };
    for (const Member& member : table.members) {
        consider(member.value);
        for (const Node& item : member.value.items) consider(item);
    }
    return *best;
}

const Member* find(const Node& table, const std::vector<std::string>& path) {
    const Member* member = nullptr;
    const Node* node = &table;
    for (const std::string& part : path) {
        member = node->find(part);
        if (member == nullptr) return nullptr;
        node = &member->value;
    }
    return member;
}

void report_duplicate(const Node& root, const Duplicate& duplicate,
                      const std::vector<bool>& headers, Diagnostics& diagnostics) {
    std::string message = fmt::format("\"{}\" is given twice", duplicate.key());
    const Node& table = table_above(root, duplicate.place.line, headers);
    if (const Member* const first = find(table, duplicate.path))
        message += fmt::format("; first in line {}", first->place.line);
    diagnostics.error(duplicate.place, std::move(message));
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
    std::vector<Duplicate> duplicates;
    for (;;) {
        try {
            const toml::table table = toml::parse(std::string_view{text});
            root.members = to_members(table);
            break;
        } catch (const toml::parse_error& error) {
            const auto duplicate = duplicate_key(error, text);
            if (!duplicate) {
                diagnostics.error(place_of(error.source()),
                                  complaint_of(error.description(), error.source().begin.line,
                                               error.source().begin.column, text));
                break;
            }
            duplicates.push_back(*duplicate);
            // What goes on in the next line would be taken for a slip.
            if (!is_complete_line(text, duplicate->place.line) ||
                duplicates.size() * text.size() > most_bytes_reread)
                break;
            blank(text, duplicate->place.line);
        }
    }
    if (duplicates.empty()) return root;
    const std::vector<bool> headers = find_headers(source);
    for (const Duplicate& duplicate : duplicates)
        report_duplicate(root, duplicate, headers, diagnostics);
    return root;
}

}  // namespace eplb::control
