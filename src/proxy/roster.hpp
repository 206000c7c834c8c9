#pragma once

#include "eplb/config.hpp"
#include "eplb/proxy.hpp"
#include "proxy/service_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb {

/// Who is who in a proxy, over changes of its configuration: gives services, frontends, sockets and
/// backends their identities, and says what a new configuration makes of what there is.
///
///   service    its name
///   socket     its address, as configured
///   frontend   its service and its socket
///   backend    its service, its name and its address
///
/// Belongs to one thread. Opens nothing.
class Roster {
public:
    struct NewSocket {
        Address address;           ///< as configured
        std::size_t frontend = 0;  ///< its index in the generation
    };
    struct RemovedFrontend {
        FrontendSpec spec;
        OnRemove policy = OnRemove::drain;
        Duration drain_timeout{0};
    };
    struct RemovedBackend {
        std::shared_ptr<Backend> backend;
        OnRemove policy = OnRemove::drain;
        Duration drain_timeout{0};
    };
    /// What a configuration will make of what there is.
    struct Draft {
        Config config;
        Generation generation;
        /// To be opened before commit(), and their addresses written into the generation.
        std::vector<NewSocket> new_sockets;
        std::vector<RemovedFrontend> removed_frontends;
        std::vector<RemovedBackend> removed_backends;
        std::vector<std::shared_ptr<Backend>> returned_backends;  ///< had been removed before

    private:
        friend class Roster;
        struct Entry {
            std::uint32_t service;
            std::shared_ptr<Backend> backend;
            std::uint32_t weight;
            std::uint32_t max_connections;
        };
        std::vector<Entry> backends;
        std::vector<std::pair<std::shared_ptr<SourceLimits>, SourceLimits::Options>> source_limits;
        std::vector<std::pair<std::shared_ptr<ServiceLimits>, ServiceLimits::Options>>
            service_limits;
        std::uint32_t next_id = 0;
    };

    /// `on_room` is what the ServiceLimits of the roster's services is to call.
    explicit Roster(std::function<void(std::size_t worker)> on_room = {})
        : on_room_{std::move(on_room)} {}

    /// For so many workers. Throws std::invalid_argument for a configuration that makes no sense, and
    /// whatever its make_balancer throws.
    [[nodiscard]] Draft draft(const Config& config, std::size_t workers = 1) const;
    /// From now on it is so. Backends that were removed are kept until they have no session.
    void commit(const Draft& draft);

    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] const Generation& generation() const noexcept { return generation_; }
    [[nodiscard]] std::vector<BackendStatus> backends() const;
    [[nodiscard]] std::vector<ServiceBackend> members() const;
    /// Of that service, those with that name or address.
    [[nodiscard]] std::vector<ServiceBackend> members(std::string_view service,
                                                      std::string_view name) const;

private:
    // A backend of the configuration, or one that was and still has sessions.
    struct Known {
        std::uint32_t service;
        std::string service_name;
        std::shared_ptr<Backend> backend;
        bool removed = false;
    };

    [[nodiscard]] std::uint32_t service_id(const std::string& name) const noexcept;
    void draft_backends(Draft& draft, const ServiceConfig& service, ServiceSpec& spec) const;
    void draft_frontends(Draft& draft, const ServiceConfig& service, std::uint32_t id) const;
    void draft_limits(Draft& draft, const ServiceConfig& service, ServiceSpec& spec) const;
    void find_removed(Draft& draft) const;
    [[nodiscard]] const ServiceConfig& config_of(std::uint32_t service) const noexcept;

    std::function<void(std::size_t)> on_room_;
    Config config_;
    Generation generation_;
    std::vector<Address> configured_;  // of the generation's frontends, in their order
    std::vector<Known> backends_;
    std::uint32_t next_id_ = 1;
};

}  // namespace eplb
