#include "config/toml_document.hpp"

#include "support/catch.hpp"
#include "support/process.hpp"

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::string_literals;
using eplb::control::Diagnostic;
using eplb::control::Diagnostics;
using eplb::control::Member;
using eplb::control::Node;
using eplb::control::parse_toml;
using eplb::control::Place;
using eplb::test::contains;
using eplb::test::in_child;
using eplb::test::starts_with;

namespace {

using Lines = std::vector<std::string>;

Lines told(const Diagnostics& diagnostics) {
    Lines lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted()) {
        const Place& place = diagnostic.place;
        lines.push_back(
            fmt::format("{}:{}: error: {}", place.line, place.column, diagnostic.message));
    }
    return lines;
}

Lines errors_in(std::string_view text) {
    Diagnostics diagnostics;
    static_cast<void>(parse_toml(text, diagnostics));
    return told(diagnostics);
}

Node parse(std::string_view text) {
    Diagnostics diagnostics;
    Node root = parse_toml(text, diagnostics);
    CHECK(told(diagnostics) == Lines{});
    return root;
}

const Node& value(const Node& table, std::string_view key) {
    const Member* const member = table.find(key);
    if (member == nullptr) FAIL("there is no " << key);
    return member->value;
}

// "line:column+length".
std::string at(const Place& place) {
    return fmt::format("{}:{}+{}", place.line, place.column, place.length);
}

// Every key and every value below `node`, with their places.
void outline(const Node& node, const std::string& path, Lines& lines) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        const std::string name = fmt::format("{}[{}]", path, i);
        lines.push_back(fmt::format("{} {}", name, at(node.items[i].place)));
        outline(node.items[i], name, lines);
    }
    for (const Member& member : node.members) {
        const std::string name = path.empty() ? member.key : path + "." + member.key;
        lines.push_back(fmt::format("{} {} = {}", name, at(member.place), at(member.value.place)));
        outline(member.value, name, lines);
    }
}

Lines outline_of(std::string_view text) {
    Lines lines;
    outline(parse(text), "", lines);
    return lines;
}

std::string repeated(std::string_view text, std::size_t count) {
    std::string result;
    result.reserve(text.size() * count);
    for (std::size_t i = 0; i < count; ++i) result += text;
    return result;
}

// In a child: a stack that overflows must not take the other tests along.
std::string outcome_of(const std::string& text) {
    constexpr int good = 2;
    constexpr int rejected = 3;
    const int code = in_child([&] {
        ::signal(SIGSEGV, SIG_DFL);  // not Catch's, which would tell of a test that fails twice
        Diagnostics diagnostics;
        static_cast<void>(parse_toml(text, diagnostics));
        return diagnostics.has_errors() ? rejected : good;
    });
    return code == good ? "good" : code == rejected ? "rejected" : "crashed";
}

}  // namespace

TEST_CASE("toml document: every kind of value is told apart", "[control][toml_document]") {
    using Kind = Node::Kind;
    const std::vector<std::pair<std::string, Kind>> table{
        {"\"text\"", Kind::string},
        {"'text'", Kind::string},
        {"\"\"\"text\"\"\"", Kind::string},
        {"'''text'''", Kind::string},
        {"\"\"", Kind::string},
        {"0", Kind::integer},
        {"-7", Kind::integer},
        {"0xff", Kind::integer},
        {"0b1", Kind::integer},
        {"1.0", Kind::floating},
        {"1e3", Kind::floating},
        {"inf", Kind::floating},
        {"nan", Kind::floating},
        {"true", Kind::boolean},
        {"false", Kind::boolean},
        {"1979-05-27", Kind::date},
        {"07:32:00", Kind::date},
        {"1979-05-27T07:32:00", Kind::date},
        {"1979-05-27T07:32:00Z", Kind::date},
        {"[]", Kind::array},
        {"[1, \"x\", []]", Kind::array},
        {"{}", Kind::table},
        {"{x = 1}", Kind::table},
    };
    for (const auto& [text, kind] : table) {
        INFO(text);
        const Node root = parse("a = " + text);
        CHECK(root.kind == Kind::table);
        CHECK(value(root, "a").kind == kind);
        CHECK_FALSE(value(root, "a").untyped);
    }
    CHECK(value(parse("[a]"), "a").kind == Kind::table);
    CHECK(value(parse("[[a]]"), "a").kind == Kind::array);
    CHECK(value(parse("[[a]]"), "a").items.at(0).kind == Kind::table);
    CHECK(value(parse("a.b = 1"), "a").kind == Kind::table);
}

