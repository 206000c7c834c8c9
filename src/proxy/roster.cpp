#include "proxy/roster.hpp"

#include "proxy/listener_conflicts.hpp"
#include "proxy/service_graph.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb {
namespace {

void reject_conflicting_listeners(const Config& config) {
    std::vector<Address> seen;
    for (const ServiceConfig& service : config.services) {
        for (const Address& listener : service.listen) {
            for (const Address& other : seen) {
                if (listener == other && overlap(listener, other)) {
                    throw std::invalid_argument(
                        fmt::format("listener {} is given twice", listener.to_string()));
                }
                if (overlap(listener, other)) {
                    throw std::invalid_argument(
                        fmt::format("listeners {} and {} are in each other's way",
                                    other.to_string(), listener.to_string()));
                }
            }
            seen.push_back(listener);
        }
    }
}

std::string complaint(const Config& config, const ServiceGraph::Loop& loop) {
    const auto name_of = [&](std::size_t service) { return config.services[service].name; };
    const ServiceGraph::Step& last = loop.back();
    const std::string what =
        fmt::format("backend {} is our own listener {}",
                    config.services[last.service].backends[last.backend].address.to_string(),
                    config.services[last.next].listen[last.listener].to_string());
    if (loop.size() == 1) return what + ": every connection would loop";
    return fmt::format("{}: every connection would loop ({})", what, to_text(loop, name_of));
}

void reject_loops(const Config& config) {
    ServiceGraph graph;
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        const ServiceConfig& service = config.services[i];
        for (std::size_t n = 0; n < service.listen.size(); ++n)
            graph.add_listener(i, service.listen[n], n);
    }
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        const ServiceConfig& service = config.services[i];
        for (std::size_t n = 0; n < service.backends.size(); ++n)
            graph.add_backend(i, service.backends[n].address, n);
    }
    const auto loops = graph.find_loops(1);
    if (!loops.empty()) throw std::invalid_argument(complaint(config, loops.front()));
}

void reject_bad_backends(const Config& config) {
    for (const ServiceConfig& service : config.services) {
        bool usable = false;
        for (const BackendConfig& backend : service.backends) {
            usable = usable || backend.weight > 0;
            const Address& address = backend.address;
            if (!address.is_wildcard() && address.family() != AF_UNSPEC) continue;
            throw std::invalid_argument(fmt::format("backend {} needs a host, like 127.0.0.1:{}",
                                                    address.to_string(), address.port()));
        }
        if (!usable && !config.may_lack_backends) {
            throw std::invalid_argument(
                fmt::format("service \"{}\" has no backend with a weight above 0", service.name));
        }
    }
}

ListenOptions listen_options(const ServiceConfig& service) {
    ListenOptions options;
    options.backlog = static_cast<int>(service.backlog);
    options.socket = service.socket;
    options.fast_open = service.fast_open;
    options.defer_accept = service.defer_accept;
    options.mode = service.unix_mode;
    options.owner = service.unix_owner.user;
    options.group = service.unix_owner.group;
    return options;
}

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

std::shared_ptr<const ServiceConfig> without_balancers(const ServiceConfig& service) {
    auto config = std::make_shared<ServiceConfig>(service);
    config->make_balancer = nullptr;
    return config;
}

bool has_service(const Generation& generation, std::uint32_t id) {
    return std::ranges::any_of(generation.services,
                               [id](const auto& spec) { return spec->id == id; });
}

}  // namespace

Roster::Draft Roster::draft(const Config& config, std::size_t workers) const {
    reject_conflicting_listeners(config);
    reject_loops(config);
    reject_bad_backends(config);
    Draft draft;
    draft.config = config;
    draft.next_id = next_id_;
    const EphemeralPorts ports = EphemeralPorts::of_this_network();
    for (const ServiceConfig& service : config.services) {
        auto spec = std::make_shared<ServiceSpec>();
        const std::uint32_t known = service_id(service.name);
        // Of two services with one name, the first one is the old one.
        spec->id = known != 0 && !has_service(draft.generation, known) ? known : draft.next_id++;
        spec->config = without_balancers(service);
        spec->custom_balancers = make_custom_balancers(service, workers);
        spec->access = {CidrSet{service.allow}, CidrSet{service.deny},
                        CidrSet{service.trusted_proxies}};
        spec->ephemeral_ports = ports;
        draft_limits(draft, service, *spec);
        draft_backends(draft, service, *spec);
        draft_frontends(draft, service, spec->id);
        draft.generation.services.push_back(std::move(spec));
    }
    find_removed(draft);
    return draft;
}

