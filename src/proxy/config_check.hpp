#pragma once

#include "eplb/config.hpp"

namespace eplb {

/// Throws std::invalid_argument, with the service and the member, for a value that no member can have:
/// a time below zero, a share above a hundred percent, a check that is never over. What members mean
/// together is looked at elsewhere.
void reject_impossible_values(const Config& config);

}  // namespace eplb
