// What services have to do with each other: listeners, names, loops; and backends that are there twice. What
// one service says for itself is in service_check.
#include "config/settings_check.hpp"

#include "config/service_check.hpp"
#include "eplb/address.hpp"
#include "proxy/listener_conflicts.hpp"
#include "proxy/service_graph.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

namespace eplb::control {
namespace {

using Listeners = ListenerIndex<const Endpoint*>;

bool is_host_name(const Endpoint& endpoint) {
    try {
        return !Address::parse_unless_name(endpoint.text);
    } catch (const std::invalid_argument&) {
        return false;  // its codec has complained
    }
}

std::string where(const Place& place) {
    if (!place.flag.empty()) return fmt::format("of {}", place.flag);
    return fmt::format("in line {}", place.line);
}

class Check {
public:
    Check(const Settings& settings, Diagnostics& diagnostics)
        : settings_{settings}, diagnostics_{diagnostics} {}

    void run() {
        for (const Service& service : settings_.services) collect_listeners(service);
        check_service_names();
        for (const Service& service : settings_.services) check_service(service);
        check_loops();
    }

private:
    void collect_listeners(const Service& service) {
        for (const Endpoint& endpoint : service.values.listen) {
            const std::optional<Address> address = address_of(endpoint);
            if (!address) {
                check_name_of_listener(endpoint);
                continue;
            }
            if (const Listeners::Entry* const other = listeners_.in_the_way_of(*address))
                diagnostics_.error(endpoint.place, conflict(endpoint, *address, *other));
            listeners_.add(*address, &endpoint);
        }
    }

    // A host name, which is not looked up here; but the same one twice is one too many.
    void check_name_of_listener(const Endpoint& endpoint) {
        const auto [first, is_new] = listener_names_.emplace(endpoint.text, &endpoint);
        if (is_new || !is_host_name(endpoint)) return;
        diagnostics_.error(endpoint.place, fmt::format("listener {} is given twice; first {}",
                                                       endpoint.text, where(first->second->place)));
    }

    static std::string conflict(const Endpoint& endpoint, const Address& address,
                                const Listeners::Entry& other) {
        if (address == other.address) {
            return fmt::format("listener {} is given twice; first {}", endpoint.text,
                               where(other.known->place));
        }
        return fmt::format("listener {} is in the way of {} {}: one of them is for all addresses",
                           endpoint.text, other.known->text, where(other.known->place));
    }

    void check_service_names() {
        std::unordered_map<std::string_view, const Service*> first;
        for (const Service& service : settings_.services) {
            const std::string& name = service.values.config.name;
            const auto is_derived = [](const Service& one) {
                return one.origin_of("name").kind == Origin::Kind::built_in;
            };
            const auto [first_one, is_new] = first.emplace(name, &service);
            // Two that are called by the same listener: that has been told.
            if (is_new || (is_derived(service) && is_derived(*first_one->second))) continue;
            diagnostics_.error(
                is_derived(service) ? service.place : service.origin_of("name").place,
                fmt::format("there are two services \"{}\"; the first is {}", name,
                            where(first_one->second->place)));
        }
    }

    void check_service(const Service& service) {
        const auto& backends = service.backends;
        check_for_twins(backends);
        check_service_values(service, diagnostics_);
    }

    // Those of names are found when they are looked up.
    void check_loops() {
        ServiceGraph graph;
        const auto& services = settings_.services;
        for (std::size_t i = 0; i < services.size(); ++i) {
            const auto& listen = services[i].values.listen;
            for (std::size_t n = 0; n < listen.size(); ++n) {
                if (const auto address = address_of(listen[n])) graph.add_listener(i, *address, n);
            }
        }
        for (std::size_t i = 0; i < services.size(); ++i) {
            const auto& backends = services[i].backends;
            for (std::size_t n = 0; n < backends.size(); ++n) {
                const Endpoint& endpoint = backends[n].values.address;
                if (endpoint.text.empty()) continue;
                if (const auto address = address_of(endpoint)) graph.add_backend(i, *address, n);
            }
        }
        for (const ServiceGraph::Loop& loop : graph.find_loops()) complain_of(loop);
    }

    void complain_of(const ServiceGraph::Loop& loop) {
        const auto name_of = [&](std::size_t service) {
            return settings_.services[service].values.config.name;
        };
        const ServiceGraph::Step& last = loop.back();
        const Endpoint& backend =
            settings_.services[last.service].backends[last.backend].values.address;
        const Endpoint& listener = settings_.services[last.next].values.listen[last.listener];
        diagnostics_.error(
            backend.place,
            fmt::format("backend {} is our own listener {} {}: every connection would loop{}",
                        backend.text, listener.text, where(listener.place),
                        loop.size() == 1 ? "" : fmt::format(" ({})", to_text(loop, name_of))));
    }

    void check_for_twins(const std::vector<Section<BackendValues>>& backends) {
        std::unordered_map<std::string_view, const Section<BackendValues>*> names;
        std::unordered_map<std::string_view, const Section<BackendValues>*> addresses;
        for (const Section<BackendValues>& backend : backends) {
            const BackendValues& values = backend.values;
            if (!values.name.empty()) {
                const auto [first, is_new] = names.emplace(values.name, &backend);
                if (!is_new) {
                    diagnostics_.error(backend.origin_of("name").place,
                                       fmt::format("there are two backends \"{}\"; the first is {}",
                                                   values.name, where(first->second->place)));
                    continue;
                }
            }
            if (values.address.text.empty() ||
                addresses.emplace(values.address.text, &backend).second)
                continue;
            diagnostics_.warning(values.address.place,
                                 fmt::format("backend {} is given twice, and gets twice its share; "
                                             "weight says that more plainly",
                                             values.address.text));
        }
    }

    const Settings& settings_;
    Diagnostics& diagnostics_;
    Listeners listeners_;
    std::unordered_map<std::string_view, const Endpoint*> listener_names_;
};

}  // namespace

void warn_of_missing_backends(const Settings& settings, Diagnostics& diagnostics) {
    for (const Service& service : settings.services) {
        const bool usable = std::ranges::any_of(
            service.backends, [](const Section<BackendValues>& b) { return b.values.weight > 0; });
        if (service.backends.empty() || usable) continue;  // the former has been told
        diagnostics.warning(
            service.place,
            fmt::format(
                "service \"{}\" has no backend with a weight above 0: its clients are reset",
                service.values.config.name));
    }
}

void check_settings(const Settings& settings, Diagnostics& diagnostics) {
    Check{settings, diagnostics}.run();
}

}  // namespace eplb::control
