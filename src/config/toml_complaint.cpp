#include "config/toml_complaint.hpp"

#include "config/toml_lines.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>

namespace eplb::control {
namespace {

bool has(std::string_view text, std::string_view part) noexcept {
    return text.find(part) != std::string_view::npos;
}

// What toml++ was reading, and what it did not like of it: parts of what it says. Whoever meets one of
// them needs no grammar, but the way out. The first one that fits counts.
struct Complaint {
    std::string_view reading;
    std::string_view what;
    std::string_view message;
};

constexpr std::string_view end_of_file = "encountered end-of-file";
constexpr std::string_view not_utf8 =
    "this is no UTF-8; save the file in that encoding, not in Latin-1 or UTF-16";
constexpr std::string_view no_control =
    "a control character; but for tabs, none can stand here: delete it, or write it as an escape in a "
    "string, like \"\\u0001\"";
constexpr std::string_view no_value =
    "this is no value; text stands in quotes, \" or ', and what is no text is a number, true, false, "
    "[...] or {...}";
constexpr std::string_view no_number =
    "this is no number; text, and also a duration, a size or an address, stands in quotes: \"30s\"";
constexpr std::string_view no_date =
    "this is no date and no time; text, and also an address, stands in quotes";
constexpr std::string_view too_large_number = "this number is too large, or has too many digits";

constexpr std::array complaints{
    Complaint{"", "utf-8", not_utf8},
    Complaint{
        "unicode scalar sequence", "",
        "\\u takes four hexadecimal digits, \\U eight, of a character that there is; a backslash "
        "itself is \\\\"},
    Complaint{"", "surrogates", not_utf8},
    Complaint{"", "after '\\r'",
              "a carriage return without a line feed; lines end with a line feed"},
    Complaint{
        "string", "unknown escape sequence",
        "there is no such escape; a backslash itself is \\\\, and in '...' it is nothing special"},
    Complaint{
        "string", "escape sequence",
        "there is no such escape; a backslash itself is \\\\, and in '...' it is nothing special"},
    Complaint{"string", "line-ending backslashes",
              "nothing can stand behind a backslash that ends a line; a backslash itself is \\\\"},
    Complaint{"string", end_of_file, "a string is not closed; put the same quotes at its end"},
    Complaint{"", "control character", no_control},
    Complaint{"", "vertical tabs", no_control},
    Complaint{"", "leading zeroes", "a number has no zeros in front"},
    Complaint{"", "not representable", too_large_number},
    Complaint{"", "too long to identify type", too_large_number},
    Complaint{"", "exceeds length limit", too_large_number},
    Complaint{"", "maximum length", too_large_number},
    Complaint{"", "maximum precision", too_large_number},
    Complaint{"integer", "", no_number},
    Complaint{"floating-point", "", no_number},
    Complaint{"date", "", no_date},
    Complaint{"time", "", no_date},
    Complaint{"boolean", "", "this is neither true nor false; text stands in quotes"},
    Complaint{"value", "could not determine value type", no_value},
    Complaint{"value", "underscores", no_number},
    Complaint{"value", "could not be interpreted", no_value},
    Complaint{"array", end_of_file, "an array is not closed; put ] at its end"},
    Complaint{"array", "saw comma", "there is no value in front of this comma; delete it"},
    Complaint{"array", "expected comma",
              "a value of an array is followed by a comma, or by ] at its end"},
    Complaint{"inline table", "dangling comma", "no comma stands in front of }; delete it"},
    Complaint{"inline table", "saw comma", "there is no key in front of this comma; delete it"},
    Complaint{"inline table", "expected comma",
              "a value of {...} is followed by a comma, or by } at its end, in the same line"},
    Complaint{"inline table", "",
              "{...} is not closed; put } at its end, in the line in which it begins"},
    Complaint{
        "table header", "expected a comment",
        "something stands behind the header; keys come in the lines below, and there are as many "
        "] as ["},
    Complaint{"table header", "blank bare keys", "a header has a name: [name]"},
    Complaint{"table header", "must be contiguous",
              "the brackets of a header stand side by side: [[name]]"},
    Complaint{"table header", "expected ']'",
              "the header is not closed; put as many ] behind its name as there are [ in front"},
    Complaint{"table header", end_of_file,
              "the header is not closed; put as many ] behind its name as there are [ in front"},
    Complaint{"", "expected bare key",
              "a key is made of letters, digits, - and _; one with others stands in quotes"},
    Complaint{"", "expected value, saw", "there is no value behind the ="},
    Complaint{
        "", "expected '='",
        "there is no = behind the key; each line is: key = value, a [header], or a # comment"},
    Complaint{"", "expected a comment or whitespace",
              "something stands behind the value; each key has a line of its own, text stands in "
              "quotes, and a comment begins with #"},
    Complaint{
        "", "expected keys, tables",
        "a line begins with a key, a [header], or a # comment; a key with other characters than "
        "letters, digits, - and _ stands in quotes"},
    Complaint{"", end_of_file, "the file ends in the middle of this"},
};

// Between the first quotes.
std::string_view quoted_in(std::string_view text) noexcept {
    const std::size_t begin = text.find('\'');
    if (begin == std::string_view::npos) return {};
    return text.substr(begin + 1, text.find('\'', begin + 1) - begin - 1);
}

// "cannot redefine existing table 'a' as array-of-tables"
std::string redefinition(std::string_view reading, std::string_view what) {
    const std::string_view name = quoted_in(what);
    if (!has(what, "cannot redefine"))
        return fmt::format("\"{}\" cannot be added to {{...}}, which is complete where it ends",
                           name);
    if (!has(reading, "table header")) return fmt::format("\"{}\" is given twice", name);
    if (has(what, "as array-of-tables"))
        return fmt::format("\"{}\" is there already, but not as [[{}]]; use one of them", name,
                           name);
    if (has(what, "existing array"))
        return fmt::format("\"{}\" is there already, but not as [{}]; use one of them", name, name);
    if (has(what, "existing table"))
        return fmt::format("[{}] is given twice; what is in it stands together", name);
    return fmt::format("\"{}\" has a value already, and cannot be a table; use one of them", name);
}

// Where a line ends in the middle of a string, or before its value.
std::optional<std::string_view> unfinished_line(std::string_view reading, std::string_view what,
                                                std::uint32_t number, std::uint32_t column,
                                                std::string_view text) {
    const Line range = find_line(text, number);
    const std::string_view line = text.substr(range.begin, range.end - range.begin);
    const bool at_end = column > count_characters(line.substr(0, line.find('\r')));
    if (has(reading, "string") && has(what, "control character") && at_end)
        return "a string is not closed; put the same quotes at its end";
    if (!has(reading, "key-value pair") || what != end_of_file) return std::nullopt;
    return end_of_key(line) == std::string_view::npos
               ? "there is no = behind the key; each line is: key = value, a [header], or a # comment"
               : "there is no value behind the =";
}

}  // namespace

// Its own English is for whoever knows the grammar, and no library's words are for users.
std::string complaint_of(std::string_view description, std::uint32_t line, std::uint32_t column,
                         std::string_view text) {
    static constexpr std::string_view opening = "Error while parsing ";
    std::string_view reading;
    std::string_view what = description;
    if (what.starts_with(opening)) {
        what.remove_prefix(opening.size());
        const std::size_t colon = std::min(what.find(": "), what.size());
        reading = what.substr(0, colon);
        what.remove_prefix(std::min(colon + 2, what.size()));
    }
    if (what.starts_with("cannot redefine") || what.starts_with("cannot insert"))
        return redefinition(reading, what);
    if (const auto unfinished = unfinished_line(reading, what, line, column, text))
        return std::string{*unfinished};
    for (const Complaint& complaint : complaints) {
        if (has(reading, complaint.reading) && has(what, complaint.what))
            return std::string{complaint.message};
    }
    return "this is not valid TOML";
}

}  // namespace eplb::control
