#include "proxy/retirements.hpp"

#include "proxy/worker_group.hpp"

#include <map>
#include <new>

namespace eplb {

void Retirements::retire_removed(const Roster::Draft& draft) {
    for (const auto& backend : draft.returned_backends) pardon(*backend);
    // Together, what ends at one time: each worker goes round its sessions once for it.
    std::map<Duration, SessionOrders> orders;  // zero: now
    const auto orders_for = [&](OnRemove policy, Duration timeout) -> SessionOrders* {
        if (policy == OnRemove::close) return &orders[Duration{0}];
        return policy == OnRemove::drain && timeout > Duration{0} ? &orders[timeout] : nullptr;
    };
    for (const auto& [backend, policy, timeout] : draft.removed_backends) {
        if (backend->sessions() == 0) continue;
        if (SessionOrders* const own = orders_for(policy, timeout))
            own->reset_those_of(backend, EndReason::removed);
    }
    for (const auto& [frontend, policy, timeout] : draft.removed_frontends) {
        // A socket that another service has now is no reason to end anybody's session.
        if (draft.generation().frontend_of(frontend.socket) != nullptr) continue;
        if (SessionOrders* const own = orders_for(policy, timeout))
            own->reset_those_of_frontend(frontend.id, EndReason::removed);
    }
    for (auto& [timeout, own] : orders) {
        if (timeout == Duration{0}) {
            workers_.carry_out(std::move(own));
        } else {
            retire(timeout, std::move(own));
        }
    }
}

void Retirements::retire_down(const ServiceBackend& member) {
    const OnDown policy = member.service->on_down;
    const Duration timeout = member.service->drain_timeout;
    if (policy == OnDown::keep || (policy != OnDown::close && timeout == Duration{0})) return;
    SessionOrders orders;
    orders.reset_those_of(member.backend, EndReason::backend_down);
    if (policy == OnDown::close) {
        workers_.carry_out(std::move(orders));
    } else {
        retire(timeout, std::move(orders));
    }
}

void Retirements::retire(Duration time, SessionOrders orders) {
    Retiring& retiring = retirings_.emplace_back(std::move(orders));
    try {
        retiring.timer =
            std::make_unique<Retirement>(reactor_, time, [this, &retiring](Retirement& over) {
                workers_.carry_out(std::move(retiring.orders));
                std::erase_if(retirings_,
                              [&](const Retiring& entry) { return entry.timer.get() == &over; });
            });
    } catch (const std::bad_alloc&) {
        retirings_.pop_back();
        throw;
    }
}

void Retirements::pardon(const Backend& backend) noexcept {
    for (Retiring& retiring : retirings_) retiring.orders.spare(backend);
    std::erase_if(retirings_, [](const Retiring& entry) { return entry.orders.empty(); });
}

}  // namespace eplb
