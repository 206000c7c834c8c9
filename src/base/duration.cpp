#include "base/duration.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <fmt/format.h>
#include <stdexcept>

namespace eplb {
namespace {

struct Unit {
    std::string_view name;
    std::int64_t milliseconds;
};
constexpr std::array<Unit, 5> units{{
    {"d", 24 * 60 * 60 * 1000},
    {"h", 60 * 60 * 1000},
    {"m", 60 * 1000},
    {"s", 1000},
    {"ms", 1},
}};

// A century: far beyond any timeout, and far from overflowing nanoseconds in 64 bits.
constexpr std::int64_t max_milliseconds = 36'525LL * 24 * 60 * 60 * 1000;

[[noreturn]] void reject(std::string_view text, std::string_view why) {
    throw std::invalid_argument(fmt::format("bad duration \"{}\": {}", text, why));
}

}  // namespace

Duration parse_duration(std::string_view text) {
    if (text == "0" || text == "off") return Duration{0};

    std::int64_t count = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error == std::errc::result_out_of_range) reject(text, "it is longer than a century");
    if (error != std::errc{} || text.front() == '-') {
        reject(text, "write a whole number and a unit, like 250ms, 5s, 10m or 2h, or \"off\"");
    }

    const std::string_view unit_name{rest, static_cast<std::size_t>(end - rest)};
    if (unit_name.empty())
        reject(text, fmt::format("the unit is missing; did you mean {}s?", text));
    for (const Unit& unit : units) {
        if (unit.name != unit_name) continue;
        if (count > max_milliseconds / unit.milliseconds)
            reject(text, "it is longer than a century");
        return std::chrono::milliseconds{count * unit.milliseconds};
    }
    reject(text, fmt::format("unknown unit \"{}\"; use ms, s, m, h or d", unit_name));
}

std::string format_duration(Duration duration) {
    const auto count = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
    if (count == 0) return "off";
    // Minutes and hours only when exact; "90s" reads better than "1m30s" would parse.
    for (const Unit& unit : units) {
        if (count % unit.milliseconds == 0) {
            return fmt::format("{}{}", count / unit.milliseconds, unit.name);
        }
    }
    return fmt::format("{}ms", count);
}

}  // namespace eplb