// Those who count by the old numbers go on counting by the new ones.
void Roster::draft_limits(Draft& draft, const ServiceConfig& service, ServiceSpec& spec) const {
    SourceLimits::Options options;
    options.max_connections_per_source = service.max_connections_per_source;
    options.connection_rate_per_source = service.connection_rate_per_source;
    for (const auto& old : generation_.services) {
        if (old->id != spec.id) continue;
        spec.source_limits = old->source_limits;
        spec.limits = old->limits;
        spec.waiting_room = old->waiting_room;
    }
    if (!spec.limits) spec.limits = std::make_shared<ServiceLimits>(on_room_);
    if (!spec.waiting_room) spec.waiting_room = std::make_shared<WaitingRoom>();
    draft.service_limits.emplace_back(
        spec.limits, ServiceLimits::Options{service.max_connections, service.connection_rate});
    const bool limited =
        options.max_connections_per_source != 0 || !options.connection_rate_per_source.unlimited();
    if (!spec.source_limits && !limited) return;
    if (!spec.source_limits) spec.source_limits = std::make_shared<SourceLimits>(options);
    draft.source_limits.emplace_back(spec.source_limits, options);
}

void Roster::draft_backends(Draft& draft, const ServiceConfig& service, ServiceSpec& spec) const {
    const auto is_taken = [&](const Backend* backend) {
        return std::ranges::any_of(
            draft.backends, [&](const auto& entry) { return entry.backend.get() == backend; });
    };
    // Of backends that have gone but for their sessions, too.
    const auto is_index_used = [&](std::size_t index) {
        return std::ranges::any_of(backends_,
                                   [&](const Known& known) {
                                       return known.service == spec.id &&
                                              known.backend->index() == index;
                                   }) ||
               std::ranges::any_of(draft.backends, [&](const auto& entry) {
                   return entry.service == spec.id && entry.backend->index() == index;
               });
    };
    std::size_t free_index = 0;
    for (const BackendConfig& config : service.backends) {
        const auto known = std::ranges::find_if(backends_, [&](const Known& candidate) {
            return candidate.service == spec.id && candidate.backend->name() == config.name &&
                   candidate.backend->address() == config.address &&
                   !is_taken(candidate.backend.get());
        });
        std::shared_ptr<Backend> backend;
        if (known != backends_.end()) {
            backend = known->backend;
            if (known->removed) draft.returned_backends.push_back(backend);
        } else {
            while (is_index_used(free_index)) ++free_index;
            backend =
                std::make_shared<Backend>(free_index, config.name, config.address, config.weight);
        }
        if (config.weight > 0) (config.backup ? spec.backups : spec.primaries).push_back(backend);
        spec.index_end = std::max(spec.index_end, backend->index() + 1);
        draft.backends.push_back(
            {spec.id, std::move(backend), config.weight, config.max_connections});
    }
}

void Roster::draft_frontends(Draft& draft, const ServiceConfig& service, std::uint32_t id) const {
    const auto is_taken = [&](std::uint32_t socket) {
        return std::ranges::find(draft.generation.frontends, socket, &FrontendSpec::socket) !=
               draft.generation.frontends.end();
    };
    for (const Address& address : service.listen) {
        FrontendSpec spec;
        spec.service = id;
        spec.options = listen_options(service);
        for (std::size_t i = 0; i < configured_.size() && spec.id == 0; ++i) {
            const FrontendSpec& old = generation_.frontends[i];
            if (configured_[i] != address || is_taken(old.socket)) continue;
            spec.socket = old.socket;
            spec.address = old.address;
            spec.id = old.service == id ? old.id : draft.next_id++;
        }
        if (spec.id == 0) {
            spec.id = draft.next_id++;
            spec.socket = draft.next_id++;
            spec.address = address;
            draft.new_sockets.push_back({address, draft.generation.frontends.size()});
        }
        draft.generation.frontends.push_back(std::move(spec));
    }
}

