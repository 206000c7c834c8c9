#include "config/diagnostics.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>
#include <utility>

namespace eplb::control {
namespace {

constexpr std::size_t most_shown = 50;
// A longer line says nothing on a terminal.
constexpr std::size_t most_characters = 160;

std::string_view line_of(std::string_view source, std::uint32_t number) {
    for (std::uint32_t line = 1; line < number; ++line) {
        const std::size_t end = source.find('\n');
        if (end == std::string_view::npos) return {};
        source.remove_prefix(end + 1);
    }
    source = source.substr(0, source.find('\n'));
    if (source.ends_with('\r')) source.remove_suffix(1);
    return source;
}

bool is_continuation(char c) noexcept { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::size_t count_characters(std::string_view text) noexcept {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

// How many bytes the character at the front of `text` has in UTF-8; 0: it is none, or a control
// character.
std::size_t printable_length(std::string_view text) noexcept {
    const auto first = static_cast<unsigned char>(text.front());
    if (first < 0x80) return first < 0x20 || first == 0x7f ? 0 : 1;
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    if (length == 0 || first > 0xf4 || text.size() < length) return 0;
    if (!std::ranges::all_of(text.substr(1, length - 1), is_continuation)) return 0;
    const bool second_set_of_controls = first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    return second_set_of_controls ? 0 : length;
}

// Tabs become blanks, so that the caret stands where it should.
std::string printable(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = printable_length(text);
        if (length == 0) {
            result += text.front() == '\t' ? ' ' : '?';
        } else {
            result += text.substr(0, length);
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return result;
}

std::string excerpt(const Place& place, std::string_view source) {
    const std::string_view line = line_of(source, place.line);
    const std::size_t length = count_characters(line);
    if (line.empty() || length > most_characters || place.column > length + 1) return {};
    const std::size_t left = length + 1 - place.column;
    const std::size_t underlined =
        std::clamp<std::size_t>(place.length, 1, std::max<std::size_t>(left, 1));
    return fmt::format("{:>5} | {}\n      | {:{}}^{:~<{}}\n", place.line, printable(line), "",
                       place.column - 1, "", underlined - 1);
}

}  // namespace

void Diagnostics::error(const Place& place, std::string message) {
    add(Severity::error, place, std::move(message));
}

void Diagnostics::warning(const Place& place, std::string message) {
    add(Severity::warning, place, std::move(message));
}

// An error is kept even if there were too many warnings before it: it is what has to be told.
void Diagnostics::add(Severity severity, const Place& place, std::string message) {
    std::size_t& count = severity == Severity::error ? errors_ : warnings_;
    if (count >= most_kept) {
        ++count;
        return;
    }
    const bool is_new =
        told_.insert(fmt::format("{}:{}:{}:{}", place.line, place.column, place.flag, message))
            .second;
    if (!is_new) return;
    ++count;
    all_.push_back({severity, place, std::move(message)});
}

std::vector<Diagnostic> Diagnostics::sorted() const {
    std::vector<const Diagnostic*> order;
    order.reserve(all_.size());
    for (const Diagnostic& diagnostic : all_) order.push_back(&diagnostic);
    // They lie one behind the other in the order in which they were found.
    std::ranges::sort(order, {}, [](const Diagnostic* diagnostic) {
        return std::tuple{diagnostic->place.line, diagnostic->place.column, diagnostic};
    });
    std::vector<Diagnostic> result;
    result.reserve(order.size());
    for (const Diagnostic* const diagnostic : order) result.push_back(*diagnostic);
    return result;
}

std::string to_text(const Diagnostic& diagnostic, std::string_view file, std::string_view source) {
    const Place& place = diagnostic.place;
    const std::string_view kind = diagnostic.severity == Severity::error ? "error" : "warning";
    if (!place.flag.empty()) {
        return fmt::format("eplb: {}{}: {}\n",
                           diagnostic.severity == Severity::error ? "" : "warning: ", place.flag,
                           printable(diagnostic.message));
    }
    if (!place.in_file())
        return fmt::format("{}: {}: {}\n", file, kind, printable(diagnostic.message));
    return fmt::format("{}:{}:{}: {}: {}\n{}", file, place.line, place.column, kind,
                       printable(diagnostic.message), excerpt(place, source));
}

std::string to_text(const Diagnostics& diagnostics, std::string_view file,
                    std::string_view source) {
    const std::vector<Diagnostic> all = diagnostics.sorted();
    const std::size_t shown = std::min(all.size(), most_shown);
    std::string text;
    for (std::size_t i = 0; i < shown; ++i) text += to_text(all[i], file, source);
    const std::size_t more = diagnostics.errors() + diagnostics.warnings() - shown;
    if (more != 0) text += fmt::format("{}: and {} more\n", file, more);
    return text;
}

}  // namespace eplb::control
