#pragma once

#include "eplb/address.hpp"
#include "eplb/backend.hpp"
#include "eplb/config.hpp"
#include "eplb/relay.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace eplb {

/// The ports that the kernel chooses local ones from, ip_local_port_range in ip(7).
struct EphemeralPorts {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;

    [[nodiscard]] static EphemeralPorts of_this_network();
    [[nodiscard]] bool contains(std::uint16_t port) const noexcept {
        return port >= first && port <= last;
    }
};

/// What the workers are told of a service. Never changed, and shared by all of them, as are the
/// backends in it.
struct ServiceSpec {
    std::uint32_t id = 0;  ///< for the life of the proxy
    std::string name;
    Duration connect_timeout{0};
    RelayTimeouts timeouts;
    RelayMode relay = RelayMode::automatic;
    std::size_t pipe_bytes = 0;
    /// Those with a weight.
    std::vector<std::shared_ptr<Backend>> usable;
    /// Every Backend::index() is below.
    std::size_t index_end = 0;
    EphemeralPorts ephemeral_ports;
};

/// An address on which a service accepts: with the port that the kernel chose, where the
/// configuration said 0.
struct FrontendSpec {
    std::uint32_t id = 0;       ///< for the life of the proxy; another one for another service
    std::uint32_t service = 0;  ///< its id
    std::uint32_t socket = 0;   ///< the id of what is listened on: survives a change of service
    Address address;
    int backlog = 0;
};

/// All that workers work by.
struct Generation {
    std::vector<std::shared_ptr<const ServiceSpec>> services;
    std::vector<FrontendSpec> frontends;
};

}  // namespace eplb
