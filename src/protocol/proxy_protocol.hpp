#pragma once

#include "eplb/address.hpp"
#include "eplb/proxy_protocol_versions.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace eplb {

// The PROXY protocol, both versions, both ways: who the client of a proxied connection is, said
// before its first byte. Pure functions: bytes in, values out. "The specification" is HAProxy's
// doc/proxy-protocol.txt, of 2020/03/05.

/// What a header said.
struct ProxyHeader {
    /// The connection's own addresses count: the header is LOCAL or UNKNOWN, or of a family or a
    /// transport that has no meaning for a stream (UNSPEC, DGRAM).
    bool local = false;
    /// Set unless local. The socket of a Unix connection may have no name: no address. Both are
    /// internet addresses, of whatever families, or none is.
    Address source;
    Address destination;
    /// The host name that the client asked for, e.g. by SNI; at most 255 bytes. Empty: not told.
    /// Any bytes at all, although the specification says UTF-8: escape them before they go into a
    /// log.
    std::string authority;
    /// Identifies the connection along a chain of proxies; at most 128 bytes, any. Empty: not told.
    std::string unique_id;
    /// There was a checksum, and it was right.
    bool crc32c = false;
};

struct ProxyParse {
    enum class Status : std::uint8_t {
        complete,    ///< `header` and `header_bytes` are valid
        incomplete,  ///< so far so good: more must come
        bad,         ///< no header, whatever comes: see `problem`
    };
    Status status = Status::incomplete;
    /// Where the payload begins.
    std::size_t header_bytes = 0;
    ProxyHeader header;
    /// For the log: static text, nothing of the peer's; e.g. "v1: no CRLF within 107 bytes".
    std::string_view problem;
};

/// A longer header is bad. The specification allows 16 + 65535 bytes, but somebody has to keep them
/// while they trickle in; what senders send has tens to hundreds.
constexpr std::size_t max_proxy_header_bytes = 4096;

/// Reads the header at the beginning of `received`, which may be cut anywhere, or have payload
/// behind the header: payload is never looked at. `incomplete` is never said of
/// max_proxy_header_bytes or more. Once bad, always bad, and bad at the first byte that cannot
/// belong to a header; but addresses and TLVs are looked at only when the header is there as a
/// whole. AcceptProxy::off: complete, with no bytes.
[[nodiscard]] ProxyParse parse_proxy_header(std::span<const std::byte> received,
                                            AcceptProxy accepted);

/// What a v2 header can say besides addresses; v1 has no room for it.
struct ProxyTlvs {
    bool crc32c = false;
    /// Empty, or longer than max_proxy_unique_id: left out.
    std::string_view unique_id{};
    /// Empty, or longer than max_proxy_authority: left out, because half of a name is another name.
    std::string_view authority{};
};

constexpr std::size_t max_proxy_unique_id = 128;  // specification, 2.2.5
constexpr std::size_t max_proxy_authority = 255;  // a DNS name, RFC 1035 2.3.4; HAProxy's limit too

/// The longest header we make, in bytes: v2's fixed part, two Unix addresses, and an authority, a
/// unique id and a checksum with 3 bytes before each. Those of TCP stay below the 536 bytes that
/// every TCP segment can have, which is what the specification wants.
constexpr std::size_t max_encoded_proxy_header =
    16 + 2 * 108 + (3 + max_proxy_authority) + (3 + max_proxy_unique_id) + (3 + 4);

/// Writes the header of a relayed connection to the beginning of `out`, and returns its length; 0
/// for SendProxy::off. `source` is the client, `destination` is where it connected to. If one is
/// IPv4 and the other IPv6, both are told as IPv6. Addresses that the version has no words for (v1:
/// Unix sockets; both: a Unix socket with an IP address, or nothing) are told as UNKNOWN in v1 and
/// as LOCAL in v2, without TLVs: the receiver takes the connection's own addresses.
[[nodiscard]] std::size_t encode_proxy_header(
    SendProxy version, const Address& source, const Address& destination, const ProxyTlvs& tlvs,
    std::span<std::byte, max_encoded_proxy_header> out) noexcept;

/// Same for a connection of our own, like a health check, of which nobody else is the client: `own`
/// is our end of it, getsockname(2), `peer` the other one, getpeername(2).
[[nodiscard]] std::size_t encode_local_proxy_header(
    SendProxy version, const Address& own, const Address& peer,
    std::span<std::byte, max_encoded_proxy_header> out) noexcept;

}  // namespace eplb
