#pragma once

#include "discovery/name_source.hpp"
#include "eplb/address.hpp"
#include "eplb/clock.hpp"

#include <optional>
#include <span>
#include <sys/socket.h>
#include <vector>

namespace eplb::control {

// RFC 1035, 3.2.
constexpr unsigned class_in = 1;
constexpr unsigned type_a = 1;
constexpr unsigned type_aaaa = 28;
constexpr unsigned type_srv = 33;

/// What a record of addresses has for a type: A, or, AF_INET6, AAAA.
[[nodiscard]] constexpr unsigned type_of(int family) noexcept {
    return family == AF_INET ? type_a : type_aaaa;
}

/// What an SRV question is answered with.
struct ServiceRecords {
    std::vector<ServiceRecord> records;
    Duration ttl{0};  ///< the shortest, of aliases too
};

/// The SRV records of a DNS message; nothing if it is none, or is cut. A target "." (there is no such
/// service, RFC 2782) is left out. c-ares has a parser, but that drops the TTL.
[[nodiscard]] std::optional<ServiceRecords> parse_service_records(
    std::span<const unsigned char> message);

struct AddressRecords {
    std::vector<Address> addresses;  ///< without ports
    Duration ttl{0};                 ///< the shortest, of aliases too
};

/// The same for the A records of a message, or, AF_INET6, the AAAA records.
[[nodiscard]] std::optional<AddressRecords> parse_address_records(
    std::span<const unsigned char> message, int family);

}  // namespace eplb::control