TEST_CASE("toml document: strings, numbers and booleans have their values",
          "[control][toml_document]") {
    const std::vector<std::pair<std::string, std::string>> strings{
        {"\"\"", ""},
        {"\"a b\"", "a b"},
        {R"("\t\"\\\u00e4\U0001F600")", "\t\"\\\xc3\xa4\xf0\x9f\x98\x80"},
        {R"('a\b"')", "a\\b\""},
        {"\"\"\"\na\nb\"\"\"", "a\nb"},
        {"\"\"\"a\"\"\"\"", "a\""},
        {"'''\n'a''''", "'a'"},
        {R"("\u0000")", "\0"s},
    };
    for (const auto& [text, expected] : strings) {
        INFO(text);
        CHECK(value(parse("a = " + text), "a").text == expected);
    }
    const std::vector<std::pair<std::string, std::int64_t>> integers{
        {"0", 0},
        {"+1", 1},
        {"-1", -1},
        {"1_000", 1000},
        {"0x10", 16},
        {"0o17", 15},
        {"0b101", 5},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (const auto& [text, expected] : integers) {
        INFO(text);
        CHECK(value(parse("a = " + text), "a").integer == expected);
    }
    CHECK(value(parse("a = true"), "a").boolean);
    CHECK_FALSE(value(parse("a = false"), "a").boolean);
}

TEST_CASE("toml document: items and members keep the order in which they were written",
          "[control][toml_document]") {
    const Node root =
        parse("z = 1\na = 2\nm.y = 3\nm.b = 4\n[k]\nq = 1\nc = 2\n[b]\n[[x]]\n[[d]]\n");
    std::string order;
    for (const Member& member : root.members) order += member.key;
    CHECK(order == "zamkbxd");
    CHECK(value(root, "m").members.at(0).key == "y");
    CHECK(value(root, "k").members.at(0).key == "q");
    const Node items = parse("a = [3, 1, 2]");
    CHECK(value(items, "a").items.at(0).integer == 3);
    CHECK(value(items, "a").items.at(2).integer == 2);
}

TEST_CASE("toml document: a key is found, or is not there", "[control][toml_document]") {
    const Node root = parse("a = 1\nb = 2\n");
    REQUIRE(root.find("b") != nullptr);
    CHECK(root.find("b")->value.integer == 2);
    CHECK(root.find("c") == nullptr);
    CHECK(value(root, "a").find("a") == nullptr);
}

TEST_CASE("toml document: keys, values and headers have the places where they stand",
          "[control][toml_document]") {
    CHECK(outline_of("workers = 2\n"
                     "[log]\n"
                     "level = \"info\" # what\n"
                     "[[service]]\n"
                     "  name = \"\xc3\xa4\" \n"
                     "\tlisten = [\":1\", \":2\"]\n"
                     "[[service.backend]]\n"
                     "address=\"x:1\"") ==
          Lines{"workers 1:1+7 = 1:11+1", "log 2:2+3 = 2:1+5", "log.level 3:1+5 = 3:9+6",
                "service 4:3+7 = 4:1+11", "service[0] 4:1+11", "service[0].name 5:3+4 = 5:10+3",
                "service[0].listen 6:2+6 = 6:11+12", "service[0].listen[0] 6:12+4",
                "service[0].listen[1] 6:18+4", "service[0].backend 7:11+7 = 7:1+19",
                "service[0].backend[0] 7:1+19", "service[0].backend[0].address 8:1+7 = 8:9+5"});
}

TEST_CASE("toml document: keys with dots and quotes, and inline tables, have places too",
          "[control][toml_document]") {
    CHECK(outline_of("log.level = \"info\"") ==
          Lines{"log 1:1+3 = 1:1+3", "log.level 1:5+5 = 1:13+6"});
    CHECK(outline_of("\"a b\" = 10") == Lines{"a b 1:1+5 = 1:9+2"});
    CHECK(outline_of("\n[ a . b ]\n") == Lines{"a 2:3+1 = 2:1+9", "a.b 2:7+1 = 2:1+9"});
    CHECK(outline_of("a = [{b = 1}, {b = true}]") == Lines{"a 1:1+1 = 1:5+21", "a[0] 1:6+7",
                                                           "a[0].b 1:7+1 = 1:11+1", "a[1] 1:15+10",
                                                           "a[1].b 1:16+1 = 1:20+4"});
}

TEST_CASE("toml document: the second table of an array has a place of its own",
          "[control][toml_document]") {
    const Node root = parse("[[a]]\nx = 1\n[[a]]\nx = 2\n");
    const Node& tables = value(root, "a");
    REQUIRE(tables.items.size() == 2);
    CHECK(at(tables.items[0].place) == "1:1+5");
    CHECK(at(tables.items[1].place) == "3:1+5");
    CHECK(value(tables.items[1], "x").integer == 2);
}

TEST_CASE("toml document: of a value over several lines, only the beginning is known",
          "[control][toml_document]") {
    CHECK(outline_of("a = [\n1]\n") == Lines{"a 1:1+1 = 1:5+0", "a[0] 2:1+1"});
    CHECK(outline_of("a = \"\"\"\nx\"\"\"") == Lines{"a 1:1+1 = 1:5+0"});
}

TEST_CASE("toml document: a file of nothing is an empty table", "[control][toml_document]") {
    for (const std::string text : {"", "\n", "# a\n", "  \t ", "\xef\xbb\xbf", "\r\n", "# a"}) {
        INFO(text);
        const Node root = parse(text);
        CHECK(root.kind == Node::Kind::table);
        CHECK(root.members.empty());
    }
}

TEST_CASE("toml document: a byte order mark and carriage returns make no difference",
          "[control][toml_document]") {
    const Lines plain = outline_of("a = 1\n[b]\nc = \"x\"\n");
    CHECK(outline_of("\xef\xbb\xbf"
                     "a = 1\n[b]\nc = \"x\"\n") == plain);
    CHECK(outline_of("a = 1\r\n[b]\r\nc = \"x\"\r\n") == plain);
    CHECK(errors_in("a = 1\r\na = 2\r\n") ==
          Lines{"2:1: error: \"a\" is given twice; first in line 1"});
}

TEST_CASE("toml document: a key that is given twice is told, with where it stood first",
          "[control][toml_document]") {
    const std::vector<std::pair<std::string, Lines>> table{
        {"a = 1\na = 2\n", {"2:1: error: \"a\" is given twice; first in line 1"}},
        {"a = 1\n\n  # b\n  a = 2", {"4:3: error: \"a\" is given twice; first in line 1"}},
        {"a = 1\na = 1.5 # or \"2\"\n", {"2:1: error: \"a\" is given twice; first in line 1"}},
        {"a-b_1 = 1\na-b_1 = []\n", {"2:1: error: \"a-b_1\" is given twice; first in line 1"}},
        {"[log]\nlevel = \"info\"\nlevel = \"debug\"\n",
         {"3:1: error: \"level\" is given twice; first in line 2"}},
        {"level = 1\n[log]\nlevel = \"info\"\nlevel = \"debug\"\n",
         {"4:1: error: \"level\" is given twice; first in line 3"}},
        // All of them, in the order of the file.
        {"a = 1\nb = 1\na = 2\nb = 2\na = 3\n",
         {"3:1: error: \"a\" is given twice; first in line 1",
          "4:1: error: \"b\" is given twice; first in line 2",
          "5:1: error: \"a\" is given twice; first in line 1"}},
        // Each [[service]] and each [[service.backend]] has keys of its own.
        {"[[service]]\nname = \"x\"\n[[service.backend]]\nweight = 1\nweight = 2\n"
         "[[service.backend]]\nweight = 1\n[[service]]\nname = \"y\"\nname = \"z\"\n",
         {"5:1: error: \"weight\" is given twice; first in line 4",
          "10:1: error: \"name\" is given twice; first in line 9"}},
        // One whose value goes on in the next line.
        {"a = 1\na = [\n1,\n]\n", {"2:1: error: \"a\" is given twice"}},
        // A table.
        {"[a]\n[a]\n", {"2:1: error: [a] is given twice; what is in it stands together"}},
        {"a = 1\n[a]\n",
         {"2:1: error: \"a\" has a value already, and cannot be a table; use one of them"}},
        {"[a]\n[[a]]\n", {"2:1: error: \"a\" is there already, but not as [[a]]; use one of them"}},
        {"[[a]]\n[a]\n", {"2:1: error: \"a\" is there already, but not as [a]; use one of them"}},
        {"a = {b = 1}\n[a.c]\n",
         {"2:7: error: \"a.c\" cannot be added to {...}, which is complete where it ends"}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(errors_in(text) == expected);
    }
}

TEST_CASE("toml document: what is left of a file with a key given twice is the first of them",
          "[control][toml_document]") {
    Diagnostics diagnostics;
    const Node root = parse_toml("a = 1\na = 2\nb = 3\n", diagnostics);
    CHECK(diagnostics.errors() == 1);
    CHECK(value(root, "a").integer == 1);
    CHECK(value(root, "b").integer == 3);
}

TEST_CASE("toml document: an inline table above a key given twice does not hide where it was first",
          "[control][toml_document]") {
    CHECK(errors_in("log = {level = \"info\"}\nworkers = 1\nworkers = 2\n") ==
          Lines{"3:1: error: \"workers\" is given twice; first in line 2"});
    CHECK(errors_in("[[service]]\nbackend = [{address = \"a:1\"}]\nname = \"x\"\nname = \"y\"\n") ==
          Lines{"4:1: error: \"name\" is given twice; first in line 3"});
}

TEST_CASE("toml document: keys with dots or in quotes are told like others when given twice",
          "[control][toml_document]") {
    CHECK(errors_in("log.level = \"info\"\nlog.level = \"debug\"\n") ==
          Lines{"2:1: error: \"log.level\" is given twice; first in line 1"});
    CHECK(errors_in("\"a\" = 1\n\"a\" = 2\n") ==
          Lines{"2:1: error: \"a\" is given twice; first in line 1"});
    CHECK(errors_in("'a b' = 1\n'a b' = 2\n") ==
          Lines{"2:1: error: \"a b\" is given twice; first in line 1"});
}

TEST_CASE("toml document: nor does a table that dotted keys have made",
          "[control][toml_document]") {
    CHECK(errors_in("log.level = \"info\"\nworkers = 1\nworkers = 2\n") ==
          Lines{"3:1: error: \"workers\" is given twice; first in line 2"});
    CHECK(errors_in("[[service]]\nkeepalive.idle = \"5s\"\nname = \"x\"\nname = \"y\"\n") ==
          Lines{"4:1: error: \"name\" is given twice; first in line 3"});
    CHECK(errors_in("[[service]]\nkeepalive.idle = \"5s\"\nkeepalive.idle = \"6s\"\n") ==
          Lines{"3:1: error: \"keepalive.idle\" is given twice; first in line 2"});
}

TEST_CASE("toml document: what is underlined of a key given twice is the key",
          "[control][toml_document]") {
    const auto underlined = [](std::string_view text) {
        Diagnostics diagnostics;
        static_cast<void>(parse_toml(text, diagnostics));
        REQUIRE(diagnostics.errors() == 1);
        return at(diagnostics.sorted()[0].place);
    };
    CHECK(underlined("a = 1\na=2") == "2:1+1");
    CHECK(underlined("key = 1\n\t key \t = 2") == "2:3+3");
    CHECK(underlined("a.b = 1\na . b = 2") == "2:1+5");
    CHECK(underlined("\"a=b\" = 1\n\"a=b\" = 2") == "2:1+5");
    CHECK(underlined("'a.b' = 1\n'a.b' = 2") == "2:1+5");
    CHECK(underlined("\"\xc3\xa4\" = 1\n\"\xc3\xa4\" = 2") == "2:1+3");
}

TEST_CASE("toml document: whatever the value of a key given twice is, what follows is read",
          "[control][toml_document]") {
    for (const std::string value : {"2", "\"[\"", "'{'", "[1, [2]] # [", "{b = 1}", "\"\"\"x\"\"\"",
                                    "\"#\" # \"", "-1.5e3"}) {
        INFO(value);
        CHECK(errors_in("a = 1\nb = 1\na = " + value + "\nb = 2\n") ==
              Lines{"3:1: error: \"a\" is given twice; first in line 1",
                    "4:1: error: \"b\" is given twice; first in line 2"});
    }
    for (const std::string value : {"[", "{", "\"\"\"", "'''x", "[[1], ["}) {
        INFO(value);
        CHECK(errors_in("a = 1\na = " + value + "\n") == Lines{"2:1: error: \"a\" is given twice"});
    }
    // A key with an escape in it is told too, if not as well.
    const Lines lines = errors_in("\"a\\\"b\" = 1\n\"a\\\"b\" = 2\n");
    REQUIRE(lines.size() == 1);
    CHECK_THAT(lines[0], starts_with("2:"));
}

TEST_CASE("toml document: a key given twice inside of an inline table is told there",
          "[control][toml_document]") {
    CHECK(errors_in("a = {b = 1, b = 2}\n") == Lines{"1:17: error: \"b\" is given twice"});
    // Although the line begins with the same letter.
    CHECK(errors_in("b = {b = 1, b = 2}\n") == Lines{"1:17: error: \"b\" is given twice"});
}

TEST_CASE("toml document: a slip in the syntax is told where it is, with the way out",
          "[control][toml_document]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"a",
         "1:2: error: there is no = behind the key; each line is: key = value, a [header], or a # comment"},
        {"a =", "1:4: error: there is no value behind the ="},
        {"a = \nb = 1", "1:5: error: there is no value behind the ="},
        {"x = 1\na b = 1\n",
         "2:3: error: there is no = behind the key; each line is: key = value, a [header], or a # comment"},
        {"= 1",
         "1:1: error: a line begins with a key, a [header], or a # comment; a key with other characters than letters, digits, - and _ stands in quotes"},
        {"a = 1 2\n",
         "1:7: error: something stands behind the value; each key has a line of its own, text stands in quotes, and a comment begins with #"},
        {"a = yes\n",
         "1:5: error: this is no value; text stands in quotes, \" or ', and what is no text is a number, true, false, [...] or {...}"},
        {"a = \"x", "1:7: error: a string is not closed; put the same quotes at its end"},
        {"a = \"x\nb = 1\n", "1:7: error: a string is not closed; put the same quotes at its end"},
        {"a = \"x\r\nb = 1\n",
         "1:7: error: a string is not closed; put the same quotes at its end"},
        {"a = 'x\nb = 1\n", "1:7: error: a string is not closed; put the same quotes at its end"},
        {"a = \"\\y\"\n",
         "1:7: error: there is no such escape; a backslash itself is \\\\, and in '...' it is nothing special"},
        {"a = \"\\u12\"\n",
         "1:10: error: \\u takes four hexadecimal digits, \\U eight, of a character that there is; a backslash itself is \\\\"},
        {"a = [1,\n2\n3]\n",
         "3:1: error: a value of an array is followed by a comma, or by ] at its end"},
        {"a = [1", "1:7: error: an array is not closed; put ] at its end"},
        {"a = [1,,2]", "1:8: error: there is no value in front of this comma; delete it"},
        {"a = {b = 1,\n",
         "1:12: error: {...} is not closed; put } at its end, in the line in which it begins"},
        {"a = {b = 1,}\n", "1:12: error: no comma stands in front of }; delete it"},
        {"[a\n",
         "1:3: error: the header is not closed; put as many ] behind its name as there are [ in front"},
        {"[[a]\n",
         "1:5: error: the header is not closed; put as many ] behind its name as there are [ in front"},
        {"[a]]\n",
         "1:4: error: something stands behind the header; keys come in the lines below, and there are as many ] as ["},
        {"[]\n", "1:2: error: a header has a name: [name]"},
        {"[ [a]]\n", "1:3: error: the brackets of a header stand side by side: [[name]]"},
        {"a = 1 # \x01\n",
         "1:9: error: a control character; but for tabs, none can stand here: delete it, or write it as an escape in a string, like \"\\u0001\""},
        {"a = 1\rb = 2\n",
         "1:7: error: a carriage return without a line feed; lines end with a line feed"},
        {"a = 9223372036854775808\n",
         "1:24: error: this number is too large, or has too many digits"},
        {"a = 007\n", "1:8: error: a number has no zeros in front"},
        {"a = 30s\n",
         "1:7: error: this is no number; text, and also a duration, a size or an address, stands in quotes: \"30s\""},
        {"a = 2020-13-01\n",
         "1:12: error: this is no date and no time; text, and also an address, stands in quotes"},
        {"a = truee\n", "1:9: error: this is neither true nor false; text stands in quotes"},
        {"a.b. = 1\n",
         "1:6: error: a key is made of letters, digits, - and _; one with others stands in quotes"},
        {"a = \"\xc3\xa4\" b\n",
         "1:9: error: something stands behind the value; each key has a line of its own, text stands in quotes, and a comment begins with #"},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(errors_in(text) == Lines{expected});
    }
}

