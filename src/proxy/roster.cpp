#include "proxy/roster.hpp"

#include "balance/affinity.hpp"
#include "balance/balance_table.hpp"
#include "proxy/config_check.hpp"
#include "proxy/listen_options.hpp"
#include "proxy/listener_conflicts.hpp"
#include "proxy/service_graph.hpp"
#include "proxy/succession.hpp"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb {
namespace {

// Those that a new one could be in the way of, by port.
class Listeners {
public:
    // Another one that cannot be listened on at the same time, if there is one.
    [[nodiscard]] const Address* in_the_way_of(const Address& address) const {
        const auto same = by_address_.find(address.to_string());
        if (same != by_address_.end() && overlap(*same->second, address)) return same->second;
        if (address.is_unix()) return nullptr;
        const auto found = by_port_.find(address.port());
        if (found == by_port_.end()) return nullptr;
        const Port& port = found->second;
        for (const Address* other : {port.all_v4, port.all_v6, port.first_v4, port.first_v6}) {
            if (other != nullptr && overlap(*other, address)) return other;
        }
        return nullptr;
    }

    // `address` stays where it is.
    void add(const Address& address) {
        by_address_.emplace(address.to_string(), &address);
        if (address.is_unix()) return;
        Port& port = by_port_[address.port()];
        const bool v6 = address.family() == AF_INET6;
        const Address*& first = v6 ? port.first_v6 : port.first_v4;
        if (first == nullptr) first = &address;
        if (address.is_wildcard()) (v6 ? port.all_v6 : port.all_v4) = &address;
    }

private:
    // If a listener is in the way of others than its equal, one of these is among them.
    struct Port {
        const Address* all_v4 = nullptr;
        const Address* all_v6 = nullptr;
        const Address* first_v4 = nullptr;
        const Address* first_v6 = nullptr;
    };
    std::unordered_map<std::string, const Address*> by_address_;
    std::unordered_map<std::uint16_t, Port> by_port_;
};

void reject_conflicting_listeners(const Config& config) {
    Listeners seen;
    for (const ServiceConfig& service : config.services) {
        for (const Address& listener : service.listen) {
            const Address* const other = seen.in_the_way_of(listener);
            seen.add(listener);
            if (other == nullptr) continue;
            if (listener == *other) {
                throw std::invalid_argument(
                    fmt::format("listener {} is given twice", listener.to_string()));
            }
            throw std::invalid_argument(fmt::format("listeners {} and {} are in each other's way",
                                                    other->to_string(), listener.to_string()));
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
        for (std::size_t n = 0; n < service.backends.size(); ++n) {
            if (!service.backends[n].absent) graph.add_backend(i, service.backends[n].address, n);
        }
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

BackendIdentity identity_of(const Backend& backend) noexcept {
    return {&backend.name(), &backend.address()};
}

}  // namespace

// Makes one draft.
class Roster::Drafter {
public:
    Drafter(std::shared_ptr<const State> base, Config config,
            const std::function<void(std::size_t)>& on_room)
        : base_{*base}, on_room_{on_room}, ports_{EphemeralPorts::of_this_network()} {
        draft_.base_ = std::move(base);
        draft_.state_ = std::make_shared<State>();
        draft_.state_->config = std::move(config);
        draft_.state_->next_id = base_.next_id;
        for (std::size_t i = 0; i < base_.generation.services.size(); ++i)
            old_by_id_.emplace(base_.generation.services[i]->id, i);
        for (const Known& known : base_.backends) backends_of_[known.service].push_back(&known);
    }

    Draft run() {
        const std::vector<std::size_t> predecessors =
            match_services(base_.config.services, config().services);
        for (std::size_t i = 0; i < config().services.size(); ++i) {
            const ServiceSpec* const before =
                predecessors[i] == no_predecessor
                    ? nullptr
                    : base_.generation.services[predecessors[i]].get();
            draft_service(i, before);
        }
        draft_frontends();
        generation().index();
        find_removed_frontends();
        find_removed_backends();
        return std::move(draft_);
    }

private:
    [[nodiscard]] const Config& config() const noexcept { return draft_.state_->config; }
    [[nodiscard]] Generation& generation() const noexcept { return draft_.state_->generation; }
    [[nodiscard]] std::uint32_t next_id() noexcept { return draft_.state_->next_id++; }

    void draft_service(std::size_t place, const ServiceSpec* before) {
        const ServiceConfig& service = config().services[place];
        if (before != nullptr && is_as_before(service, *before)) {
            const auto& all = base_.generation.services;
            generation().services.push_back(all[old_by_id_.at(before->id)]);
            for (const Known* known : backends_of_[before->id]) {
                if (known->removed) continue;
                draft_.state_->backends.push_back(*known);
                stays_.insert(known->member.backend.get());
            }
            return;
        }
        auto spec = std::make_shared<ServiceSpec>();
        spec->id = before != nullptr ? before->id : next_id();
        spec->config = without_balancers(service);
        if (service.make_balancer) draft_.want_balancers_.push_back({spec, place});
        spec->access = {CidrSet{service.allow}, CidrSet{service.deny},
                        CidrSet{service.trusted_proxies}};
        spec->ephemeral_ports = ports_;
        draft_limits(*spec, before);
        draft_backends(*spec, before, static_cast<bool>(service.make_balancer));
        generation().services.push_back(std::move(spec));
    }

    // Then so is everything about its backends. Balancers of a program's own cannot be compared.
    [[nodiscard]] bool is_as_before(const ServiceConfig& service, const ServiceSpec& before) const {
        return !before.custom_balancers && ports_ == before.ephemeral_ports &&
               *before.config == service;
    }

    // Those who count by the old numbers go on counting by the new ones.
    void draft_limits(ServiceSpec& spec, const ServiceSpec* before) {
        const ServiceConfig& service = *spec.config;
        SourceLimits::Options options;
        options.max_connections_per_source = service.max_connections_per_source;
        options.connection_rate_per_source = service.connection_rate_per_source;
        if (before != nullptr) {
            spec.source_limits = before->source_limits;
            spec.limits = before->limits;
            spec.waiting_room = before->waiting_room;
        }
        if (!spec.limits) spec.limits = std::make_shared<ServiceLimits>(on_room_);
        if (!spec.waiting_room) spec.waiting_room = std::make_shared<WaitingRoom>();
        draft_.service_limits_.emplace_back(
            spec.limits, ServiceLimits::Options{service.max_connections, service.connection_rate});
        const bool limited = options.max_connections_per_source != 0 ||
                             !options.connection_rate_per_source.unlimited();
        if (!spec.source_limits && !limited) return;
        if (!spec.source_limits) spec.source_limits = std::make_shared<SourceLimits>(options);
        draft_.source_limits_.emplace_back(spec.source_limits, options);
    }

    // --- backends

    void draft_backends(ServiceSpec& spec, const ServiceSpec* before, bool has_own_policy) {
        const std::vector<BackendConfig>& wanted = spec.config->backends;
        static const std::vector<const Known*> none;
        const std::vector<const Known*>& known =
            before == nullptr ? none : backends_of_[before->id];
        const std::vector<const Known*> found = find_backends(known, wanted);
        // Of backends that have gone but for their sessions, too.
        std::vector<bool> used;
        const auto use = [&used](std::size_t index) {
            if (used.size() <= index) used.resize(index + 1, false);
            used[index] = true;
        };
        for (const Known* const one : known) use(one->member.backend->index());
        std::size_t free_index = 0;
        std::vector<Weighed> primaries;
        std::vector<Weighed> backups;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            const BackendConfig& config = wanted[i];
            if (config.absent && (found[i] == nullptr || *config.absent != OnRemove::keep)) {
                if (found[i] != nullptr)
                    absent_.emplace(found[i]->member.backend.get(), *config.absent);
                continue;
            }
            std::shared_ptr<Backend> backend;
            if (found[i] != nullptr) {
                backend = found[i]->member.backend;
                if (found[i]->removed) draft_.returned_backends.push_back(backend);
            } else {
                while (free_index < used.size() && used[free_index]) ++free_index;
                use(free_index);
                backend = std::make_shared<Backend>(free_index, config.name, config.address,
                                                    config.weight);
            }
            stays_.insert(backend.get());
            draft_.state_->backends.push_back(
                {spec.id, {backend, spec.config, config.absent.has_value()}});
            note_change(backend, config);
            if (config.weight > 0)
                (config.backup ? backups : primaries).push_back({backend, &config});
            spec.index_end = std::max(spec.index_end, backend->index() + 1);
        }
        for (const Weighed& member : primaries) spec.primaries.push_back(member.backend);
        for (const Weighed& member : backups) spec.backups.push_back(member.backend);
        if (has_own_policy || !goes_by_table(spec.config->balance)) return;
        spec.primaries_table = make_table(
            spec, primaries, before == nullptr ? nullptr : before->primaries_table.get());
        spec.backups_table =
            make_table(spec, backups, before == nullptr ? nullptr : before->backups_table.get());
    }

    // Those that are there come before those that only have sessions left.
    static std::vector<const Known*> find_backends(const std::vector<const Known*>& known,
                                                   const std::vector<BackendConfig>& wanted) {
        std::vector<const Known*> found(wanted.size(), nullptr);
        std::vector<BackendConfig> left;
        std::vector<std::size_t> places;
        const auto match = [&](bool removed, const std::vector<BackendConfig>& among,
                               const std::vector<std::size_t>* places_of_them) {
            std::vector<const Known*> candidates;
            std::vector<BackendIdentity> identities;
            for (const Known* const one : known) {
                if (one->removed != removed) continue;
                candidates.push_back(one);
                identities.push_back(identity_of(*one->member.backend));
            }
            if (candidates.empty()) return;
            const std::vector<std::size_t> result = match_backends(identities, among);
            for (std::size_t i = 0; i < result.size(); ++i) {
                if (result[i] == no_predecessor) continue;
                found[places_of_them == nullptr ? i : (*places_of_them)[i]] = candidates[result[i]];
            }
        };
        match(false, wanted, nullptr);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            if (found[i] != nullptr) continue;
            left.push_back(wanted[i]);
            places.push_back(i);
        }
        match(true, left, &places);
        return found;
    }

    void note_change(const std::shared_ptr<Backend>& backend, const BackendConfig& config) {
        // A worker that does not know yet that it is absent goes by its weight.
        const std::uint32_t weight = config.absent ? backend->weight() : config.weight;
        if (backend->weight() == weight && backend->name() == config.name &&
            backend->max_connections() == config.max_connections)
            return;
        draft_.changes_.push_back({backend, config.name, weight, config.max_connections});
    }

    struct Weighed {
        std::shared_ptr<Backend> backend;
        const BackendConfig* config;
    };

    // By the names and weights that they will have.
    static std::shared_ptr<const BalanceTable> make_table(const ServiceSpec& spec,
                                                          const std::vector<Weighed>& members,
                                                          const BalanceTable* before) {
        std::vector<NamedBackend> named;
        named.reserve(members.size());
        for (const auto& [backend, config] : members)
            named.push_back({config->name, config->address, config->weight, backend.get()});
        return make_balance_table(spec.config->balance, identities_of(named), before);
    }

    // --- frontends

    // A service's own sockets stay its own, before others are looked at: several may be configured
    // with the same address, if it is one with any port.
    void draft_frontends() {
        std::unordered_map<std::string, std::vector<std::size_t>> old_by_address;
        for (std::size_t i = 0; i < base_.configured.size(); ++i)
            old_by_address[base_.configured[i].to_string()].push_back(i);
        std::vector<bool> taken(base_.configured.size(), false);
        const auto find = [&](const Address& address, const std::uint32_t* service) {
            const auto found = old_by_address.find(address.to_string());
            if (found == old_by_address.end()) return no_predecessor;
            for (const std::size_t old : found->second) {
                const FrontendSpec& spec = base_.generation.frontends[old];
                if (taken[old] || (service != nullptr && spec.service != *service)) continue;
                taken[old] = true;
                return old;
            }
            return no_predecessor;
        };
        std::vector<std::size_t> olds;
        for_each_listener([&](std::size_t service, const Address& address) {
            olds.push_back(find(address, &generation().services[service]->id));
        });
        std::size_t place = 0;
        for_each_listener([&](std::size_t service, const Address& address) {
            std::size_t& old = olds[place++];
            if (old == no_predecessor) old = find(address, nullptr);
            add_frontend(service, address, old);
        });
    }

    template <class Visit>
    void for_each_listener(Visit visit) {
        for (std::size_t i = 0; i < config().services.size(); ++i) {
            for (const Address& address : config().services[i].listen) visit(i, address);
        }
    }

    void add_frontend(std::size_t service, const Address& address, std::size_t old_place) {
        const ServiceSpec& owner = *generation().services[service];
        FrontendSpec spec;
        spec.service = owner.id;
        spec.options = listen_options(config().services[service]);
        if (old_place != no_predecessor) {
            const FrontendSpec& old = base_.generation.frontends[old_place];
            spec.socket = old.socket;
            spec.address = old.address;
            spec.id = old.service == owner.id ? old.id : next_id();
            if (spec.id == old.id) spec.sessions = old.sessions;
            const auto before = old_by_id_.find(owner.id);
            spec.as_before =
                spec.id == old.id && before != old_by_id_.end() &&
                base_.generation.services[before->second] == generation().services[service];
        } else {
            spec.id = next_id();
            spec.socket = next_id();
            spec.address = address;
            draft_.new_sockets.push_back({address, generation().frontends.size()});
        }
        generation().frontends.push_back(std::move(spec));
        draft_.state_->configured.push_back(address);
    }

    // --- what goes

    // As it was configured last.
    [[nodiscard]] const ServiceConfig& old_config_of(std::uint32_t service) const {
        return *base_.generation.services[old_by_id_.at(service)]->config;
    }

    void find_removed_frontends() {
        for (const FrontendSpec& old : base_.generation.frontends) {
            if (generation().has_frontend(old.id)) continue;
            const ServiceConfig& service = old_config_of(old.service);
            draft_.removed_frontends.push_back({old, service.on_remove, service.drain_timeout});
        }
    }

    void find_removed_backends() {
        std::unordered_map<std::uint32_t, const ServiceSpec*> by_id;
        for (const auto& spec : generation().services) by_id.emplace(spec->id, spec.get());
        for (const Known& known : base_.backends) {
            if (stays_.contains(known.member.backend.get())) continue;
            Known gone = known;
            gone.removed_before = known.removed;
            gone.removed = true;
            const auto service = by_id.find(known.service);
            if (service != by_id.end()) gone.member.service = service->second->config;
            draft_.state_->backends.push_back(std::move(gone));
            if (known.removed) continue;
            const ServiceConfig& config = old_config_of(known.service);
            const auto absent = absent_.find(known.member.backend.get());
            draft_.removed_backends.push_back(
                {known.member.backend, absent == absent_.end() ? config.on_remove : absent->second,
                 config.drain_timeout});
        }
    }

    const State& base_;
    const std::function<void(std::size_t)>& on_room_;
    const EphemeralPorts ports_;
    Draft draft_;
    std::unordered_map<std::uint32_t, std::size_t> old_by_id_;  // places of services
    std::unordered_map<std::uint32_t, std::vector<const Known*>> backends_of_;
    std::unordered_set<const Backend*> stays_;
    std::unordered_map<const Backend*, OnRemove> absent_;  // to be removed by this
};

Roster::Draft Roster::draft(Config config) const {
    reject_conflicting_listeners(config);
    reject_loops(config);
    reject_impossible_values(config);
    reject_bad_backends(config);
    return Drafter{state(), std::move(config), on_room_}.run();
}

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
