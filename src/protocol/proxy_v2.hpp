#pragma once

#include "protocol/proxy_wire.hpp"

#include <array>

namespace eplb::proxy_wire {

// Version 2: binary, specification 2.2. Numbers are in network byte order.
//
//   0         12               13                  14      16
//   signature version|command  family|transport    length  addresses, then TLVs: `length` bytes

constexpr std::string_view v2_signature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t command_at = 12;
constexpr std::size_t family_at = 13;
constexpr std::size_t length_at = 14;
constexpr std::size_t v2_fixed_bytes = 16;

constexpr unsigned v2_version = 2;
enum Command : unsigned { command_local = 0, command_proxy = 1 };
enum Family : unsigned { family_unspec = 0, family_inet = 1, family_inet6 = 2, family_unix = 3 };
enum Transport : unsigned { transport_unspec = 0, transport_stream = 1, transport_dgram = 2 };
enum Tlv : unsigned { tlv_authority = 0x02, tlv_crc32c = 0x03, tlv_unique_id = 0x05 };

constexpr std::array<std::size_t, 4> host_bytes{0, 4, 16, 108};  // by Family
constexpr std::size_t tlv_head_bytes = 3;                        // type and length
constexpr std::size_t crc32c_bytes = 4;

[[nodiscard]] ProxyParse parse_v2(Bytes received);

/// The checksum is that of the whole header with zeros in its own place. In network byte order like
/// every other number, as HAProxy and AWS send it; RFC 4960, for SCTP, would turn it around.
[[nodiscard]] std::uint32_t checksum_of(Bytes whole, std::size_t field_at) noexcept;

}  // namespace eplb::proxy_wire
