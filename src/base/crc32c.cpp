#include "base/crc32c.hpp"

#include <array>

namespace eplb {
namespace {

// 0x1edc6f41 with its bits mirrored, because the lowest bit of a byte counts as the first one. The
// instruction of SSE 4.2 would save a few dozen cycles per connection, and cost a second version.
constexpr std::uint32_t polynomial = 0x82f63b78;

constexpr std::array<std::uint32_t, 256> make_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t index = 0; index < table.size(); ++index) {
        std::uint32_t remainder = index;
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? polynomial : 0);
        }
        table[index] = remainder;
    }
    return table;
}

constexpr std::array<std::uint32_t, 256> table = make_table();

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
    std::uint32_t remainder = ~seed;
    for (const std::byte byte : bytes) {
        const std::uint32_t index = (remainder ^ std::to_integer<std::uint32_t>(byte)) & 0xff;
        remainder = (remainder >> 8) ^ table[index];
    }
    return ~remainder;
}

}  // namespace eplb
