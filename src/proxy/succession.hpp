#pragma once

#include "eplb/config.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace eplb {

// Who in a new configuration is who in the old one. Pure, and no dearer than in proportion to the two
// of them.

/// Nobody: it is new.
inline constexpr std::size_t no_predecessor = static_cast<std::size_t>(-1);

/// For each service of `now`, its place in `old`. Whoever is found first is taken:
///
///   the same name, and a listener in common
///   the same name, and a backend's address in common
///   a listener in common, and a backend's address
///   a listener in common
///   the same name
///
/// So a service without a name of its own is the one whose listener it has, whichever comes first in
/// its list; one that is called otherwise is still the one that its clients connect to; and if two
/// have swapped their names, it is only the names that have changed.
[[nodiscard]] std::vector<std::size_t> match_services(std::span<const ServiceConfig> old,
                                                      std::span<const ServiceConfig> now);

/// What a backend is known by within its service.
struct BackendIdentity {
    const std::string* name = nullptr;
    const Address* address = nullptr;
};

/// For each backend of `now`, its place among the `old` ones of the same service. First those with the
/// same name and address, then, for those that are left, the same address: they are called otherwise.
/// Of several that are the same, each is one, in order.
[[nodiscard]] std::vector<std::size_t> match_backends(std::span<const BackendIdentity> old,
                                                      std::span<const BackendConfig> now);

}  // namespace eplb
