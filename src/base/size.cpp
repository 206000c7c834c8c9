#include "base/size.hpp"

#include <array>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <stdexcept>

namespace eplb {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t bytes;
};
constexpr std::array<Unit, 4> units{{
    {"GiB", std::uint64_t{1} << 30},
    {"MiB", std::uint64_t{1} << 20},
    {"KiB", std::uint64_t{1} << 10},
    {"", 1},
}};

[[noreturn]] void reject(std::string_view text, std::string_view why) {
    throw std::invalid_argument(fmt::format("bad size \"{}\": {}", text, why));
}

}  // namespace

std::uint64_t parse_size(std::string_view text) {
    std::uint64_t count = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error == std::errc::result_out_of_range) reject(text, "it is too large");
    if (error != std::errc{}) reject(text, "write a whole number and a unit, like 64KiB or 1MiB");

    const std::string_view unit_name{rest, static_cast<std::size_t>(end - rest)};
    for (const Unit& unit : units) {
        if (unit.name != unit_name) continue;
        if (count > std::numeric_limits<std::uint64_t>::max() / unit.bytes) {
            reject(text, "it is too large");
        }
        return count * unit.bytes;
    }
    reject(text,
           fmt::format("unknown unit \"{}\"; use KiB, MiB or GiB, or none for bytes", unit_name));
}

std::string format_size(std::uint64_t bytes) {
    for (const Unit& unit : units) {
        if (bytes >= unit.bytes && bytes % unit.bytes == 0) {
            return fmt::format("{}{}", bytes / unit.bytes, unit.name);
        }
    }
    return "0";
}

}  // namespace eplb
