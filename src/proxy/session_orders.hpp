#pragma once

#include "eplb/backend.hpp"
#include "eplb/relay.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

namespace eplb {

/// What is to become of sessions: who is to be reset, and why. However much there is in it, what it
/// says of one session is told in O(1).
class SessionOrders {
public:
    /// Of all there are. Does not allocate.
    void reset_all(EndReason reason) noexcept { all_ = reason; }
    void reset_those_of(std::shared_ptr<const Backend> backend, EndReason reason) {
        const Backend* const key = backend.get();
        backends_.insert_or_assign(key, Doom{reason, std::move(backend)});
    }
    void reset_those_of_frontend(std::uint32_t id, EndReason reason) {
        frontends_.insert_or_assign(id, reason);
    }
    void reset_those_of_service(std::uint32_t id, EndReason reason) {
        services_.insert_or_assign(id, reason);
    }
    /// What `other` says as well. Throws std::bad_alloc, with a part of it added.
    void add(const SessionOrders& other) {
        if (other.all_) all_ = other.all_;
        backends_.insert(other.backends_.begin(), other.backends_.end());
        frontends_.insert(other.frontends_.begin(), other.frontends_.end());
        services_.insert(other.services_.begin(), other.services_.end());
    }
    /// Its sessions are to stay.
    void spare(const Backend& backend) noexcept { backends_.erase(&backend); }
    [[nodiscard]] bool empty() const noexcept {
        return !all_ && backends_.empty() && frontends_.empty() && services_.empty();
    }

    /// Why a session is to be reset that came in by this frontend of this service, and is on this
    /// backend (nullptr: on none); or nothing.
    [[nodiscard]] std::optional<EndReason> doom_of(std::uint32_t service, std::uint32_t frontend,
                                                   const Backend* backend) const noexcept {
        if (all_) return all_;
        if (const auto found = backends_.find(backend); found != backends_.end())
            return found->second.reason;
        if (const auto found = frontends_.find(frontend); found != frontends_.end())
            return found->second;
        if (const auto found = services_.find(service); found != services_.end())
            return found->second;
        return std::nullopt;
    }

private:
    struct Doom {
        EndReason reason;
        std::shared_ptr<const Backend> kept;  // so that no other has its address
    };

    std::optional<EndReason> all_;
    std::unordered_map<const Backend*, Doom> backends_;
    std::unordered_map<std::uint32_t, EndReason> frontends_;
    std::unordered_map<std::uint32_t, EndReason> services_;
};

}  // namespace eplb
