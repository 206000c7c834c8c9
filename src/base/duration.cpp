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
    std::int64_t microseconds;
};
constexpr std::int64_t second = 1'000'000;
constexpr std::array<Unit, 6> units{{
    {"d", 24 * 60 * 60 * second},
    {"h", 60 * 60 * second},
    {"m", 60 * second},
    {"s", second},
    {"ms", 1000},
    {"us", 1},
}};

// A century: far beyond any timeout, and far from overflowing nanoseconds in 64 bits.
constexpr std::int64_t max_microseconds = 36'525LL * 24 * 60 * 60 * second;

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
        if (count > max_microseconds / unit.microseconds)
            reject(text, "it is longer than a century");
        return std::chrono::microseconds{count * unit.microseconds};
    }
    reject(text, fmt::format("unknown unit \"{}\"; use us, ms, s, m, h or d", unit_name));
}

std::string format_duration(Duration duration) {
    const auto count = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    if (count == 0) return "off";
    // The largest unit that is exact; "90s" reads better than "1m30s" would parse.
    for (const Unit& unit : units) {
        if (count % unit.microseconds == 0) {
            return fmt::format("{}{}", count / unit.microseconds, unit.name);
        }
    }
    return fmt::format("{}us", count);
}

}  // namespace eplb
