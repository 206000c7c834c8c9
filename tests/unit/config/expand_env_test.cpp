#include "config/expand_env.hpp"

#include "support/catch.hpp"

#include <cstdlib>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using eplb::control::Diagnostic;
using eplb::control::Diagnostics;
using eplb::control::Environment;
using eplb::control::expand_env;
using eplb::control::Member;
using eplb::control::Node;
using eplb::control::process_environment;

namespace {

using Lines = std::vector<std::string>;

Environment environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        static const std::map<std::string, std::string> variables{
            {"ONE", "1"},      {"NAME", "db"},       {"EMPTY", ""},        {"_x1", "under"},
            {"TOML", "\"]\n"}, {"AZ_az_09", "edge"}, {"NESTED", "${ONE}"}, {"DOLLARS", "$$x"},
        };
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional{found->second};
    };
}

Node string_node(std::string text) {
    Node node;
    node.place.line = 3;
    node.place.column = 8;
    node.text = std::move(text);
    return node;
}

Lines told(const Diagnostics& diagnostics) {
    Lines lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted())
        lines.push_back(fmt::format("{}:{}: error: {}", diagnostic.place.line,
                                    diagnostic.place.column, diagnostic.message));
    return lines;
}

Node expand(std::string text) {
    Node node = string_node(std::move(text));
    Diagnostics diagnostics;
    expand_env(node, environment(), diagnostics);
    CHECK(told(diagnostics) == Lines{});
    return node;
}

Lines errors_of(std::string text) {
    Node node = string_node(std::move(text));
    Diagnostics diagnostics;
    expand_env(node, environment(), diagnostics);
    return told(diagnostics);
}

}  // namespace

TEST_CASE("expand env: variables are replaced, and nothing else is", "[control][expand_env]") {
    struct Row {
        std::string text;
        std::string expanded;
        bool untyped;
    };
    const std::vector<Row> table{
        {"", "", false},
        {"plain", "plain", false},
        {"{ONE}", "{ONE}", false},
        {"}", "}", false},
        {"${ONE}", "1", true},
        {"${_x1}", "under", true},
        {"${AZ_az_09}", "edge", true},
        {"${EMPTY}", "", true},
        {"${ONE}${NAME}", "1db", true},
        {"a${ONE}b${NAME}c", "a1bdbc", true},
        {"${ONE}}", "1}", true},
        // Defaults, as a shell has them.
        {"${ONE:-5}", "1", true},
        {"${NONE:-5}", "5", true},
        {"${EMPTY:-5}", "5", true},
        {"${NONE:-}", "", true},
        {"${EMPTY:-}", "", true},
        {"${NONE:-a:-b}", "a:-b", true},
        {"${NONE:--}", "-", true},
        {"127.0.0.1:${NONE:-3306}", "127.0.0.1:3306", true},
        {"${NONE:-two words}", "two words", true},
        // What is put in is not looked at again.
        {"${NESTED}", "${ONE}", true},
        {"${DOLLARS}", "$$x", true},
        {"${NONE:-$ONE}", "$ONE", true},
        {"${NONE:-$$}", "$$", true},
        // What could be TOML is text.
        {"${TOML}", "\"]\n", true},
        // Dollar signs.
        {"$", "$", false},
        {"a$", "a$", false},
        {"$ONE", "$ONE", false},
        {"5$ 5", "5$ 5", false},
        {"$$", "$", false},
        {"$$$", "$$", false},
        {"$$$$", "$$", false},
        {"$${ONE}", "${ONE}", false},
        {"$$${ONE}", "$1", true},
        {"$$ONE$$", "$ONE$", false},
        {"${ONE}$", "1$", true},
    };
    for (const Row& row : table) {
        INFO(row.text);
        const Node node = expand(row.text);
        CHECK(node.text == row.expanded);
        CHECK(node.untyped == row.untyped);
        CHECK(node.kind == Node::Kind::string);
    }
}

