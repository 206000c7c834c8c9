// Any text at all as a configuration file: it is read or rejected, what is said of it is fit for a
// terminal, and what it means can be written down and read again.

#include "config/config_dump.hpp"
#include "config/config_reader.hpp"
#include "config/expand_env.hpp"
#include "config/settings_check.hpp"
#include "config/toml_document.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <string_view>

using eplb::control::Diagnostic;
using eplb::control::Diagnostics;
using eplb::control::Node;
using eplb::control::Settings;
using eplb::control::Severity;

namespace {

// assert() may be compiled out; what is promised here may not.
void require(bool fact, std::string_view promise, std::string_view context = "") {
    if (fact) return;
    fmt::print(stderr, "broken promise: {}\n{}\n", promise, context);
    std::abort();
}

std::optional<std::string> variable(const std::string& name) {
    if (name == "N") return "7";
    if (name == "L") return ":1,unix:/x";
    if (name == "D") return "5s";
    if (name == "E") return "";
    if (name == "X") return "${N}$$\"\n\x1b\xff";
    return std::nullopt;
}

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
}

std::string without_line_feeds(std::string text) {
    std::erase(text, '\n');
    return text;
}

void check_diagnostics(const Diagnostics& diagnostics, std::string_view source) {
    const auto lines =
        1 + static_cast<std::uint32_t>(std::count(source.begin(), source.end(), '\n'));
    for (const Diagnostic& diagnostic : diagnostics.sorted()) {
        const std::string text = to_text(diagnostic, "f", source);
        require(!diagnostic.message.empty(), "something is said", text);
        require(diagnostic.place.in_file(), "all of it is about the file", text);
        require(diagnostic.place.line <= lines, "there is such a line", text);
        require(diagnostic.place.column > 0, "there is such a column", text);
        require(text.starts_with(
                    fmt::format("f:{}:{}: ", diagnostic.place.line, diagnostic.place.column)),
                "a place can be jumped to", text);
        require(text.ends_with('\n'), "a line has an end", text);
        const auto ends = std::count(text.begin(), text.end(), '\n');
        require(ends == 1 || ends == 3, "a message is one line, and an excerpt is two", text);
        require(std::ranges::none_of(without_line_feeds(text), is_control),
                "nothing in the file writes to the terminal", text);
    }
    const std::string all = to_text(diagnostics, "f", source);
    require(all.empty() == diagnostics.empty(), "what is wrong is told");
    require(std::count(all.begin(), all.end(), '\n') <= 3 * 50 + 1, "not more than fit", all);
}

// Without the comments, which say where a value comes from.
std::string values_of(std::string_view dumped) {
    std::string result;
    while (!dumped.empty()) {
        const std::size_t end = dumped.find('\n');
        require(end != std::string_view::npos, "a dump's lines have ends", dumped);
        std::string_view line = dumped.substr(0, end);
        line = line.substr(0, line.rfind(" # "));
        result += line.substr(0, line.find_last_not_of(' ') + 1);
        result += '\n';
        dumped.remove_prefix(end + 1);
    }
    return result;
}

Settings read(std::string_view text, bool expand, Diagnostics& diagnostics) {
    Node root = eplb::control::parse_toml(text, diagnostics);
    require(root.kind == Node::Kind::table, "a document is a table");
    if (expand) expand_env(root, variable, diagnostics);
    Settings settings = eplb::control::read_settings(&root, nullptr, diagnostics);
    warn_of_missing_backends(settings, diagnostics);
    return settings;
}

void check_round_trip(const Settings& settings) {
    const std::string once = dump(settings, "f");
    Diagnostics diagnostics;
    const Settings again = read(once, false, diagnostics);
    require(!diagnostics.has_errors(), "a dump is a configuration",
            to_text(diagnostics, "dump", once) + once);
    const std::string twice = dump(again, "g");
    require(values_of(once) == values_of(twice), "a dump says what it was made of", once + twice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text{reinterpret_cast<const char*>(data), size};
    const bool expand = size > 0 && data[0] % 2 == 1;  // a comment's '#' is odd
    Diagnostics diagnostics;
    const Settings settings = read(text, expand, diagnostics);
    check_diagnostics(diagnostics, text);
    if (!diagnostics.has_errors()) check_round_trip(settings);
    return 0;
}
