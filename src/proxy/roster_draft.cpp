// What a configuration makes of what there is.
#include "proxy/roster.hpp"

#include "balance/affinity.hpp"
#include "balance/balance_table.hpp"
#include "proxy/config_validation.hpp"
#include "proxy/listen_options.hpp"
#include "proxy/listener_conflicts.hpp"
#include "proxy/succession.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb {
namespace {

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
    reject_impossible_values(config);
    reject_conflicting_listeners(config);
    reject_loops(config);
    reject_bad_backends(config);
    return Drafter{state(), std::move(config), on_room_}.run();
}

}  // namespace eplb
