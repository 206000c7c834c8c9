#include "config/diagnostics.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using eplb::control::Diagnostic;
using eplb::control::Diagnostics;
using eplb::control::Place;
using eplb::control::Severity;
using eplb::control::to_text;
using eplb::test::ends_with;
using eplb::test::starts_with;

namespace {

Place at(std::uint32_t line, std::uint32_t column, std::uint32_t length = 0) {
    Place place;
    place.line = line;
    place.column = column;
    place.length = length;
    return place;
}

Place option(std::string flag) {
    Place place;
    place.flag = std::move(flag);
    return place;
}

Diagnostic error(const Place& place, std::string message = "no") {
    return {Severity::error, place, std::move(message)};
}

// What stands below "f:1:2: error: no".
std::string excerpt(const Place& place, std::string_view source) {
    const std::string text = to_text(error(place), "f", source);
    const std::string head = fmt::format("f:{}:{}: error: no\n", place.line, place.column);
    REQUIRE_THAT(text, starts_with(head));
    return text.substr(head.size());
}

std::string repeated(std::string_view text, std::size_t count) {
    std::string result;
    for (std::size_t i = 0; i < count; ++i) result += text;
    return result;
}

}  // namespace

TEST_CASE("diagnostics: an error has its place, its line and a caret below the value",
          "[control][diagnostics]") {
    const std::string source = repeated("#\n", 13) + "balance = \"leastcon\"\nx = 1\n";
    CHECK(to_text(error(at(14, 11, 10), "unknown balance \"leastcon\""), "eplb.toml", source) ==
          "eplb.toml:14:11: error: unknown balance \"leastcon\"\n"
          "   14 | balance = \"leastcon\"\n"
          "      |           ^~~~~~~~~~\n");
    CHECK(to_text({Severity::warning, at(15, 1, 1), "hm"}, "eplb.toml", source) ==
          "eplb.toml:15:1: warning: hm\n"
          "   15 | x = 1\n"
          "      | ^\n");
}

TEST_CASE("diagnostics: what is about no place in the file has no excerpt",
          "[control][diagnostics]") {
    CHECK(to_text(error({}), "eplb.toml", "a = 1\n") == "eplb.toml: error: no\n");
    CHECK(to_text({Severity::warning, {}, "hm"}, "eplb.toml", "a = 1\n") ==
          "eplb.toml: warning: hm\n");
    CHECK(to_text(error(at(1, 1, 1)), "eplb.toml", "") == "eplb.toml:1:1: error: no\n");
}

TEST_CASE("diagnostics: an option's are the command's own", "[control][diagnostics]") {
    CHECK(to_text(error(option("--workers")), "eplb.toml", "a = 1\n") == "eplb: --workers: no\n");
    CHECK(to_text({Severity::warning, option("--workers"), "hm"}, "eplb.toml", "a = 1\n") ==
          "eplb: warning: --workers: hm\n");
}

TEST_CASE("diagnostics: the caret stands where the value does", "[control][diagnostics]") {
    struct Row {
        std::string_view what;
        Place place;
        std::string source;
        std::string excerpt;
    };
    const std::vector<Row> table{
        {"at the first character", at(1, 1, 3), "abc = 1", "    1 | abc = 1\n      | ^~~\n"},
        {"of one character", at(1, 7, 1), "abc = 1", "    1 | abc = 1\n      |       ^\n"},
        {"of unknown length", at(1, 7, 0), "abc = 10", "    1 | abc = 10\n      |       ^\n"},
        {"longer than the line", at(1, 7, 99), "abc = [\n1]", "    1 | abc = [\n      |       ^\n"},
        {"behind the last character", at(1, 6, 0), "abc =\n", "    1 | abc =\n      |      ^\n"},
        {"behind the last character, and long", at(1, 6, 9), "abc =\n",
         "    1 | abc =\n      |      ^\n"},
        {"after a tab", at(1, 2, 1), "\ta", "    1 |  a\n      |  ^\n"},
        {"after tabs inside", at(1, 6, 1), "a\t=\t\t1", "    1 | a =  1\n      |      ^\n"},
        {"after characters of several bytes", at(1, 8, 3),
         "\"\xc3\xa4\xe2\x82\xac\" = \"\xf0\x9f\x98\x80\"",
         "    1 | \"\xc3\xa4\xe2\x82\xac\" = \"\xf0\x9f\x98\x80\"\n      |        ^~~\n"},
        {"of characters of several bytes, which ends with the line", at(1, 1, 9), "\"\xc3\xa4\"",
         "    1 | \"\xc3\xa4\"\n      | ^~~\n"},
        {"in the last line, which no line feed ends", at(2, 5, 1), "a = 1\nb = 2",
         "    2 | b = 2\n      |     ^\n"},
        {"in a line that a carriage return ends", at(1, 5, 9), "a = 1\r\nb = 2\r\n",
         "    1 | a = 1\n      |     ^\n"},
        {"in a line with a large number", at(12345, 1, 1), repeated("\n", 12344) + "a",
         "12345 | a\n      | ^\n"},
    };
    for (const Row& row : table) {
        INFO(row.what);
        CHECK(excerpt(row.place, row.source) == row.excerpt);
    }
}

