#include "base/crc32c.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

std::uint32_t crc32c(std::string_view text, std::uint32_t seed = 0) {
    return eplb::crc32c(std::as_bytes(std::span{text.data(), text.size()}), seed);
}

std::string ascending(std::size_t size) {
    std::string bytes(size, '\0');
    std::iota(bytes.begin(), bytes.end(), '\0');
    return bytes;
}

}  // namespace

TEST_CASE("crc32c: agrees with the published vectors", "[base][crc32c]") {
    const std::string up = ascending(32);
    const std::vector<std::pair<std::string, std::uint32_t>> table{
        {"", 0},
        {"a", 0xc1d04330},
        {"123456789", 0xe3069283},  // the check value of every catalogue of CRCs
        // RFC 3720, B.4, which prints the bytes as they are on the wire, the lowest first
        {std::string(32, '\0'), 0x8a9136aa},
        {std::string(32, '\xff'), 0x62a8ab43},
        {up, 0x46dd794e},
        {std::string(up.rbegin(), up.rend()), 0x113fdb5c},
    };
    for (const auto& [text, expected] : table) {
        CAPTURE(text.size());
        CHECK(crc32c(text) == expected);
    }
}

TEST_CASE("crc32c: goes on where an earlier one stopped, wherever that was", "[base][crc32c]") {
    const std::string text = ascending(64);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        CAPTURE(cut);
        CHECK(crc32c(text.substr(cut), crc32c(text.substr(0, cut))) == crc32c(text));
    }
}

TEST_CASE("crc32c: every single bit counts, and so does the order", "[base][crc32c]") {
    const std::string text = ascending(16);
    for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
        CAPTURE(bit);
        std::string other = text;
        other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
        CHECK(crc32c(other) != crc32c(text));
    }
    CHECK(crc32c("ab") != crc32c("ba"));
    CHECK(crc32c(std::string(1, '\0')) != crc32c(std::string(2, '\0')));
}
