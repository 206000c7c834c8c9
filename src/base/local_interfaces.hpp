#pragma once

#include "eplb/address.hpp"

#include <vector>

namespace eplb {

/// Whether connecting to `address` stays on this machine: a loopback or wildcard address, or one of
/// an interface (getifaddrs(3)). False for Unix sockets.
[[nodiscard]] bool is_on_this_machine(const Address& address);

/// The IP addresses of its interfaces, with port 0, getifaddrs(3); none, if that fails.
[[nodiscard]] std::vector<Address> local_addresses();

}  // namespace eplb
