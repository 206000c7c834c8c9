#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace eplb {

/// The longest name of the DNS as text, without a dot at its end: 255 bytes on the wire, RFC 1035,
/// 2.3.4.
constexpr std::size_t max_host_name = 253;

/// What a client wrote where the name of a host belongs.
struct HostName {
    enum class Kind : std::uint8_t {
        name,
        address,  ///< IPv4 in four decimal numbers, or IPv6, without brackets and scope
        bad,      ///< neither: `size` is 0
    };
    Kind kind = Kind::bad;
    std::size_t size = 0;  ///< what is left of the text: without a dot at its end
};

/// Brings `text` into the form in which names compare by bytes: lower case (of ASCII alone, whatever
/// the locale), and no dot at the end. A name is of letters, digits, '-' and '_', in labels of 1 to 63
/// bytes. RFC 952 has no '_', and a '-' at neither end of a label, but there are hosts that are called
/// so, and clients that ask for them.
[[nodiscard]] HostName normalize_host_name(std::span<char> text) noexcept;

}  // namespace eplb
