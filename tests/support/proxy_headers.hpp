#pragma once

// PROXY headers, read, made by hand, and written.

#include "protocol/proxy_protocol.hpp"

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::test {

using namespace std::string_literals;

// In a block of its own that ends where the bytes end, so that a sanitizer sees a read beyond.
inline ProxyParse parse(std::string_view received, AcceptProxy accepted = AcceptProxy::any) {
    std::vector<std::byte> exact(received.size());
    if (!exact.empty()) std::memcpy(exact.data(), received.data(), exact.size());
    return parse_proxy_header(exact, accepted);
}

inline std::string u16(std::size_t value) {
    return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

inline std::string tlv(unsigned char type, const std::string& value) {
    return static_cast<char>(type) + u16(value.size()) + value;
}

inline const std::string v2_signature = "\r\n\r\n\0\r\nQUIT\n"s;

inline std::string v2_header(unsigned char version_command, unsigned char family_transport,
                             const std::string& block) {
    return v2_signature + static_cast<char>(version_command) + static_cast<char>(family_transport) +
           u16(block.size()) + block;
}

constexpr unsigned char alpn = 0x01, authority = 0x02, crc32c = 0x03, noop = 0x04, unique_id = 0x05,
                        ssl = 0x20, custom = 0xea;

// 192.168.0.1:56324 to 192.168.0.11:443, as in the specification's example of version 1
inline const std::string inet = "\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"s;
inline const std::string inet_crc = "\x03\x00\x04\x1c\x1a\xe9\xc6"s;  // by a CRC of bits, in Python
// [2001:db8::1]:56324 to [2001:db8::b]:443
inline const std::string inet6 =
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x0b"
    "\xdc\x04\x01\xbb"s;

inline std::string unix_field(std::string path) {
    path.resize(108);
    return path;
}

using HeaderBuffer = std::array<std::byte, max_encoded_proxy_header>;

inline std::string text_of(const HeaderBuffer& buffer, std::size_t size) {
    return {reinterpret_cast<const char*>(buffer.data()), size};
}

inline std::string encode(SendProxy version, const Address& source, const Address& destination,
                          const ProxyTlvs& tlvs = {}) {
    HeaderBuffer buffer{};
    return text_of(buffer, encode_proxy_header(version, source, destination, tlvs, buffer));
}

inline std::string encode(SendProxy version, const std::string& source,
                          const std::string& destination, const ProxyTlvs& tlvs = {}) {
    return encode(version, Address::parse(source), Address::parse(destination), tlvs);
}

}  // namespace eplb::test
