#pragma once

#include "admission/service_limits.hpp"
#include "admission/source_limits.hpp"
#include "admission/waiting_room.hpp"
#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"
#include "eplb/backend.hpp"
#include "eplb/balancer.hpp"
#include "eplb/cidr.hpp"
#include "eplb/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace eplb {

class BalanceTable;

/// The ports that the kernel chooses local ones from, ip_local_port_range in ip(7).
struct EphemeralPorts {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;

    [[nodiscard]] static EphemeralPorts of_this_network();
    [[nodiscard]] bool contains(std::uint16_t port) const noexcept {
        return port >= first && port <= last;
    }

    friend bool operator==(const EphemeralPorts& a, const EphemeralPorts& b) noexcept = default;
};

/// Who may connect, and who may say for whom.
struct AccessRules {
    CidrSet allow;
    CidrSet deny;
    CidrSet trusted_proxies;

    [[nodiscard]] bool admits(const Address& client) const noexcept {
        return !deny.contains(client) && (allow.empty() || allow.contains(client));
    }
};

/// What ServiceConfig::make_balancer made: by the index of the worker, who takes its own out of it.
struct CustomBalancers {
    struct Pair {
        std::unique_ptr<Balancer> primaries;
        std::unique_ptr<Balancer> backups;
    };
    std::vector<Pair> of_workers;
};

/// What the workers are told of a service. Never changed, and shared by all of them, as are the
/// backends in it.
struct ServiceSpec {
    std::uint32_t id = 0;  ///< for the life of the proxy
    /// What was configured, but for `make_balancer`, whose captures are to go on the proxy's thread.
    std::shared_ptr<const ServiceConfig> config;
    AccessRules access;
    /// As long as the service is there, its numbers may change, its counts stay.
    std::shared_ptr<ServiceLimits> limits;
    /// As long as the service is there.
    std::shared_ptr<WaitingRoom> waiting_room;
    /// Of the program around us; nothing: by `balance`.
    std::shared_ptr<CustomBalancers> custom_balancers;
    /// Nothing: there are no such limits. Its numbers may change, its counts stay.
    std::shared_ptr<SourceLimits> source_limits;
    /// Those with a weight; `backups` only get clients when there is nobody else.
    std::vector<std::shared_ptr<Backend>> primaries;
    std::vector<std::shared_ptr<Backend>> backups;
    /// Where the balance goes by such: built once, for all workers.
    std::shared_ptr<const BalanceTable> primaries_table;
    std::shared_ptr<const BalanceTable> backups_table;
    /// Every Backend::index() is below.
    std::size_t index_end = 0;
    EphemeralPorts ephemeral_ports;
};

/// A backend of the configuration, and the service that it is in.
struct ServiceBackend {
    std::shared_ptr<Backend> backend;
    std::shared_ptr<const ServiceConfig> service;
    bool absent = false;  ///< as BackendConfig: only its sessions keep it
};

/// An address on which a service accepts: with the port that the kernel chose, where the
/// configuration said 0.
struct FrontendSpec {
    std::uint32_t id = 0;       ///< for the life of the proxy; another one for another service
    std::uint32_t service = 0;  ///< its id
    std::uint32_t socket = 0;   ///< the id of what is listened on: survives a change of service
    Address address;
    ListenOptions options;
    /// That came in by it, at all workers together, and are not over. As long as it is there.
    std::shared_ptr<std::atomic<std::size_t>> sessions =
        std::make_shared<std::atomic<std::size_t>>(0);
    /// Nothing about it, nor about its service, is another than in the generation before.
    bool as_before = false;
};

/// All that workers work by.
struct Generation {
    std::vector<std::shared_ptr<const ServiceSpec>> services;
    std::vector<FrontendSpec> frontends;

    /// To be called when they are complete, for what follows.
    void index();
    /// By its id.
    [[nodiscard]] bool has_service(std::uint32_t id) const noexcept;
    [[nodiscard]] bool has_frontend(std::uint32_t id) const noexcept;  ///< as has_service()
    /// That of a socket, by its id; nullptr: it is not listened on.
    [[nodiscard]] const FrontendSpec* frontend_of(std::uint32_t socket) const noexcept;

private:
    struct Socket {
        std::uint32_t id;
        std::size_t frontend;  // its place
    };
    // In order. Made with the generation, not on the workers' threads.
    std::vector<std::uint32_t> service_ids_;
    std::vector<std::uint32_t> frontend_ids_;
    std::vector<Socket> sockets_;
};

}  // namespace eplb
