#include "base/duration.hpp"

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::format_duration;
using eplb::parse_duration;

TEST_CASE("duration: every unit is read", "[base][duration]") {
    const std::vector<std::pair<std::string, Duration>> table{
        {"0", 0s},      {"off", 0s},
        {"0s", 0s},     {"0ms", 0s},
        {"1us", 1us},   {"50us", 50us},
        {"1ms", 1ms},   {"250ms", 250ms},
        {"5s", 5s},     {"1m", 1min},
        {"10m", 10min}, {"2h", 2h},
        {"1d", 24h},    {"36500d", 24h * 36500},
        {"007s", 7s},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(parse_duration(text) == expected);
    }
}

TEST_CASE(
    "duration: what is not a whole number and a unit is rejected with a message that quotes it",
    "[base][duration]") {
    const std::vector<std::string> table{
        "",      " ",    "5",    "s",    "ms",   "-1s",  "-0s",   "+1s",  "1e9s",
        "5 s",   " 5s",  "5s ",  "5.5s", "1,5s", "0x5s", "5S",    "5sec", "5min",
        "1h30m", "5µs",  "5ns",  "--1s", "OFF",  "off ", "never", "5s5s", "00",
        "∞",     "5\ts", "5s\n", "1w",   "-5",   "1_0s", "5м",
    };
    for (const std::string& text : table) {
        INFO('"' << text << '"');
        CHECK_THROWS_AS(parse_duration(text), std::invalid_argument);
        CHECK_THROWS_WITH(parse_duration(text), eplb::test::contains('"' + text + '"'));
    }
}

TEST_CASE("duration: a missing unit is named", "[base][duration]") {
    CHECK_THROWS_WITH(parse_duration("30"), eplb::test::contains("unit"));
    CHECK_THROWS_WITH(parse_duration("30"), eplb::test::contains("30s"));
}

TEST_CASE("duration: what would overflow is rejected, not wrapped", "[base][duration]") {
    const std::vector<std::string> table{
        "9223372036854775807ms",
        "9223372036854775808ms",
        "99999999999999999999999s",
        "9223372036854775807d",
        "9223372037s",
        "2562048h",
        "106752d",
        "18446744073709551616s",
        "-9223372036854775809s",
    };
    for (const std::string& text : table) {
        INFO(text);
        CHECK_THROWS_AS(parse_duration(text), std::invalid_argument);
        CHECK_THROWS_WITH(parse_duration(text), eplb::test::contains(text));
    }
}

TEST_CASE("duration: a text with a NUL byte is rejected", "[base][duration]") {
    CHECK_THROWS_AS(parse_duration(std::string{"5s\0", 3}), std::invalid_argument);
    CHECK_THROWS_AS(parse_duration(std::string{"0\0", 2}), std::invalid_argument);
}

TEST_CASE("duration: formats as the shortest text that says the same", "[base][duration]") {
    const std::vector<std::pair<Duration, std::string>> table{
        {0s, "off"},  {1ms, "1ms"}, {250ms, "250ms"}, {1500ms, "1500ms"}, {5s, "5s"},
        {90s, "90s"}, {60s, "1m"},  {10min, "10m"},   {1h, "1h"},         {36h, "36h"},
        {24h, "1d"},  {48h, "2d"},  {61s, "61s"},
    };
    for (const auto& [duration, expected] : table) {
        INFO(expected);
        CHECK(format_duration(duration) == expected);
    }
}

TEST_CASE("duration: what is formatted is read back as the same", "[base][duration]") {
    constexpr std::int64_t century = 36'525LL * 24 * 60 * 60 * 1000;
    for (std::int64_t ms = 1; ms <= century; ms = ms * 3 + 7) {
        const Duration duration = std::chrono::milliseconds{ms};
        INFO(format_duration(duration));
        REQUIRE(parse_duration(format_duration(duration)) == duration);
    }
    CHECK(parse_duration(format_duration(0s)) == 0s);
}