TEST_CASE(
    "toml document: whatever is cut out of a file, or put in, no words of the library are told",
    "[control][toml_document]") {
    const std::string text =
        "a = \"x\"\nb = [1, 2.5, {c = 'y'}]\n[d.e]\nf = 1979-05-27T07:32:00Z\n[[g]]\n"
        "h = \"\"\"\\u00e4\n\"\"\"\ni = 0x1f\nj = true # k\n";
    const std::vector<std::string> strange{"",  "\"", "'", "[",  "]",    "{",    "}",
                                           "=", ",",  ".", "\n", "\r",   "\\",   "_",
                                           "-", "1",  "x", ":",  "\x01", "\xff", " "};
    std::size_t slips = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        for (const std::string& other : strange) {
            std::string changed = text;
            changed.replace(at, 1, other);
            for (const std::string& line : errors_in(changed)) {
                INFO(changed);
                ++slips;
                for (const char* const word : {"parsing", "expected", "encountered", "saw",
                                               "inclusive", "prohibited", "redefine", "value type"})
                    CHECK_THAT(line, !contains(word));
            }
        }
    }
    CHECK(slips > 1000);
}

TEST_CASE("toml document: of several slips in the syntax, the first one is told",
          "[control][toml_document]") {
    CHECK(
        errors_in("a = yes\nb = no\n") ==
        Lines{
            "1:5: error: this is no value; text stands in quotes, \" or ', and what is no text is a number, true, false, [...] or {...}"});
    CHECK_THAT(errors_in("a = 1\na = 2\nb = no\n").at(0),
               starts_with("2:1: error: \"a\" is given twice"));
}

