#pragma once

#include "eplb/address.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace eplb {

class Service;

/// An address that clients of a service connect to, as one worker knows it. Outlives the sessions
/// that came in by it.
struct Frontend {
    std::uint32_t id;
    Service& service;
    Address address;
    std::size_t sessions = 0;
    /// Of all workers: what FrontendSpec has.
    std::shared_ptr<std::atomic<std::size_t>> sessions_everywhere;
    /// From the configuration, and no further client can be on its way to it: it goes when its last
    /// session does.
    bool removed = false;
};

}  // namespace eplb
