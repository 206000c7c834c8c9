#pragma once

#include "eplb/config.hpp"

namespace eplb {

// What makes no sense in a configuration, whoever wrote it. Each throws std::invalid_argument.

/// A value that no member can have: a time below zero, a share above a hundred percent, a check that is
/// never over. Names the service and the member.
void reject_impossible_values(const Config& config);
/// Listeners that cannot be listened on at the same time.
void reject_conflicting_listeners(const Config& config);
/// Backends that are listeners of ours, so that connections would come back.
void reject_loops(const Config& config);
/// Backends without a host, and services without a backend, unless they may lack one.
void reject_bad_backends(const Config& config);

}  // namespace eplb
