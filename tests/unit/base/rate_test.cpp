#include "eplb/rate.hpp"

#include "support/catch.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Rate;
using eplb::test::contains;

TEST_CASE("rate: a count and a period are read, and written back in the shortest way",
          "[base][rate]") {
    struct Row {
        std::string text;
        Rate rate;
    };
    const std::vector<Row> table{
        {"off", {}},
        {"1/s", {1, 1s}},
        {"100/s", {100, 1s}},
        {"5/10s", {5, 10s}},
        {"1000/m", {1000, 1min}},
        {"7/90s", {7, 90s}},
        {"3/h", {3, 1h}},
        {"3/d", {3, 24h}},
        {"20/100ms", {20, 100ms}},
        {"20/ms", {20, 1ms}},
        {"2/us", {2, 1us}},
        {"2/11us", {2, 11us}},
        {"1/36500d", {1, 24h * 36500}},
        {"4294967295/s", {UINT32_MAX, 1s}},
    };
    for (const Row& row : table) {
        INFO(row.text);
        CHECK(Rate::parse(row.text) == row.rate);
        CHECK(row.rate.to_string() == row.text);
        CHECK(row.rate.unlimited() == (row.text == "off"));
    }
}

TEST_CASE("rate: longer ways to write the same are read as the same", "[base][rate]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"100/1s", "100/s"},     {"0100/s", "100/s"}, {"100/01s", "100/s"},
        {"100/1000ms", "100/s"}, {"1/60s", "1/m"},    {"1/1d", "1/d"},
    };
    for (const auto& [text, shortest] : table) {
        INFO(text);
        CHECK(Rate::parse(text).to_string() == shortest);
    }
}

TEST_CASE("rate: anything else is rejected with a message that quotes it", "[base][rate]") {
    const std::vector<std::string> table{
        "",         " ",       "/",     "/s",           "s",
        "-1/s",     "+1/s",    "1.5/s", "1e3/s",        "0x1/s",
        "1 /s",     "1/ s",    " 1/s",  "1/s ",         "1//s",
        "1/s/s",    "1/0",     "1/0s",  "1/off",        "1/1",
        "1/10",     "1/",      "1/-1s", "1/+1s",        "1/sec",
        "1/S",      "1/1.5s",  "0",     "0/s",          "00/10s",
        "1/36526d", "OFF",     "off/s", "never",        "1s",
        "1/1m1s",   "1 per s", "100",   "4294967296/s", "99999999999999999999/s",
    };
    for (const std::string& text : table) {
        INFO('"' << text << '"');
        CHECK_THROWS_AS(Rate::parse(text), std::invalid_argument);
        CHECK_THROWS_WITH(Rate::parse(text), contains("bad rate \"" + text + '"'));
    }
    CHECK_THROWS_AS(Rate::parse(std::string{"1/s\0", 4}), std::invalid_argument);
    CHECK_THROWS_AS(Rate::parse(std::string{"1\0/s", 4}), std::invalid_argument);
}

TEST_CASE("rate: the message says the way out", "[base][rate]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"100", "did you mean 100/s?"},      {"0/s", "write \"off\" for no limit"},
        {"0", "write \"off\" for no limit"}, {"100/x", "\"x\" is not a period"},
        {"100/", "\"\" is not a period"},    {"fast", "like 100/s"},
        {"4294967296/s", "too large"},
    };
    for (const auto& [text, way_out] : table) {
        INFO(text);
        CHECK_THROWS_WITH(Rate::parse(text), contains(way_out));
    }
}

TEST_CASE("rate: what is formatted is read back as the same", "[base][rate]") {
    std::uint32_t count = 1;
    for (std::int64_t us = 1; us < 36'500LL * 24 * 3600 * 1'000'000; us = us * 3 + 7) {
        const Rate rate{count, std::chrono::microseconds{us}};
        INFO(rate.to_string());
        REQUIRE(Rate::parse(rate.to_string()) == rate);
        count = count * 3 + 1;
        if (count == 0) count = 1;
    }
}