TEST_CASE("diagnostics: without anything to show there is no excerpt", "[control][diagnostics]") {
    struct Row {
        std::string_view what;
        Place place;
        std::string source;
    };
    const std::vector<Row> table{
        {"an empty line", at(2, 1, 1), "a\n\nb"},
        {"an empty line of two characters", at(2, 1, 1), "a\r\n\r\nb"},
        {"a line behind the end", at(3, 1, 1), "a\nb"},
        {"a line behind a last line feed", at(3, 1, 1), "a\nb\n"},
        {"a column behind the end", at(1, 7, 1), "a = 1"},
        {"the largest line there can be", at(UINT32_MAX, UINT32_MAX, UINT32_MAX), "a = 1"},
        {"the largest column there can be", at(1, UINT32_MAX, UINT32_MAX), "a = 1"},
    };
    for (const Row& row : table) {
        INFO(row.what);
        CHECK(excerpt(row.place, row.source).empty());
    }
}

TEST_CASE("diagnostics: a line is shown up to 160 characters, however many bytes those are",
          "[control][diagnostics]") {
    const std::string longest = repeated("x", 160);
    CHECK(excerpt(at(1, 160, 1), longest) ==
          "    1 | " + longest + "\n      | " + repeated(" ", 159) + "^\n");
    CHECK(excerpt(at(1, 1, 200), longest) ==
          "    1 | " + longest + "\n      | ^" + repeated("~", 159) + "\n");
    CHECK(excerpt(at(1, 1, 1), longest + "x").empty());
    const std::string umlauts = repeated("\xc3\xa4", 160);
    CHECK(excerpt(at(1, 160, 1), umlauts) ==
          "    1 | " + umlauts + "\n      | " + repeated(" ", 159) + "^\n");
    CHECK(excerpt(at(1, 1, 1), umlauts + "\xc3\xa4").empty());
}

TEST_CASE("diagnostics: neither a line nor a message puts a control character on a terminal",
          "[control][diagnostics]") {
    std::string hostile;
    for (char c = 1; c < 0x20; ++c) {
        if (c != '\n') hostile += c;
    }
    hostile += '\x7f';
    const std::string text =
        to_text(error(at(1, 1, 1), "got \"" + hostile + "\n\""), "f", "a" + hostile + "b");
    std::size_t lines = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        INFO(static_cast<int>(byte));
        CHECK((byte == '\n' || (byte >= 0x20 && byte != 0x7f)));
        lines += byte == '\n' ? 1 : 0;
    }
    CHECK(lines == 3);
    CHECK(excerpt(at(1, 6, 1), "\x1b[31m= 1") == "    1 | ?[31m= 1\n      |      ^\n");
}

TEST_CASE("diagnostics: nor a control character of two bytes, U+0080 to U+009F",
          "[control][diagnostics]") {
    // U+009B is CSI: what ESC [ is, in one character.
    std::string let_through;
    for (unsigned char second = 0x80; second < 0xa0; ++second) {
        const std::string control{'\xc2', static_cast<char>(second)};
        const std::string text = to_text(error(at(1, 1, 1), "got \"" + control + "\""), "f",
                                         "a = \"" + control + "31m\"");
        if (text.find(control) != std::string::npos)
            let_through += fmt::format("U+{:04X} ", static_cast<unsigned>(second));
    }
    CHECK(let_through.empty());
    CHECK(excerpt(at(1, 1, 1), "\xc2\xa0") == "    1 | \xc2\xa0\n      | ^\n");
}

TEST_CASE("diagnostics: nor bytes that are no character", "[control][diagnostics]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"\xff", "?"},
        {"\x80 \xbf", "? ?"},
        {"\xc0\x80", "??"},            // longer than it has to be
        {"\xc3", "?"},                 // cut
        {"\xe2\x82", "??"},            // cut
        {"\xe2\x82x", "??x"},          // cut by what follows
        {"\xf0\x9f\x98", "???"},       // cut
        {"\xf5\x80\x80\x80", "????"},  // beyond Unicode
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
         "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf"},
    };
    for (const auto& [bytes, shown] : table) {
        INFO(shown);
        CHECK(to_text(error({}, "got \"" + bytes + "\""), "f", "") ==
              "f: error: got \"" + shown + "\"\n");
        CHECK(excerpt(at(1, 1, 1), "# " + bytes) == "    1 | # " + shown + "\n      | ^\n");
    }
}

