#pragma once

#include "eplb/backend.hpp"
#include "eplb/config.hpp"
#include "eplb/relay.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

/// The backends that the clients of some listeners share, and the service's limits. Any thread may
/// ask: nothing but the counts of the backends changes.
class Service {
public:
    /// `index`: its place among the services. Throws std::invalid_argument when there is no backend
    /// that could take a session.
    Service(const ServiceConfig& config, std::size_t index);

    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    [[nodiscard]] std::size_t backend_count() const noexcept { return backends_.size(); }
    /// Those with a weight.
    [[nodiscard]] std::span<Backend* const> usable() const noexcept { return usable_; }

    /// Whether a connection to `backend`, if nobody listens there, could be given the backend's own
    /// port as its local one, and so be connected to itself (simultaneous open, RFC 9293, 3.5).
    [[nodiscard]] bool may_connect_to_itself(const Backend& backend) const noexcept;

    [[nodiscard]] Duration connect_timeout() const noexcept { return connect_timeout_; }
    [[nodiscard]] const RelayTimeouts& timeouts() const noexcept { return timeouts_; }

private:
    std::size_t index_;
    std::vector<std::unique_ptr<Backend>> backends_;
    std::vector<Backend*> usable_;
    Duration connect_timeout_;
    RelayTimeouts timeouts_;
    std::uint16_t first_ephemeral_port_ = 0;
    std::uint16_t last_ephemeral_port_ = 65535;
};

}  // namespace eplb
