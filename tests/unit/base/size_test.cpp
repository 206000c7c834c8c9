#include "base/size.hpp"

#include "support/catch.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using eplb::format_size;
using eplb::parse_size;

TEST_CASE("size: every unit is read, and written back in the shortest way", "[base][size]") {
    const std::vector<std::pair<std::string, std::uint64_t>> table{
        {"0", 0},
        {"1", 1},
        {"1000", 1000},
        {"1KiB", 1024},
        {"64KiB", 65536},
        {"1536KiB", 1536 * 1024},
        {"1MiB", 1048576},
        {"3GiB", std::uint64_t{3} << 30},
        {"18446744073709551615", UINT64_MAX},
    };
    for (const auto& [text, expected] : table) {
        INFO(text);
        CHECK(parse_size(text) == expected);
        CHECK(format_size(expected) == text);
    }
    CHECK(parse_size("1024KiB") == 1048576);
    CHECK(parse_size("007") == 7);
}

TEST_CASE("size: anything else is rejected with a message that quotes it", "[base][size]") {
    for (const std::string text :
         {"", " ", "KiB", "-1", "+1", "1.5MiB", "64 KiB", "64kib", "64K", "64KB", "64k", "1e6",
          "0x10", "64KiB ", " 64KiB", "1TiB", "18446744073709551616", "99999999999GiB"}) {
        INFO('"' << text << '"');
        CHECK_THROWS_AS(parse_size(text), std::invalid_argument);
        CHECK_THROWS_WITH(parse_size(text), eplb::test::contains('"' + text + '"'));
    }
}
