#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace eplb::control {

/// Which addresses of a name count.
enum class NameFamily : std::uint8_t {
    automatic,  ///< IPv4, or if there is none, IPv6
    both,
    ipv4,
    ipv6,
};

/// What becomes of a start when a name is not there.
enum class MissingName : std::uint8_t { wait, fail };
/// What becomes of the sessions of an address that a name's answer lacks.
enum class OnAbsent : std::uint8_t {
    keep,   ///< they live as long as their server does
    drain,  ///< they have the service's drain_timeout
    close,  ///< they end
};

/// How names are asked for, and what is made of the answers. Each member has the value that a
/// configuration without it has.
struct DnsOptions {
    std::vector<Address> servers;  ///< none: those of the system
    Duration min_ttl = std::chrono::seconds{1};
    Duration max_ttl = std::chrono::minutes{5};
    Duration timeout = std::chrono::seconds{5};
    NameFamily family = NameFamily::automatic;
    MissingName missing = MissingName::wait;
    OnAbsent on_absent = OnAbsent::keep;
};

}  // namespace eplb::control
