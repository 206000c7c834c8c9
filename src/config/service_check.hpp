#pragma once

#include "config/settings.hpp"
#include "eplb/address.hpp"

#include <optional>

namespace eplb::control {

/// Warns of values of a service, and of its health check, that are of no use or not what was meant, and
/// complains of those that cannot be together.
void check_service_values(const Service& service, Diagnostics& diagnostics);

/// Nothing: a host name, or what is none.
[[nodiscard]] std::optional<Address> address_of(const Endpoint& endpoint);

}  // namespace eplb::control
