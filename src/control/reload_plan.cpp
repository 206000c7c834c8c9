#include "control/reload_plan.hpp"

#include "base/duration.hpp"
#include "config/config_keys.hpp"
#include "proxy/succession.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <fmt/format.h>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

// As keep_until_restart() has them.
constexpr std::array<std::string_view, 3> restart_keys{"workers", "busy_poll", "control"};

std::string count_of(std::size_t sessions) {
    return fmt::format("{} session{}", sessions, sessions == 1 ? "" : "s");
}

// What the backends of a service are called: by their names, with the address where others of the
// service, now or before, have the same name.
class Labels {
public:
    void add(const ServiceConfig& service) {
        for (const BackendConfig& backend : service.backends) {
            const auto [known, is_new] = addresses_.emplace(backend.name, &backend.address);
            if (!is_new && *known->second != backend.address) ambiguous_.insert(backend.name);
        }
    }

    [[nodiscard]] std::string of(const BackendConfig& backend) const {
        if (backend.name.empty()) return backend.address.to_string();
        if (!ambiguous_.contains(backend.name)) return backend.name;
        return fmt::format("{}/{}", backend.name, backend.address.to_string());
    }

private:
    std::unordered_map<std::string_view, const Address*> addresses_;
    std::unordered_set<std::string_view> ambiguous_;
};

// How many sessions the backends of the running configuration have. Of those that are the same, each
// has its own, in order.
class Sessions {
public:
    explicit Sessions(std::span<const BackendStatus> backends) {
        for (const BackendStatus& status : backends) {
            if (!status.removed)
                all_[key(status.service, status.name, status.address)].push_back(status.active);
        }
    }

    // To be asked once for each.
    [[nodiscard]] std::size_t take(const ServiceConfig& service, const BackendConfig& backend) {
        const auto found = all_.find(key(service.name, backend.name, backend.address));
        if (found == all_.end() || found->second.empty()) return 0;
        const std::size_t sessions = found->second.front();
        found->second.pop_front();
        return sessions;
    }

private:
    static std::string key(const std::string& service, const std::string& name,
                           const Address& address) {
        return fmt::format("{}\n{}\n{}", service, name, address.to_string());
    }

    std::unordered_map<std::string, std::deque<std::size_t>> all_;
};

class Planner {
public:
    Planner(const ResolvedSettings& running, const ResolvedSettings& wanted,
            std::span<const BackendStatus> backends, std::span<const ListenerStatus> listeners)
        : running_{running}, wanted_{wanted}, sessions_{backends} {
        for (const ListenerStatus& status : listeners)
            sessions_by_listener_[listener_key(status.service, status.address)] += status.active;
        note_listeners(running.config, old_listeners_);
        note_listeners(wanted.config, new_listeners_);
    }

    ReloadPlan run() {
        compare_keys("", running_.settings.process.values, wanted_.settings.process.values,
                     process_keys());
        compare_keys("log ", running_.settings.log.values, wanted_.settings.log.values, log_keys());
        compare_keys("dns ", running_.settings.dns.values, wanted_.settings.dns.values, dns_keys());
        const auto& old = running_.config.services;
        const auto& now = wanted_.config.services;
        const std::vector<std::size_t> predecessors = match_services(old, now);
        std::vector<bool> stays(old.size(), false);
        for (const std::size_t predecessor : predecessors) {
            if (predecessor != no_predecessor) stays[predecessor] = true;
        }
        for (std::size_t i = 0; i < old.size(); ++i) {
            if (stays[i]) continue;
            remove_service(old[i]);
            settle_losses(true);
        }
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (predecessors[i] == no_predecessor) {
                change("+ service {}", now[i].name);
            } else {
                compare_service(predecessors[i], i);
            }
            compare_listeners(predecessors[i], now[i]);
            compare_backends(
                predecessors[i] == no_predecessor ? ServiceConfig{} : old[predecessors[i]], now[i]);
            settle_losses(false);
            find_desertion(now[i]);
        }
        tell_losses();
        return std::move(plan_);
    }

