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

/// What happens to the sessions of a backend or a listener that Proxy::apply() removed. It gets no
/// new ones, whatever this says.
enum class OnRemove : std::uint8_t {
    drain,  ///< they may go on for the drain timeout, and are reset then
    close,  ///< they are reset at once
    keep,   ///< they go on
};

struct ServiceConfig {
    /// Tells Proxy::apply() which service is which.
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
    RelayMode relay = RelayMode::automatic;
    /// What to ask the kernel for, per pipe; 0: what proved best (docs/benchmarks.md).
    std::size_t pipe_bytes = 0;
    /// How long sessions may go on when their backend or listener was removed, or the proxy is
    /// drained by configuration. Zero: as long as they like.
    Duration drain_timeout = std::chrono::seconds{30};
    OnRemove on_remove = OnRemove::drain;
    /// Clients that the kernel keeps while nobody accepts them; clamped by net.core.somaxconn.
    std::uint32_t backlog = 4096;
};

struct Config {
    std::vector<ServiceConfig> services;
    /// Reactors, each on a thread of its own; at least 1. The clocks of those behind the first are
    /// the system's.
    std::size_t workers = 1;
    /// How long the reactors behind the first spin before they block, as Reactor::set_busy_poll().
    Duration busy_poll{0};
    /// A service in which no backend has a weight above 0 is no mistake: its clients are closed at
    /// once.
    bool may_lack_backends = false;
    /// Sessions at a time; further clients wait in the listeners' backlogs. 0: as many as the
    /// process's limit of descriptors allows.
    std::size_t max_connections = 0;
};

}  // namespace eplb