TEST_CASE("diagnostics: errors and warnings are counted apart", "[control][diagnostics]") {
    Diagnostics diagnostics;
    CHECK(diagnostics.empty());
    CHECK_FALSE(diagnostics.has_errors());
    CHECK(to_text(diagnostics, "f", "").empty());
    diagnostics.warning(at(1, 1), "hm");
    CHECK_FALSE(diagnostics.empty());
    CHECK_FALSE(diagnostics.has_errors());
    diagnostics.error(at(1, 1), "no");
    diagnostics.error(at(1, 1), "nor that");
    CHECK(diagnostics.has_errors());
    CHECK(diagnostics.errors() == 2);
    CHECK(diagnostics.warnings() == 1);
}

TEST_CASE("diagnostics: what is found twice is told and counted once, unless it is somewhere else",
          "[control][diagnostics]") {
    Diagnostics diagnostics;
    for (int i = 0; i < 2; ++i) {
        diagnostics.error(at(1, 1), "no");
        diagnostics.error(at(1, 2), "no");
        diagnostics.error(at(2, 1), "no");
        diagnostics.error(at(2, 1), "nor that");
        diagnostics.error(option("--workers"), "no");
        diagnostics.error(option("--backlog"), "no");
        diagnostics.error({}, "no");
        diagnostics.warning(at(1, 1), "hm");
    }
    CHECK(diagnostics.errors() == 7);
    CHECK(diagnostics.warnings() == 1);
    CHECK(diagnostics.sorted().size() == 8);
}

TEST_CASE("diagnostics: options come first, then what is further up, then what is further left",
          "[control][diagnostics]") {
    Diagnostics diagnostics;
    diagnostics.error(at(10, 1), "e");
    diagnostics.error(at(2, 9), "d");
    diagnostics.warning(at(2, 3), "c");
    diagnostics.error(at(2, 3), "c2");
    diagnostics.error(option("--workers"), "b");
    diagnostics.error(option("--backlog"), "b2");
    CHECK(to_text(diagnostics, "f", "") ==
          "eplb: --workers: b\n"
          "eplb: --backlog: b2\n"
          "f:2:3: warning: c\n"
          "f:2:3: error: c2\n"
          "f:2:9: error: d\n"
          "f:10:1: error: e\n");
    std::string order;
    for (const Diagnostic& diagnostic : diagnostics.sorted()) order += diagnostic.message;
    CHECK(order == "bb2cc2de");
}

TEST_CASE("diagnostics: each has its own excerpt", "[control][diagnostics]") {
    Diagnostics diagnostics;
    diagnostics.error(at(2, 1, 1), "second");
    diagnostics.error(at(1, 1, 1), "first");
    CHECK(to_text(diagnostics, "f", "a\nb\n") ==
          "f:1:1: error: first\n    1 | a\n      | ^\n"
          "f:2:1: error: second\n    2 | b\n      | ^\n");
}

TEST_CASE("diagnostics: fifty are told, the first ones of the file, and how many more there are",
          "[control][diagnostics]") {
    Diagnostics diagnostics;
    for (std::uint32_t line = 50; line > 0; --line) diagnostics.error(at(line, 1), "no");
    const std::string fifty = to_text(diagnostics, "f", "");
    CHECK_THAT(fifty, starts_with("f:1:1: error: no\n"));
    CHECK_THAT(fifty, ends_with("f:50:1: error: no\n"));

    diagnostics.error(at(51, 1), "no");
    CHECK(to_text(diagnostics, "f", "") == fifty + "f: and 1 more\n");
    diagnostics.warning(at(1, 2), "hm");
    const std::string more = to_text(diagnostics, "f", "");
    CHECK_THAT(more, starts_with("f:1:1: error: no\nf:1:2: warning: hm\n"));
    CHECK_THAT(more, ends_with("f:49:1: error: no\nf: and 2 more\n"));
}

TEST_CASE(
    "diagnostics: of a file that is wrong everywhere the first ones are kept, and all are counted",
    "[control][diagnostics]") {
    Diagnostics diagnostics;
    constexpr auto many = static_cast<std::uint32_t>(10 * Diagnostics::most_kept);
    for (std::uint32_t line = 1; line <= many; ++line) diagnostics.warning(at(line, 1), "hm");
    for (std::uint32_t line = 1; line <= many; ++line) diagnostics.error(at(line, 2), "no");
    CHECK(diagnostics.errors() == many);
    CHECK(diagnostics.warnings() == many);
    CHECK(diagnostics.sorted().size() == 2 * Diagnostics::most_kept);
    const std::string text = to_text(diagnostics, "f", "");
    CHECK_THAT(text, starts_with("f:1:1: warning: hm\nf:1:2: error: no\n"));
    CHECK_THAT(text, ends_with("f: and 19950 more\n"));
}
