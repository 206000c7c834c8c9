#include "proxy/service_spec.hpp"

#include <algorithm>

namespace eplb {

void Generation::index() {
    service_ids_.clear();
    frontend_ids_.clear();
    sockets_.clear();
    for (const auto& spec : services) service_ids_.push_back(spec->id);
    for (std::size_t i = 0; i < frontends.size(); ++i) {
        frontend_ids_.push_back(frontends[i].id);
        sockets_.push_back({frontends[i].socket, i});
    }
    std::ranges::sort(service_ids_);
    std::ranges::sort(frontend_ids_);
    std::ranges::sort(sockets_, {}, &Socket::id);
}

bool Generation::has_service(std::uint32_t id) const noexcept {
    return std::ranges::binary_search(service_ids_, id);
}

bool Generation::has_frontend(std::uint32_t id) const noexcept {
    return std::ranges::binary_search(frontend_ids_, id);
}

const FrontendSpec* Generation::frontend_of(std::uint32_t socket) const noexcept {
    const auto found = std::ranges::lower_bound(sockets_, socket, {}, &Socket::id);
    return found == sockets_.end() || found->id != socket ? nullptr : &frontends[found->frontend];
}

}  // namespace eplb
