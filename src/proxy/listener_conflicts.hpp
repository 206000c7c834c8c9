#pragma once

#include "eplb/address.hpp"

namespace eplb {

/// Whether nobody can listen on both at the same time: they are the same, or one is a wildcard that
/// takes the other one's clients. [::] takes IPv4 as well. Port 0 is any port, so never the same.
[[nodiscard]] bool overlap(const Address& a, const Address& b) noexcept;

}  // namespace eplb