TEST_CASE("toml document: a slip in the syntax is told beside a key given twice",
          "[control][toml_document]") {
    CHECK(errors_in("a = 1\na = 2\n\n[b]\nc = no\n").size() == 2);
}

TEST_CASE("toml document: what is no UTF-8 is rejected", "[control][toml_document]") {
    const std::vector<std::string> table{
        "a = 1\nb = \"\xff\"\n",              // no character begins like that
        "a = 1\nb = \"\x80\"\n",              // the rest of none
        "a = 1\nb = \"\xc0\x80\"\n",          // longer than it has to be
        "a = 1\nb = \"\xe0\x80\x80\"\n",      // the same
        "a = 1\nb = \"\xed\xa0\x80\"\n",      // half a surrogate pair
        "a = 1\nb = \"\xf4\x90\x80\x80\"\n",  // beyond U+10FFFF
        "a = 1\nb = \"\xc3\"\n",              // cut by what follows
        "a = 1\nb = \"\xc3",                  // cut by the end
        "a = 1\nb = 1 # \xe4\n",              // Latin-1, in a comment
    };
    for (const std::string& text : table) {
        INFO(fmt::format("{} bytes", text.size()));
        const Lines lines = errors_in(text);
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines[0], starts_with("2:"));
    }
    CHECK_THAT(errors_in("a = 1\nb = \"\xff\"\n").at(0),
               contains("this is no UTF-8; save the file in that encoding"));
    CHECK_THAT(errors_in("\xff\xfe"s + "a\0"s).at(0), starts_with("1:1: error: "));
}

