#include "eplb/rate.hpp"

#include "base/duration.hpp"

#include <charconv>
#include <fmt/format.h>
#include <stdexcept>

namespace eplb {
namespace {

[[noreturn]] void reject(std::string_view text, std::string_view why) {
    throw std::invalid_argument(fmt::format("bad rate \"{}\": {}", text, why));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Duration parse_period(std::string_view text, std::string_view period) {
    const bool counted = !period.empty() && is_digit(period.front());
    Duration duration{0};
    try {
        duration = parse_duration(fmt::format("{}{}", counted ? "" : "1", period));
    } catch (const std::invalid_argument&) {
        duration = Duration{0};  // the message quotes a duration that nobody may have written
    }
    if (duration == Duration{0}) {
        reject(text, fmt::format("\"{}\" is not a period; write s, m, h, 10s or 250ms", period));
    }
    return duration;
}

}  // namespace

Rate Rate::parse(std::string_view text) {
    if (text == "off") return {};

    const std::size_t slash = text.find('/');
    const std::string_view digits = text.substr(0, slash);
    Rate rate;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, rate.count);
    if (error == std::errc::result_out_of_range) reject(text, "it is too large");
    if (error != std::errc{} || rest != end) {
        reject(text, "write a whole number and a period, like 100/s, 5/10s or 1000/m, or \"off\"");
    }
    // As a limit it would let nobody in, as a number in eplb it mostly means "no limit".
    if (rate.count == 0) reject(text, "it lets nothing through; write \"off\" for no limit");
    if (slash == std::string_view::npos) {
        reject(text, fmt::format("the period is missing; did you mean {}/s?", text));
    }
    rate.period = parse_period(text, text.substr(slash + 1));
    return rate;
}

std::string Rate::to_string() const {
    if (unlimited()) return "off";
    const std::string duration = format_duration(period);
    const bool one = duration.front() == '1' && !is_digit(duration[1]);
    return fmt::format("{}/{}", count, std::string_view{duration}.substr(one ? 1 : 0));
}

}  // namespace eplb