void Roster::find_removed(Draft& draft) const {
    for (const FrontendSpec& old : generation_.frontends) {
        if (std::ranges::find(draft.generation.frontends, old.id, &FrontendSpec::id) !=
            draft.generation.frontends.end())
            continue;
        const ServiceConfig& service = config_of(old.service);
        draft.removed_frontends.push_back({old, service.on_remove, service.drain_timeout});
    }
    for (const Known& known : backends_) {
        const bool stays = std::ranges::any_of(
            draft.backends, [&](const auto& entry) { return entry.backend == known.backend; });
        if (stays || known.removed) continue;
        const ServiceConfig& service = config_of(known.service);
        draft.removed_backends.push_back({known.backend, service.on_remove, service.drain_timeout});
    }
}

void Roster::commit(const Draft& draft) {
    for (const auto& [limits, options] : draft.source_limits) limits->set_options(options);
    for (const auto& [limits, options] : draft.service_limits) limits->set_options(options);
    std::vector<Known> backends;
    for (const auto& entry : draft.backends) {
        entry.backend->set_weight(entry.weight);
        entry.backend->set_max_connections(entry.max_connections);
        const auto spec = std::ranges::find(draft.generation.services, entry.service,
                                            [](const auto& service) { return service->id; });
        backends.push_back({entry.service, (*spec)->config->name, entry.backend, false});
    }
    const std::size_t stay = backends.size();
    for (Known& known : backends_) {
        const bool stays =
            std::any_of(backends.begin(), backends.begin() + static_cast<std::ptrdiff_t>(stay),
                        [&](const Known& other) { return other.backend == known.backend; });
        if (stays) continue;
        // One that was removed a configuration ago is picked by nobody any more.
        if (known.removed && known.backend->sessions() == 0) continue;
        known.removed = true;
        backends.push_back(std::move(known));
    }
    backends_ = std::move(backends);
    configured_.clear();
    for (const ServiceConfig& service : draft.config.services)
        configured_.insert(configured_.end(), service.listen.begin(), service.listen.end());
    config_ = draft.config;
    generation_ = draft.generation;
    next_id_ = draft.next_id;
}

std::vector<BackendStatus> Roster::backends() const {
    std::vector<BackendStatus> all;
    for (const Known& known : backends_) {
        const Backend& backend = *known.backend;
        if (known.removed && backend.sessions() == 0) continue;
        all.push_back({known.service_name, backend.name(), backend.address(), backend.weight(),
                       backend.sessions(), backend.attempts(), backend.failures(), known.removed,
                       backend.wanted(), backend.down(), backend.ejected()});
    }
    return all;
}

std::vector<ServiceBackend> Roster::members() const {
    std::vector<ServiceBackend> all;
    for (std::size_t i = 0; i < config_.services.size(); ++i) {
        const auto service = std::make_shared<const ServiceConfig>(config_.services[i]);
        for (const Known& known : backends_) {
            if (!known.removed && known.service == generation_.services[i]->id)
                all.push_back({known.backend, service});
        }
    }
    return all;
}

std::vector<ServiceBackend> Roster::members(std::string_view service, std::string_view name) const {
    std::vector<ServiceBackend> found = members();
    std::erase_if(found, [&](const ServiceBackend& member) {
        return member.service->name != service ||
               (member.backend->name() != name && member.backend->address().to_string() != name);
    });
    return found;
}

std::uint32_t Roster::service_id(const std::string& name) const noexcept {
    for (const auto& spec : generation_.services) {
        if (spec->config->name == name) return spec->id;
    }
    return 0;
}

// The services of configuration and generation are in the same order.
const ServiceConfig& Roster::config_of(std::uint32_t service) const noexcept {
    std::size_t i = 0;
    while (generation_.services[i]->id != service) ++i;
    return config_.services[i];
}

}  // namespace eplb