private:
    using Listeners = std::unordered_map<std::string, std::vector<std::size_t>>;

    template <class... Arguments>
    void change(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        plan_.lines.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
        plan_.changes = true;
    }

    // Which services, by their places, have a listener.
    static void note_listeners(const Config& config, Listeners& listeners) {
        for (std::size_t i = 0; i < config.services.size(); ++i) {
            for (const Address& listener : config.services[i].listen)
                listeners[listener.to_string()].push_back(i);
        }
    }

    // Services of settings and configuration are in the same order.
    void compare_service(std::size_t before, std::size_t place) {
        const Service& old = running_.settings.services[before];
        const Service& now = wanted_.settings.services[place];
        const std::string& old_name = running_.config.services[before].name;
        const std::string& name = wanted_.config.services[place].name;
        if (old_name != name) change("~ service {} renamed {}", old_name, name);
        if (!(old.check.values == now.check.values)) {
            compare_keys(fmt::format("service {}: check ", name), old.check.values,
                         now.check.values, check_keys());
        }
        if (!(old.values == now.values))
            compare_keys(fmt::format("service {}: ", name), old.values, now.values, service_keys());
    }

    template <class Values>
    void compare_keys(const std::string& prefix, const Values& old, const Values& now,
                      const KeyTable<Values>& keys) {
        for (const Key<Values>& key : keys) {
            const std::string before = key.write(old);
            const std::string after = key.write(now);
            if (before == after) continue;
            if (key.secret) {
                change("~ {}{} is another one", prefix, key.name);
                continue;
            }
            const bool restart = std::ranges::find(restart_keys, key.name) != restart_keys.end();
            if (restart) plan_.needs_restart.push_back(key.name);
            change("~ {}{} {} -> {}{}", prefix, key.name, before, after,
                   restart ? " (at the next start)" : "");
        }
    }

    // Which service it is about, where there are several.
    std::string of(const ServiceConfig& service) const {
        const bool one =
            running_.config.services.size() == 1 && wanted_.config.services.size() == 1;
        return one ? std::string{} : fmt::format(" of {}", service.name);
    }

    void remove_service(const ServiceConfig& service) {
        change("- service {}", service.name);
        for (const Address& listener : service.listen) {
            if (!new_listeners_.contains(listener.to_string())) remove_listener(service, listener);
        }
        Labels labels;
        labels.add(service);
        for (const BackendConfig& backend : service.backends) {
            if (!is_gone(backend)) remove_backend(service, backend, labels);
        }
    }

    static std::string listener_key(const std::string& service, const Address& listener) {
        return fmt::format("{}\n{}", service, listener.to_string());
    }

    void remove_listener(const ServiceConfig& service, const Address& listener) {
        const auto found = sessions_by_listener_.find(listener_key(service.name, listener));
        const std::size_t sessions = found == sessions_by_listener_.end() ? 0 : found->second;
        const std::string fate =
            fmt::format(" ({}: {})", count_of(sessions), policy_of(service, service.on_remove));
        change("- listener {}{}{}", listener.to_string(), of(service), sessions == 0 ? "" : fate);
        lose(listener_losses_, service, service.on_remove, sessions);
    }

    void compare_listeners(std::size_t before, const ServiceConfig& service) {
        if (before != no_predecessor) {
            for (const Address& listener : running_.config.services[before].listen) {
                if (!new_listeners_.contains(listener.to_string()))
                    remove_listener(service, listener);
            }
        }
        for (const Address& listener : service.listen) {
            const std::string address = listener.to_string();
            const auto old = old_listeners_.find(address);
            if (old == old_listeners_.end()) {
                change("+ listener {}{}", address, of(service));
            } else if (std::ranges::find(old->second, before) != old->second.end()) {
                plan_.lines.push_back(
                    fmt::format("= listener {}{} (socket kept)", address, of(service)));
            } else {
                change("~ listener {} goes to service {} (socket kept)", address, service.name);
            }
        }
    }

    void compare_backends(const ServiceConfig& old, const ServiceConfig& service) {
        const bool some_absent = std::ranges::any_of(
            service.backends,
            [](const BackendConfig& backend) { return backend.absent.has_value(); });
        if (old.backends == service.backends && !some_absent) return;
        Labels labels;
        labels.add(old);
        labels.add(service);
        std::vector<BackendIdentity> identities;
        identities.reserve(old.backends.size());
        for (const BackendConfig& backend : old.backends)
            identities.push_back({&backend.name, &backend.address});
        const std::vector<std::size_t> predecessors = match_backends(identities, service.backends);
        std::vector<bool> stays(old.backends.size(), false);
        for (const std::size_t predecessor : predecessors) {
            if (predecessor != no_predecessor) stays[predecessor] = true;
        }
        std::vector<std::size_t> sessions(old.backends.size(), 0);
        for (std::size_t i = 0; i < old.backends.size(); ++i) {
            if (stays[i]) {
                sessions[i] = sessions_.take(old, old.backends[i]);
            } else if (!is_gone(old.backends[i])) {
                remove_backend(old, old.backends[i], labels);
            }
        }
        for (std::size_t i = 0; i < predecessors.size(); ++i) {
            const BackendConfig& backend = service.backends[i];
            const std::size_t before = predecessors[i];
            if (before == no_predecessor && backend.absent) continue;  // nobody knows it any more
            if (before == no_predecessor || (is_gone(old.backends[before]) && !backend.absent)) {
                change("+ backend {}{} weight {}{}", labels.of(backend), of(service),
                       backend.weight, backend.backup ? " backup" : "");
            } else {
                compare_backend(service, old.backends[before], backend, labels, sessions[before]);
            }
        }
    }

    // As if it were removed, but for its policy.
    static bool is_gone(const BackendConfig& backend) noexcept {
        return backend.absent && *backend.absent != OnRemove::keep;
    }

    void compare_absent(const ServiceConfig& service, const BackendConfig& old,
                        const BackendConfig& backend, const Labels& labels, std::size_t sessions) {
        if (is_gone(backend)) {
            if (!is_gone(old)) tell_removal(service, backend, labels, sessions, *backend.absent);
            return;
        }
        const std::string what =
            fmt::format("backend {}{} is absent from what its name stands for ({}: keep)",
                        labels.of(backend), of(service), count_of(sessions));
        if (old.absent) {
            plan_.lines.push_back(fmt::format("= {}", what));
        } else {
            change("~ {}", what);
        }
    }

    void compare_backend(const ServiceConfig& service, const BackendConfig& old,
                         const BackendConfig& backend, const Labels& labels, std::size_t sessions) {
        if (backend.absent) return compare_absent(service, old, backend, labels, sessions);
        const std::string name = labels.of(backend);
        if (old.absent) {
            change("~ backend {}{} is back ({})", name, of(service), count_of(sessions));
            if (backend.weight > 0) return;
        }
        if (old.name != backend.name)
            change("~ service {}: backend {} renamed {}", service.name, labels.of(old), name);
        if (old.weight != backend.weight)
            change("~ service {}: backend {} weight {} -> {}", service.name, name, old.weight,
                   backend.weight);
        if (old.backup != backend.backup)
            change("~ service {}: backend {} is {} backup", service.name, name,
                   backend.backup ? "a" : "no");
        if (old.max_connections != backend.max_connections)
            change("~ service {}: backend {} max_connections {} -> {}", service.name, name,
                   old.max_connections, backend.max_connections);
    }

    void remove_backend(const ServiceConfig& service, const BackendConfig& backend,
                        const Labels& labels) {
        tell_removal(service, backend, labels, sessions_.take(service, backend), service.on_remove);
    }

    void tell_removal(const ServiceConfig& service, const BackendConfig& backend,
                      const Labels& labels, std::size_t sessions, OnRemove policy) {
        change("- backend {}{} ({}: {})", labels.of(backend), of(service), count_of(sessions),
               policy_of(service, policy));
        lose(backend_losses_, service, policy, sessions);
    }

    using Losses = std::map<Duration, std::size_t>;  // sessions that will be reset, by when

    static void lose(Losses& losses, const ServiceConfig& service, OnRemove policy,
                     std::size_t sessions) {
        if (sessions == 0) return;
        if (policy == OnRemove::close) {
            losses[Duration{0}] += sessions;
        } else if (policy == OnRemove::drain && service.drain_timeout > Duration{0}) {
            losses[service.drain_timeout] += sessions;
        }
    }

    // Of a service. A session has a listener and, mostly, a backend. If all are removed, those of the
    // backends are among those of the listeners; else nobody knows how many have lost both.
    void settle_losses(bool all_removed) {
        for (const auto& [time, sessions] : listener_losses_) {
            std::size_t& others = backend_losses_[time];
            if (others != 0 && !all_removed) at_most_.insert(time);
            others = all_removed ? std::max(others, sessions) : others + sessions;
        }
        for (const auto& [time, sessions] : backend_losses_) losses_[time] += sessions;
        listener_losses_.clear();
        backend_losses_.clear();
    }

    // In words, because a "-" among a hundred lines is easily read over.
    void tell_losses() {
        for (const auto& [time, sessions] : losses_) {
            const std::string all =
                fmt::format("{}{}", at_most_.contains(time) ? "up to " : "", count_of(sessions));
            if (time == Duration{0}) {
                plan_.lines.push_back(fmt::format("! {} will be reset at once", all));
            } else {
                plan_.lines.push_back(fmt::format("! {} will be reset, unless over within {}", all,
                                                  format_duration(time)));
            }
        }
    }

    static std::string policy_of(const ServiceConfig& service, OnRemove policy) {
        switch (policy) {
        case OnRemove::close: return "close";
        case OnRemove::keep: return "keep";
        case OnRemove::drain: break;
        }
        return service.drain_timeout == Duration{0}
                   ? "drain"
                   : fmt::format("drain {}", format_duration(service.drain_timeout));
    }

    void find_desertion(const ServiceConfig& service) {
        const bool usable = std::ranges::any_of(
            service.backends, [](const BackendConfig& backend) { return backend.weight > 0; });
        if (!usable) plan_.deserted_services.push_back(service.name);
    }

    const ResolvedSettings& running_;
    const ResolvedSettings& wanted_;
    Sessions sessions_;
    Listeners old_listeners_;
    Listeners new_listeners_;
    std::unordered_map<std::string, std::size_t> sessions_by_listener_;
    Losses listener_losses_;  // of the service that is looked at
    Losses backend_losses_;   // likewise
    Losses losses_;
    std::set<Duration> at_most_;  // of which not all may be lost
    ReloadPlan plan_;
};

}  // namespace

void keep_until_restart(ResolvedSettings& now, const ResolvedSettings& running) {
    ProcessValues& process = now.settings.process.values;
    const ProcessValues& before = running.settings.process.values;
    process.workers = before.workers;
    process.busy_poll = before.busy_poll;
    process.control = before.control;
    now.config.workers = running.config.workers;
    now.config.busy_poll = running.config.busy_poll;
}

ReloadPlan plan_reload(const ResolvedSettings& running, const ResolvedSettings& wanted,
                       std::span<const BackendStatus> backends,
                       std::span<const ListenerStatus> listeners) {
    return Planner{running, wanted, backends, listeners}.run();
}

std::vector<std::string> ReloadPlan::summary() const {
    const auto stays = [](const std::string& line) { return line.starts_with('='); };
    const auto count = static_cast<std::size_t>(std::ranges::count_if(lines, stays));
    std::vector<std::string> summary;
    bool told = false;
    for (const std::string& line : lines) {
        if (count < 2 || !stays(line)) {
            summary.push_back(line);
        } else if (!std::exchange(told, true)) {
            summary.push_back(fmt::format("= {} listeners and backends stay as they are", count));
        }
    }
    return summary;
}

}  // namespace eplb::control
