#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/flow.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eplb {

// Plain values that say what a Proxy is to do. Nothing here opens or looks up anything.

struct BackendConfig {
    Address address;
    std::string name;  ///< for logs; empty: the address
    std::uint32_t weight = 1;
};

struct ServiceConfig {
    std::string name = "default";
    std::vector<Address> listen;
    std::vector<BackendConfig> backends;
    /// For each attempt. No further backend is tried once twice this has gone by since the client
    /// came.
    Duration connect_timeout = std::chrono::seconds{5};
    /// Zero: never.
    Duration idle_timeout{0};
    /// Without progress. Zero: never.
    Duration half_close_timeout = std::chrono::seconds{60};
};

struct Config {
    std::vector<ServiceConfig> services;
    /// Reactors, each on a thread of its own; at least 1. The clocks of those behind the first are
    /// the system's.
    std::size_t workers = 1;
    /// How long the reactors behind the first spin before they block, as Reactor::set_busy_poll().
    Duration busy_poll{0};
    RelayMode relay = RelayMode::automatic;
    /// What to ask the kernel for, per pipe; 0: what proved best (docs/benchmarks.md).
    std::size_t pipe_bytes = 0;
    /// Sessions at a time; further clients wait in the listeners' backlogs. 0: as many as the
    /// process's limit of descriptors allows.
    std::size_t max_connections = 0;
};

}  // namespace eplb