TEST_CASE("toml document: a NUL byte is rejected, wherever it is", "[control][toml_document]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"a = 1\n\0"s, "2:1"},          {"a = 1\nb\0 = 1"s, "2:2"},    {"a = 1\nb = \0"s, "2:5"},
        {"a = 1\nb = \"x\0\""s, "2:7"}, {"a = 1\nb = 1 # \0"s, "2:9"},
    };
    for (const auto& [text, place] : table) {
        INFO(place);
        const Lines lines = errors_in(text);
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines[0], starts_with(place + ": error: "));
    }
}

TEST_CASE("toml document: sixteen levels are enough, and seventeen are too many",
          "[control][toml_document]") {
    const auto nested = [](std::size_t depth) {
        return "a = " + repeated("[", depth) + repeated("]", depth);
    };
    CHECK(errors_in(nested(16)) == Lines{});
    CHECK(errors_in(nested(17)) == Lines{"1:21: error: nested more than 16 deep"});
    CHECK(errors_in("\n\n" + nested(17)) == Lines{"3:21: error: nested more than 16 deep"});

    const auto tables = [](std::size_t depth) {
        return "a = " + repeated("{a=", depth) + "1" + repeated("}", depth);
    };
    CHECK(errors_in(tables(16)) == Lines{});
    CHECK(errors_in(tables(17)) == Lines{"1:53: error: nested more than 16 deep"});

    CHECK(errors_in("a" + repeated(".b", 16) + " = 1") == Lines{});
    CHECK(errors_in("a" + repeated(".b", 17) + " = 1") ==
          Lines{"1:34: error: nested more than 16 deep"});
    CHECK(errors_in("[a" + repeated(".b", 16) + "]") == Lines{});
    CHECK(errors_in("[a" + repeated(".b", 17) + "]") ==
          Lines{"1:35: error: nested more than 16 deep"});
    CHECK(errors_in("a" + repeated(" . 'b'", 17) + " = 1") ==
          Lines{"1:99: error: nested more than 16 deep"});
}

