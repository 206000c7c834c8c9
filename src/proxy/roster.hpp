#pragma once

#include "eplb/config.hpp"
#include "eplb/proxy.hpp"
#include "proxy/service_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb {

/// Who is who in a proxy, over changes of its configuration: gives services, frontends, sockets and
/// backends their identities, and says what a new configuration makes of what there is.
///
///   service    its name, its listeners, its backends: see match_services()
///   socket     its address, as configured
///   frontend   its service and its socket
///   backend    its service, and its address, and its name where that tells several apart
///
/// What there is never changes, but is followed by something else: so a draft, which takes time in
/// proportion to the configuration, can be made on any thread, and going over to it is cheap. A service
/// of which nothing changes is handed on as it is, by its pointer.
///
/// Belongs to one thread, but for what says otherwise. Opens nothing.
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

    /// A backend of the configuration, or one that was and still has sessions.
    struct Known {
        std::uint32_t service = 0;  ///< its id
        ServiceBackend member;
        bool removed = false;
        bool removed_before = false;  ///< before the configuration that this is known of, too
    };
    /// All there is, by one configuration.
    struct State {
        Config config;
        Generation generation;            ///< services in the order of `config`
        std::vector<Address> configured;  ///< of the generation's frontends, in their order
        /// In the order of `config`, and then those that were removed.
        std::vector<Known> backends;
        std::uint32_t next_id = 1;
    };

    /// What a configuration will make of what there is.
    class Draft {
    public:
        [[nodiscard]] const Config& config() const noexcept { return state_->config; }
        [[nodiscard]] const Generation& generation() const noexcept { return state_->generation; }
        /// Where the kernel put what was opened.
        void set_address(const NewSocket& opened, Address address) {
            state_->generation.frontends[opened.frontend].address = std::move(address);
        }

        /// To be opened before commit(), and their addresses set.
        std::vector<NewSocket> new_sockets;
        std::vector<RemovedFrontend> removed_frontends;
        std::vector<RemovedBackend> removed_backends;
        std::vector<std::shared_ptr<Backend>> returned_backends;  ///< had been removed before

    private:
        friend class Roster;
        struct Change {  // of a backend
            std::shared_ptr<Backend> backend;
            std::string name;
            std::uint32_t weight;
            std::uint32_t max_connections;
        };
        struct WantsBalancers {
            std::shared_ptr<ServiceSpec> spec;
            std::size_t service;  // its place in the configuration
        };

        std::shared_ptr<const State>
            base_;  // what it was made of; once committed, what it replaced
        std::shared_ptr<State> state_;
        std::vector<Change> changes_;
        std::vector<WantsBalancers> want_balancers_;
        std::vector<std::pair<std::shared_ptr<SourceLimits>, SourceLimits::Options>> source_limits_;
        std::vector<std::pair<std::shared_ptr<ServiceLimits>, ServiceLimits::Options>>
            service_limits_;
    };

    /// `on_room` is what the ServiceLimits of the roster's services is to call.
    explicit Roster(std::function<void(std::size_t worker)> on_room = {})
        : on_room_{std::move(on_room)} {}

    /// Throws std::invalid_argument for a configuration that makes no sense. Makes no balancers. Any
    /// thread.
    [[nodiscard]] Draft draft(Config config) const;
    /// Whether it was drafted from what there is now. If not, it has to be drafted anew.
    [[nodiscard]] bool is_current(const Draft& draft) const noexcept {
        return draft.base_ == state_;
    }
    /// Calls each make_balancer, for so many workers; throws what it throws, and
    /// std::invalid_argument when it makes none. Before commit().
    static void make_balancers(Draft& draft, std::size_t workers);
    /// From now on it is so; `draft` is current. Backends that were removed are kept until they have
    /// no session. What there was before goes with the draft.
    void commit(Draft& draft);

    [[nodiscard]] const Config& config() const noexcept { return state_->config; }
    [[nodiscard]] const Generation& generation() const noexcept { return state_->generation; }
    /// Any thread.
    [[nodiscard]] std::vector<BackendStatus> backends() const;
    /// Any thread.
    [[nodiscard]] std::vector<ListenerStatus> listeners() const;
    [[nodiscard]] std::vector<ServiceBackend> members() const;
    /// Of that service, those with that name or address.
    [[nodiscard]] std::vector<ServiceBackend> members(std::string_view service,
                                                      std::string_view name) const;

private:
    class Drafter;

    [[nodiscard]] std::shared_ptr<const State> state() const {
        const std::lock_guard lock{changing_state_};
        return state_;
    }

    std::function<void(std::size_t)> on_room_;
    mutable std::mutex changing_state_;  // held for no longer than a pointer takes
    std::shared_ptr<const State> state_ = std::make_shared<const State>();
};

}  // namespace eplb
