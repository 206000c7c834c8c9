// What there is, and going over to what was drafted; see roster_draft.
#include "proxy/roster.hpp"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace eplb {
namespace {

std::unique_ptr<Balancer> make_custom_balancer(const ServiceConfig& service) {
    std::unique_ptr<Balancer> balancer = service.make_balancer();
    if (balancer == nullptr) {
        throw std::invalid_argument(
            fmt::format("make_balancer of service \"{}\" made none", service.name));
    }
    return balancer;
}

// All of them now, when a failure can still be told.
std::shared_ptr<CustomBalancers> make_custom_balancers(const ServiceConfig& service,
                                                       std::size_t workers) {
    if (!service.make_balancer) return nullptr;
    auto made = std::make_shared<CustomBalancers>();
    for (std::size_t i = 0; i < workers; ++i)
        made->of_workers.push_back({make_custom_balancer(service), make_custom_balancer(service)});
    return made;
}

}  // namespace

void Roster::make_balancers(Draft& draft, std::size_t workers) {
    for (const Draft::WantsBalancers& wants : draft.want_balancers_) {
        wants.spec->custom_balancers =
            make_custom_balancers(draft.config().services[wants.service], workers);
    }
}

void Roster::commit(Draft& draft) {
    assert(is_current(draft));
    for (const auto& [limits, options] : draft.source_limits_) limits->set_options(options);
    for (const auto& [limits, options] : draft.service_limits_) limits->set_options(options);
    for (Draft::Change& change : draft.changes_) {
        change.backend->set_name(std::move(change.name));
        change.backend->set_weight(change.weight);
        change.backend->set_max_connections(change.max_connections);
    }
    // One that was removed a configuration ago is picked by nobody any more. They are the last ones.
    std::vector<Known>& backends = draft.state_->backends;
    const auto first_removed = std::ranges::find_if(
        backends.rbegin(), backends.rend(), [](const Known& known) { return !known.removed; });
    backends.erase(std::remove_if(first_removed.base(), backends.end(),
                                  [](const Known& known) {
                                      return known.removed_before &&
                                             known.member.backend->sessions() == 0;
                                  }),
                   backends.end());
    const std::lock_guard lock{changing_state_};
    draft.base_ = std::exchange(state_, draft.state_);
}

std::vector<BackendStatus> Roster::backends() const {
    const std::shared_ptr<const State> now = state();
    std::vector<BackendStatus> all;
    all.reserve(now->backends.size());
    for (const Known& known : now->backends) {
        const Backend& backend = *known.member.backend;
        if (known.removed && backend.sessions() == 0) continue;
        all.push_back({known.member.service->name, backend.name(), backend.address(),
                       backend.weight(), backend.sessions(), backend.attempts(), backend.failures(),
                       known.removed, backend.wanted(), backend.down(), backend.ejected(),
                       backend.untried()});
    }
    return all;
}

std::vector<ListenerStatus> Roster::listeners() const {
    const std::shared_ptr<const State> now = state();
    std::unordered_map<std::uint32_t, const ServiceConfig*> services;
    for (const auto& spec : now->generation.services)
        services.emplace(spec->id, spec->config.get());
    std::vector<ListenerStatus> all;
    all.reserve(now->configured.size());
    for (std::size_t i = 0; i < now->configured.size(); ++i) {
        const FrontendSpec& frontend = now->generation.frontends[i];
        all.push_back({services.at(frontend.service)->name, now->configured[i],
                       frontend.sessions->load(std::memory_order_relaxed)});
    }
    return all;
}

std::vector<ServiceBackend> Roster::members() const {
    std::vector<ServiceBackend> all;
    all.reserve(state_->backends.size());
    for (const Known& known : state_->backends) {
        if (!known.removed) all.push_back(known.member);
    }
    return all;
}

std::vector<ServiceBackend> Roster::members(std::string_view service, std::string_view name) const {
    std::vector<ServiceBackend> found;
    for (const Known& known : state_->backends) {
        const auto& [backend, config, absent] = known.member;
        if (known.removed || config->name != service) continue;
        if (backend->name() == name || backend->address().to_string() == name)
            found.push_back(known.member);
    }
    return found;
}

}  // namespace eplb
