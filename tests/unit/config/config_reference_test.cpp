#include "config/config_reference.hpp"

#include "config/config_keys.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace eplb::control;
using eplb::test::contains;

namespace {

struct Chapter {
    std::string header;
    std::vector<KeyInfo> keys;
};

template <class Table>
Chapter chapter(std::string header, const Table& table) {
    return {std::move(header), {table.begin(), table.end()}};
}

std::vector<Chapter> chapters() {
    return {chapter("Process", process_keys()),
            chapter("[log]", log_keys()),
            chapter("[dns]", dns_keys()),
            chapter("[[service]]", own_service_keys()),
            chapter("[[service]] or [defaults]", service_keys()),
            chapter("[service.check] or [defaults.check]", check_keys()),
            chapter("[[service.backend]]", backend_keys())};
}

std::vector<KeyInfo> all_keys() {
    std::vector<KeyInfo> keys;
    for (const Chapter& each : chapters())
        keys.insert(keys.end(), each.keys.begin(), each.keys.end());
    return keys;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        REQUIRE(end != std::string_view::npos);
        lines.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 1);
    }
    return lines;
}

// What a reader of the manual page sees: without the escapes of roff(7) that are used.
std::string as_read(std::string text) {
    const std::vector<std::pair<std::string, std::string>> escapes{
        {"\\fB", ""}, {"\\fR", ""}, {"\\&", ""}, {"\\-", "-"}, {"\\e", "\\"}};
    for (const auto& [escape, meaning] : escapes) {
        for (std::size_t at = text.find(escape); at != std::string::npos;
             at = text.find(escape, at + meaning.size()))
            text.replace(at, escape.size(), meaning);
    }
    return text;
}

std::string without_backquotes(std::string text) {
    std::erase(text, '`');
    return text;
}

// What is below the header in the page, up to the next one.
std::string text_below(const std::string& header) {
    const std::string reference = markdown_reference();
    const std::size_t begin = reference.find("## " + header + "\n");
    if (begin == std::string::npos) return {};
    return reference.substr(begin, reference.find("\n## ", begin) - begin);
}

// From "**`name`**" on, up to the next one.
std::string entry_of(const std::string& text, const KeyInfo& key) {
    const std::size_t begin = text.find("**`" + key.name + "`**");
    if (begin == std::string::npos) return {};
    return text.substr(begin, text.find("\n\n", begin) - begin);
}

}  // namespace

TEST_CASE("config reference: every key is explained in sentences", "[control][config_reference]") {
    for (const KeyInfo& key : all_keys()) {
        INFO(key.name);
        CHECK_FALSE(key.type.empty());
        REQUIRE_FALSE(key.details.empty());
        CHECK(key.details.back() == '.');
        CHECK(key.details.find('\n') == std::string::npos);
        CHECK(std::ranges::count(key.details, '`') % 2 == 0);
        CHECK((key.flag.empty() || key.flag.starts_with("--")));
    }
}

TEST_CASE("config reference: the page has every key, below the table that it belongs into",
          "[control][config_reference]") {
    for (const auto& [header, keys] : chapters()) {
        INFO(header);
        const std::string text = text_below(header);
        REQUIRE_FALSE(text.empty());
        for (const KeyInfo& key : keys) {
            std::string expected = fmt::format("**`{}`** ({}", key.name, key.type);
            if (!key.default_value.empty())
                expected += fmt::format("; default `{}`", key.default_value);
            if (!key.flag.empty()) expected += fmt::format("; option `{}`", key.flag);
            expected += fmt::format(")\n: {}", key.details);
            const std::string entry = entry_of(text, key);
            CHECK(entry.substr(0, entry.find_last_not_of('\n') + 1) == expected);
        }
    }
    CHECK_THAT(markdown_reference(),
               contains("**`workers`** (whole number from 1 to 256, or \"auto\"; default `1`; "
                        "option `--workers`)\n: Threads that move bytes"));
    CHECK_THAT(markdown_reference(),
               contains("**`relay`** (\"auto\" | \"splice\" | \"copy\"; default `\"auto\"`; "
                        "option `--relay`)\n"));
}

TEST_CASE("config reference: the manual page has every key with type, default and option",
          "[control][config_reference]") {
    const std::string read = as_read(mdoc_reference());
    for (const KeyInfo& key : all_keys()) {
        std::string entry = fmt::format(".It Ic {}\n{}", key.name, key.type);
        if (!key.default_value.empty()) entry += "; default " + key.default_value;
        if (!key.flag.empty()) entry += "; option " + key.flag;
        entry += fmt::format(".\n.br\n{}\n", without_backquotes(key.details));
        INFO(key.name);
        CHECK_THAT(read, contains(entry));
    }
}

TEST_CASE("config reference: no text of the manual page is taken for a request or an escape",
          "[control][config_reference]") {
    for (const std::string& line : lines_of(mdoc_reference())) {
        INFO(line);
        REQUIRE_FALSE(line.empty());
        CHECK(line.front() != '\'');
        if (line.front() == '.') {
            const std::string request = line.substr(0, line.find(' '));
            const std::vector<std::string> known{".Ss", ".Bl", ".It", ".El", ".br"};
            CHECK(std::ranges::find(known, request) != known.end());
        }
        CHECK(line.find('`') == std::string::npos);
        std::size_t bold = 0;
        for (std::size_t at = line.find('\\'); at != std::string::npos;
             at = line.find('\\', at + 1)) {
            const std::string escape = line.substr(at + 1, 2);
            INFO(escape);
            const bool is_font = escape == "fB" || escape == "fR";
            CHECK((is_font || escape[0] == '-' || escape[0] == 'e' || escape[0] == '&'));
            if (escape == "fB") ++bold;
            if (escape == "fR") --bold;
        }
        CHECK(bold == 0);
        // A hyphen is one that can be searched for and copied.
        if (line.front() == '.') continue;
        for (std::size_t at = line.find('-'); at != std::string::npos; at = line.find('-', at + 1))
            CHECK((at > 0 && line[at - 1] == '\\'));
    }
}

TEST_CASE("config reference: lists of the manual page are begun and ended",
          "[control][config_reference]") {
    int open = 0;
    std::size_t items = 0;
    for (const std::string& line : lines_of(mdoc_reference())) {
        if (line.starts_with(".Bl")) ++open;
        if (line == ".El") --open;
        if (line.starts_with(".It")) {
            ++items;
            CHECK(open == 1);
        }
        if (line.starts_with(".Ss")) CHECK(open == 0);
    }
    CHECK(open == 0);
    CHECK(items == all_keys().size());
}

TEST_CASE("config reference: the page has each key once", "[control][config_reference]") {
    const std::string reference = markdown_reference();
    std::size_t entries = 0;
    for (std::size_t at = reference.find("**`"); at != std::string::npos;
         at = reference.find("**`", at + 1))
        ++entries;
    CHECK(entries == all_keys().size());
}
