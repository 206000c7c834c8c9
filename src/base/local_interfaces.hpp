#pragma once

#include "eplb/address.hpp"

namespace eplb {

/// Whether connecting to `address` stays on this machine: a loopback or wildcard address, or one of
/// an interface (getifaddrs(3)). False for Unix sockets.
[[nodiscard]] bool is_on_this_machine(const Address& address);

}  // namespace eplb
