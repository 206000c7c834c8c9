#include "support/bytes.hpp"

#include <ostream>

namespace eplb::test {
namespace {

// splitmix64: a different word for every key and place.
std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

}  // namespace

Bytes pattern(std::size_t size, std::uint64_t key) {
    std::string out(size, '\0');
    const std::uint64_t seed = mix(key);
    for (std::size_t i = 0; i < size; i += 8) {
        std::uint64_t word = mix(seed + i);
        for (std::size_t j = i; j < i + 8 && j < size; ++j, word >>= 8) {
            out[j] = static_cast<char>(word & 0xff);
        }
    }
    return Bytes{std::move(out)};
}

std::ostream& operator<<(std::ostream& out, const Bytes& bytes) {
    constexpr std::size_t shown = 32;
    out << bytes.size() << " bytes \"";
    for (const char c : bytes.view().substr(0, shown)) {
        const auto code = static_cast<unsigned char>(c);
        constexpr std::string_view digits = "0123456789abcdef";
        if (code >= 0x20 && code < 0x7f) {
            out << c;
        } else {
            out << "\\x" << digits[code >> 4] << digits[code & 0xf];
        }
    }
    out << '"';
    if (bytes.size() > shown) out << "..., hash " << std::hash<std::string_view>{}(bytes.view());
    return out;
}

}  // namespace eplb::test