TEST_CASE("toml document: what is beside each other is not nested", "[control][toml_document]") {
    CHECK(errors_in("a = [" + repeated("[1], {b = 1.5}, ", 100) + "]") == Lines{});
    CHECK(errors_in(repeated("[[service]]\n[[service.backend]]\n", 100)) == Lines{});
    std::string text;
    for (int i = 0; i < 100; ++i) text += fmt::format("a{}.b = 1.5\n", i);
    CHECK(errors_in(text) == Lines{});
}

TEST_CASE("toml document: brackets and dots in strings and comments are not counted",
          "[control][toml_document]") {
    const std::string many = repeated("[{.", 100);
    for (const std::string& text : {
             "a = \"" + many + "\"",
             "a = '" + many + "'",
             "a = \"\\\"" + many + "\"",
             "a = \"\\\\\" # " + many,
             "a = '\\' # " + many,
             "a = \"\"\"\n\"" + many + "\n\"\"" + many + "\"\"\"",
             "a = \"\"\"\\\"\"\"" + many + "\"\"\"",
             "a = '''\n'" + many + "\n''" + many + "'''",
             "# " + many + "\na = 1 # " + many,
             "\"" + many + "\" = 1",
             "[\"" + many + "\"]",
             "a = \"\" # " + many,
         }) {
        INFO(text);
        CHECK(errors_in(text) == Lines{});
    }
}

