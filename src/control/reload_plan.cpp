#include "control/reload_plan.hpp"

#include "base/duration.hpp"
#include "control/config_keys.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

constexpr std::array<std::string_view, 3> restart_keys{"workers", "busy_poll", "control"};

bool is_same(const BackendConfig& a, const BackendConfig& b) noexcept {
    return a.name == b.name && a.address == b.address;
}

class Planner {
public:
    Planner(const ResolvedSettings& running, const ResolvedSettings& wanted,
            std::span<const BackendStatus> backends)
        : running_{running}, wanted_{wanted}, backends_{backends} {}

    ReloadPlan run() {
        compare_keys("", running_.settings.process.values, wanted_.settings.process.values,
                     process_keys());
        compare_keys("log ", running_.settings.log.values, wanted_.settings.log.values, log_keys());
        compare_keys("dns ", running_.settings.dns.values, wanted_.settings.dns.values, dns_keys());
        for (std::size_t i = 0; i < running_.config.services.size(); ++i) {
            const ServiceConfig& old = running_.config.services[i];
            if (!find_service(wanted_, old.name)) remove_service(old);
        }
        for (std::size_t i = 0; i < wanted_.config.services.size(); ++i) {
            const ServiceConfig& service = wanted_.config.services[i];
            const auto old = find_service(running_, service.name);
            if (!old) {
                change("+ service {}", service.name);
            } else {
                compare_keys(fmt::format("service {}: check ", service.name),
                             old->second->check.values, wanted_.settings.services[i].check.values,
                             check_keys());
                compare_keys(fmt::format("service {}: ", service.name), old->second->values,
                             wanted_.settings.services[i].values, service_keys());
            }
            compare_listeners(service);
            compare_backends(old ? *old->first : ServiceConfig{}, service);
            find_desertion(service);
        }
        return std::move(plan_);
    }

private:
    using FoundService = std::pair<const ServiceConfig*, const Service*>;

    template <class... Arguments>
    void change(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        plan_.lines.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
        plan_.changes = true;
    }

    // Services of settings and configuration are in the same order.
    static std::optional<FoundService> find_service(const ResolvedSettings& where,
                                                    const std::string& name) {
        for (std::size_t i = 0; i < where.config.services.size(); ++i) {
            if (where.config.services[i].name != name) continue;
            return FoundService{&where.config.services[i], &where.settings.services[i]};
        }
        return std::nullopt;
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
            if (!is_listener(wanted_.config, listener)) remove_listener(service, listener);
        }
        for (const BackendConfig& backend : service.backends) remove_backend(service, backend);
    }

    static bool is_listener(const Config& config, const Address& address) {
        return std::ranges::any_of(config.services, [&](const ServiceConfig& service) {
            return std::ranges::find(service.listen, address) != service.listen.end();
        });
    }

    void remove_listener(const ServiceConfig& service, const Address& listener) {
        change("- listener {}{}", listener.to_string(), of(service));
    }

    void compare_listeners(const ServiceConfig& service) {
        const auto old = find_service(running_, service.name);
        if (old) {
            for (const Address& listener : old->first->listen) {
                if (!is_listener(wanted_.config, listener)) remove_listener(service, listener);
            }
        }
        for (const Address& listener : service.listen) {
            if (!is_listener(running_.config, listener)) {
                change("+ listener {}{}", listener.to_string(), of(service));
            } else if (old && std::ranges::find(old->first->listen, listener) !=
                                  old->first->listen.end()) {
                plan_.lines.push_back(fmt::format("= listener {}{} (socket kept)",
                                                  listener.to_string(), of(service)));
            } else {
                change("~ listener {} goes to service {} (socket kept)", listener.to_string(),
                       service.name);
            }
        }
    }

    // By its name; with its address where others of the service, now or before, have the same name.
    [[nodiscard]] std::string label(const ServiceConfig& service,
                                    const BackendConfig& backend) const {
        std::string address = backend.address.to_string();
        if (backend.name.empty()) return address;
        const auto is_other = [&](const BackendConfig& other) {
            return other.name == backend.name && other.address != backend.address;
        };
        for (const ResolvedSettings* const where : {&running_, &wanted_}) {
            const auto found = find_service(*where, service.name);
            if (found && std::ranges::any_of(found->first->backends, is_other))
                return fmt::format("{}/{}", backend.name, address);
        }
        return backend.name;
    }

    // One that is there twice is matched in order, as the roster does.
    void compare_backends(const ServiceConfig& old, const ServiceConfig& service) {
        std::vector<const BackendConfig*> left;
        left.reserve(old.backends.size());
        for (const BackendConfig& backend : old.backends) left.push_back(&backend);
        std::vector<std::pair<const BackendConfig*, const BackendConfig*>> pairs;
        for (const BackendConfig& backend : service.backends) {
            const auto before = std::ranges::find_if(
                left, [&](const BackendConfig* other) { return is_same(backend, *other); });
            pairs.emplace_back(&backend, before == left.end() ? nullptr : *before);
            if (before != left.end()) left.erase(before);
        }
        for (const BackendConfig* const backend : left) remove_backend(old, *backend);
        for (const auto& [backend, before] : pairs) {
            if (before == nullptr) {
                change("+ backend {}{} weight {}{}", label(service, *backend), of(service),
                       backend->weight, backend->backup ? " backup" : "");
            } else {
                compare_backend(service, *before, *backend);
            }
        }
    }

    void compare_backend(const ServiceConfig& service, const BackendConfig& old,
                         const BackendConfig& backend) {
        const std::string name = label(service, backend);
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

    void remove_backend(const ServiceConfig& service, const BackendConfig& backend) {
        const auto status = std::ranges::find_if(backends_, [&](const BackendStatus& candidate) {
            return !candidate.removed && candidate.service == service.name &&
                   candidate.name == backend.name && candidate.address == backend.address;
        });
        const std::size_t sessions = status == backends_.end() ? 0 : status->active;
        change("- backend {}{} ({} session{}: {})", label(service, backend), of(service), sessions,
               sessions == 1 ? "" : "s", policy_of(service));
    }

    static std::string policy_of(const ServiceConfig& service) {
        switch (service.on_remove) {
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
    std::span<const BackendStatus> backends_;
    ReloadPlan plan_;
};

}  // namespace

ReloadPlan plan_reload(const ResolvedSettings& running, const ResolvedSettings& wanted,
                       std::span<const BackendStatus> backends) {
    return Planner{running, wanted, backends}.run();
}

}  // namespace eplb::control
