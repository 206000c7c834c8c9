#pragma once

#include "eplb/backend.hpp"
#include "eplb/balancer.hpp"
#include "eplb/proxy.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

class Service;

/// Which backend of a service a client gets, on one worker. Every worker has one of its own, so
/// picking takes no lock. Belongs to the thread of its worker.
class BackendPicker {
public:
    /// The pickers of `worker` 0, 1, 2… begin at successive places of the sequence: the first
    /// clients of several workers do not all meet the same backend.
    BackendPicker(const Service& service, std::size_t worker);

    /// Whom the balancer gives to `client`, leaving out those that failed it; nullptr: nobody is
    /// left.
    [[nodiscard]] Backend* pick(const Address& client,
                                std::span<const FailedAttempt> failed) noexcept;

private:
    const Service& service_;
    std::unique_ptr<Balancer> balancer_;
    std::vector<Backend*> remaining_;  // scratch for pick()
};

}  // namespace eplb
