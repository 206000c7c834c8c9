#pragma once

// What both versions of the PROXY protocol need, for the files that make up proxy_protocol.hpp alone.

#include "protocol/proxy_protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <sys/socket.h>
#include <utility>

namespace eplb::proxy_wire {

using Bytes = std::span<const std::byte>;

[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// One of the two is the beginning of the other: `received` is `expected`, perhaps cut, perhaps with
/// more behind it.
[[nodiscard]] inline bool begins_like(std::string_view received,
                                      std::string_view expected) noexcept {
    return received.substr(0, expected.size()) == expected.substr(0, received.size());
}

[[nodiscard]] inline ProxyParse incomplete() { return {}; }

[[nodiscard]] inline ProxyParse bad(std::string_view problem) {
    ProxyParse result;
    result.status = ProxyParse::Status::bad;
    result.problem = problem;
    return result;
}

[[nodiscard]] inline ProxyParse complete(std::size_t header_bytes, ProxyHeader header) {
    ProxyParse result;
    result.status = ProxyParse::Status::complete;
    result.header_bytes = header_bytes;
    result.header = std::move(header);
    return result;
}

[[nodiscard]] inline ProxyHeader local_header() {
    ProxyHeader header;
    header.local = true;
    return header;
}

template <typename Raw>
Address address_from(const Raw& raw, std::size_t length = sizeof(Raw)) {
    sockaddr_storage storage{};
    std::memcpy(&storage, &raw, sizeof raw);
    return Address::from(storage, static_cast<socklen_t>(length));
}

/// `host` is in network byte order, and as long as the family's are.
[[nodiscard]] Address inet_address(int family, const void* host, std::uint16_t port);

}  // namespace eplb::proxy_wire
