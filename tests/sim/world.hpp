#pragma once

#include "sim/population.hpp"

#include <cstdint>
#include <string>

namespace sim {

/// What came of a seed: `problems` is empty if nothing is wrong.
struct Verdict {
    Problems problems;
    std::string setting;  ///< for messages: what the seed decided
    std::uint64_t sessions = 0;
    std::uint64_t bytes = 0;
    std::uint64_t calls = 0;
    std::uint64_t splices = 0;
};

/// A whole balancer (eplb::Proxy) with random clients, backends, network and faults.
[[nodiscard]] Verdict run_proxy_world(std::uint64_t seed);
/// One with several workers, whose letters arrive in any order, that goes over to other configurations
/// while clients come: services get other names, listeners other services, and so on.
[[nodiscard]] Verdict run_reload_world(std::uint64_t seed);
/// Some eplb::Relay with random peers and random sizes of buffers and pipes, down to tiny ones.
[[nodiscard]] Verdict run_relay_world(std::uint64_t seed);

}  // namespace sim