TEST_CASE("toml document: brackets behind strings and comments are counted",
          "[control][toml_document]") {
    const std::string deep = repeated("[", 17);
    for (const std::string& text : {
             "a = [\"x\", " + deep,
             "a = ['x', " + deep,
             "a = ['\\', " + deep,
             "a = [\"\\\\\", " + deep,
             "a = [\"\", " + deep,
             "a = ['', " + deep,
             "a = [\"\"\"x\"\"\", " + deep,
             "a = [\"\"\"\"\"\", " + deep,
             "a = ['''x''', " + deep,
             "a = [ # x\n" + deep,
             "a = [\"\"\"\n# \"\"\", " + deep,
         }) {
        INFO(text);
        const Lines lines = errors_in(text);
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines[0], contains("nested more than 16 deep"));
    }
}

TEST_CASE("toml document: nor do quotes that end a string of several lines hide them",
          "[control][toml_document]") {
    // """x"""" is x", and """x""""" is x"".
    const std::string deep = repeated("[", 17);
    for (const std::string& text : {
             "a = [\"\"\"x\"\"\"\", " + deep,
             "a = [\"\"\"x\"\"\"\"\", " + deep,
             "a = ['''x'''', " + deep,
             "a = ['''x''''', " + deep,
             "a = [\"\"\"\"\"\"\"\", " + deep,
         }) {
        INFO(text);
        const Lines lines = errors_in(text);
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines[0], contains("nested more than 16 deep"));
    }
}

