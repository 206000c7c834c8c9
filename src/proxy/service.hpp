#pragma once

#include "eplb/backend.hpp"
#include "eplb/balancer.hpp"
#include "eplb/config.hpp"
#include "eplb/proxy.hpp"
#include "eplb/relay.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

/// The backends that the clients of some listeners share, how they are shared out, and the
/// service's limits.
class Service {
public:
    /// Throws std::invalid_argument when there is no backend that could take a session.
    explicit Service(const ServiceConfig& config);

    /// Whom the balancer gives to `client`, leaving out those that failed it; nullptr: nobody is
    /// left.
    [[nodiscard]] Backend* pick(const Address& client,
                                std::span<const FailedAttempt> failed) noexcept;

    /// Whether a connection to `backend`, if nobody listens there, could be given the backend's own
    /// port as its local one, and so be connected to itself (simultaneous open, RFC 9293, 3.5).
    [[nodiscard]] bool may_connect_to_itself(const Backend& backend) const noexcept;

    [[nodiscard]] Duration connect_timeout() const noexcept { return connect_timeout_; }
    [[nodiscard]] const RelayTimeouts& timeouts() const noexcept { return timeouts_; }

private:
    std::vector<std::unique_ptr<Backend>> backends_;
    std::vector<Backend*> usable_;     // with a weight
    std::vector<Backend*> remaining_;  // scratch for pick()
    std::unique_ptr<Balancer> balancer_;
    Duration connect_timeout_;
    RelayTimeouts timeouts_;
    std::uint16_t first_ephemeral_port_ = 0;
    std::uint16_t last_ephemeral_port_ = 65535;
};

}  // namespace eplb