TEST_CASE("expand env: what cannot be expanded is told with the way out", "[control][expand_env]") {
    const std::string no_close =
        "3:8: error: a \"${\" without its \"}\"; write $$ for a dollar sign";
    const auto no_variable = [](const std::string& what) {
        return "3:8: error: \"" + what + "\" is no variable; write ${NAME} or ${NAME:-default}";
    };
    const std::vector<std::pair<std::string, Lines>> table{
        {"${NONE}",
         {"3:8: error: there is no variable NONE in the environment; set it, or write "
          "${NONE:-default}"}},
        {"${", {no_close}},
        {"${ONE", {no_close}},
        {"a ${ONE:-x", {no_close}},
        {"${ONE} ${", {no_close}},
        {"${}", {no_variable("${}")}},
        {"${:-x}", {no_variable("${:-x}")}},
        {"${1}", {no_variable("${1}")}},
        {"${1A}", {no_variable("${1A}")}},
        {"${ONE }", {no_variable("${ONE }")}},
        {"${ONE-x}", {no_variable("${ONE-x}")}},
        {"${ONE:x}", {no_variable("${ONE:x}")}},
        {"${ONE:=x}", {no_variable("${ONE:=x}")}},
        {"${\xc3\xa4}", {no_variable("${\xc3\xa4}")}},
        {"${A.B}", {no_variable("${A.B}")}},
        // Names are case-sensitive.
        {"${one}",
         {"3:8: error: there is no variable one in the environment; set it, or write "
          "${one:-default}"}},
        // All of a string.
        {"${NONE}${1}${OTHER}",
         {"3:8: error: there is no variable NONE in the environment; set it, or write "
          "${NONE:-default}",
          no_variable("${1}"),
          "3:8: error: there is no variable OTHER in the environment; set it, or write "
          "${OTHER:-default}"}},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(errors_of(text) == expected);
    }
}

TEST_CASE("expand env: every string of a document is looked at, and only strings are",
          "[control][expand_env]") {
    Node number;
    number.kind = Node::Kind::integer;
    number.integer = 7;
    number.text = "${ONE}";  // has no meaning there
    Node array;
    array.kind = Node::Kind::array;
    array.items = {string_node("${ONE}"), string_node("x"), number};
    Node table;
    table.kind = Node::Kind::table;
    table.members = {{"inner", {}, string_node("${NAME}")}, {"list", {}, array}};
    Node root;
    root.kind = Node::Kind::table;
    root.members = {{"${ONE}", {}, string_node("${_x1}")}, {"table", {}, table}};

    Diagnostics diagnostics;
    expand_env(root, environment(), diagnostics);
    CHECK(diagnostics.empty());
    // A key is none of the strings.
    REQUIRE(root.find("${ONE}") != nullptr);
    CHECK(root.find("${ONE}")->value.text == "under");
    const Node& expanded = root.find("table")->value;
    CHECK(expanded.find("inner")->value.text == "db");
    const Node& list = expanded.find("list")->value;
    CHECK(list.items.at(0).text == "1");
    CHECK(list.items.at(0).untyped);
    CHECK(list.items.at(1).text == "x");
    CHECK_FALSE(list.items.at(1).untyped);
    CHECK(list.items.at(2).text == "${ONE}");
    CHECK_FALSE(list.items.at(2).untyped);
}

TEST_CASE("expand env: each error has the place of its string", "[control][expand_env]") {
    Node first = string_node("${NONE}");
    first.place.line = 9;
    Node second = string_node("${ALSO_NONE}");
    second.place.line = 1;
    Node root;
    root.kind = Node::Kind::array;
    root.items = {first, second};
    Diagnostics diagnostics;
    expand_env(root, environment(), diagnostics);
    const Lines lines = told(diagnostics);
    REQUIRE(lines.size() == 2);
    CHECK_THAT(lines[0], eplb::test::starts_with("1:8: error: there is no variable ALSO_NONE "));
    CHECK_THAT(lines[1], eplb::test::starts_with("9:8: error: there is no variable NONE "));
}

TEST_CASE("expand env: the process's own variables are found, and may be empty",
          "[control][expand_env]") {
    REQUIRE(::setenv("EPLB_TEST_VARIABLE", "x y", 1) == 0);
    const Environment process = process_environment();
    CHECK(process("EPLB_TEST_VARIABLE") == "x y");
    REQUIRE(::setenv("EPLB_TEST_VARIABLE", "", 1) == 0);
    CHECK(process("EPLB_TEST_VARIABLE") == "");
    REQUIRE(::unsetenv("EPLB_TEST_VARIABLE") == 0);
    CHECK(process("EPLB_TEST_VARIABLE") == std::nullopt);
}