TEST_CASE("toml document: the place of what is nested too deep is in characters",
          "[control][toml_document]") {
    CHECK(errors_in("a = [\"\xc3\xa4\", " + repeated("[", 17)) ==
          Lines{"1:26: error: nested more than 16 deep"});
    CHECK(errors_in("\xef\xbb\xbf"
                    "a = " +
                    repeated("[", 17)) == Lines{"1:21: error: nested more than 16 deep"});
}

TEST_CASE("toml document: hostile text is rejected, and does no harm", "[control][toml_document]") {
    constexpr std::size_t mebibyte = 1024 * 1024;
    const std::string steps = repeated(".b", mebibyte / 2);
    struct Row {
        std::string_view what;
        std::string text;
    };
    const std::vector<Row> table{
        {"headers", repeated("[", 1'000'000)},
        {"arrays", "a = " + repeated("[", 1'000'000)},
        {"arrays over lines", "a = " + repeated("[\n", 500'000)},
        {"inline tables", "a = " + repeated("{a=", 1'000'000 / 3)},
        {"mixed", "a = " + repeated("[{a=", 1'000'000 / 4)},
        {"a key", "a" + steps + " = 1"},
        {"a key in an inline table", "a = {b" + steps + " = 1}"},
        {"a key with blanks", "a" + repeated(" . b", mebibyte / 4) + " = 1"},
        {"a header", "[a" + steps + "]"},
        {"a header of tables", "[[a" + steps + "]]"},
        {"a key behind four quotes", "a = [\"\"\"x\"\"\"\", {b" + steps + " = 1}]"},
        {"a key behind five quotes", "a = [\"\"\"x\"\"\"\"\", {b" + steps + " = 1}]"},
        {"a key behind four apostrophes", "a = ['''x'''', {b" + steps + " = 1}]"},
        {"quotes", repeated("\"", 1'000'001)},
        {"apostrophes", repeated("'", 1'000'001)},
        {"quotes as a value", "a = " + repeated("\"", 1'000'001)},
        {"backslashes", "a = \"" + repeated("\\", 1'000'001)},
        {"dots", repeated(".", 1'000'000)},
        {"equals signs", repeated("=", 1'000'000)},
        {"closing brackets", repeated("]", 1'000'000)},
        {"a number", "a = " + repeated("1", 1'000'000)},
        {"a fraction", "a = 1." + repeated("1", 1'000'000)},
        {"one key, again and again", repeated("a=1\n", mebibyte / 4)},
        {"one key, again and again, in a short file", repeated("a=1\n", 1000)},
        {"one table, again and again", repeated("[a]\n", mebibyte / 4)},
        {"bytes of no character", repeated("\xff", 1'000'000)},
        {"NUL bytes", std::string(1'000'000, '\0')},
    };
    for (const Row& row : table) {
        INFO(row.what);
        CHECK(outcome_of(row.text) == "rejected");
    }
}

TEST_CASE("toml document: large text that is legal is read", "[control][toml_document]") {
    std::string keys;
    for (int i = 0; i < 20'000; ++i) keys += fmt::format("k{} = 1\n", i);
    struct Row {
        std::string_view what;
        std::string text;
    };
    const std::vector<Row> table{
        {"line feeds", repeated("\n", 1'000'000)},
        {"a comment", repeated("#", 1'000'000)},
        {"an array", "a = [" + repeated("1,", 100'000) + "]"},
        {"an array of arrays", "a = [" + repeated("[],", 100'000) + "]"},
        {"tables", repeated("[[a]]\n", 20'000)},
        {"tables with tables", repeated("[[a]]\n[[a.b]]\n[[a.b]]\n", 2'000)},
        {"keys", keys},
        {"a key", repeated("a", 1'000'000) + " = 1"},
        {"a string", "a = \"" + repeated("[", 1'000'000) + "\""},
    };
    for (const Row& row : table) {
        INFO(row.what);
        CHECK(outcome_of(row.text) == "good");
    }
}
