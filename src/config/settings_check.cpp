#include "config/settings_check.hpp"

#include "base/duration.hpp"
#include "config/config_keys.hpp"
#include "eplb/address.hpp"
#include "proxy/listener_conflicts.hpp"
#include "proxy/service_graph.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace eplb::control {
namespace {

struct Listener {
    const Endpoint* endpoint;
    Address address;
};

// Nothing: a host name.
std::optional<Address> address_of(const Endpoint& endpoint) {
    try {
        return Address::parse_unless_name(endpoint.text);
    } catch (const std::invalid_argument&) {
        return std::nullopt;  // its codec has complained
    }
}

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

// The listeners of a configuration. Finding one takes no longer when there are many: whoever writes
// the file may mean us harm.
class Listeners {
public:
    void add(const Listener& listener) {
        by_address_.emplace(listener.address.to_string(), listener);
        if (listener.address.is_unix()) return;
        Port& port = by_port_[listener.address.port()];
        const bool v6 = listener.address.family() == AF_INET6;
        std::optional<Listener>& first = v6 ? port.first_v6 : port.first_v4;
        if (!first) first = listener;
        if (listener.address.is_wildcard()) (v6 ? port.all_v6 : port.all_v4) = listener;
    }

    /// Another one that cannot be listened on at the same time, if there is one.
    [[nodiscard]] const Listener* in_the_way_of(const Address& address) const {
        return find(address, [&](const Address& other) { return overlap(address, other); });
    }

private:
    // If a listener is in the way of others than its equal, one of these is among them.
    struct Port {
        std::optional<Listener> all_v4;
        std::optional<Listener> all_v6;
        std::optional<Listener> first_v4;
        std::optional<Listener> first_v6;
    };

    template <class Matches>
    [[nodiscard]] const Listener* find(const Address& address, Matches matches) const {
        const auto same = by_address_.find(address.to_string());
        if (same != by_address_.end() && matches(same->second.address)) return &same->second;
        if (address.is_unix()) return nullptr;
        const auto port = by_port_.find(address.port());
        if (port == by_port_.end()) return nullptr;
        const Port& there = port->second;
        for (const auto* candidate :
             {&there.all_v6, &there.all_v4, &there.first_v4, &there.first_v6}) {
            if (*candidate && matches((*candidate)->address)) return &**candidate;
        }
        return nullptr;
    }

    std::unordered_map<std::string, Listener> by_address_;
    std::unordered_map<std::uint16_t, Port> by_port_;
};

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
            const Listener listener{&endpoint, *address};
            if (const Listener* const other = listeners_.in_the_way_of(*address))
                diagnostics_.error(endpoint.place, conflict(endpoint, *address, *other));
            listeners_.add(listener);
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
                                const Listener& other) {
        if (address == other.address) {
            return fmt::format("listener {} is given twice; first {}", endpoint.text,
                               where(other.endpoint->place));
        }
        return fmt::format("listener {} is in the way of {} {}: one of them is for all addresses",
                           endpoint.text, other.endpoint->text, where(other.endpoint->place));
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
        warn_of_service(service);
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

    // Where a value was said; nothing if it is the one that is built in.
    template <class Values>
    static const Place* said(const Section<Values>& section, std::string_view key) {
        const auto found = section.origins.find(key);
        return found == section.origins.end() ? nullptr : &found->second.place;
    }

    void warn_of_service(const Service& service) {
        const ServiceConfig& config = service.values.config;
        const auto warn_if_off = [&](std::string_view key, Duration value, std::string_view risk) {
            const Place* const place = said(service, key);
            if (place != nullptr && value == Duration{0})
                diagnostics_.warning(*place, fmt::format("{} is off: {}", key, risk));
        };
        warn_if_off("connect_timeout", config.connect_timeout,
                    "a backend that does not answer keeps its clients for minutes");
        warn_if_off("half_close_timeout", config.half_close_timeout,
                    "a session that one side has left may stay for ever");
        warn_if_off("drain_timeout", config.drain_timeout, "a stop may never end");
        if (const Place* const place = said(service, "pipe_size");
            place != nullptr && config.pipe_bytes != 0 && !std::has_single_bit(config.pipe_bytes)) {
            diagnostics_.warning(*place, "pipe_size: the kernel rounds it up to a power of two");
        }
        check_proxy_protocol(service);
        warn_of_clients_without_address(service);
        check_health_check(service);
        check_rebalance(service);
        if (const Place* const place = said(service, "max_ejection_time");
            place != nullptr && config.max_ejection_time < config.ejection_time) {
            diagnostics_.warning(*place,
                                 "max_ejection_time is shorter than ejection_time, and wins");
        }
        for (const Endpoint& endpoint : service.values.listen) {
            if (endpoint.text.starts_with("unix:") && !endpoint.text.starts_with("unix:/") &&
                !endpoint.text.starts_with("unix:@")) {
                diagnostics_.warning(
                    endpoint.place,
                    fmt::format("{}: where that is depends on the directory that eplb is started "
                                "in; write unix:/...",
                                endpoint.text));
            }
        }
    }

    void warn_of_clients_without_address(const Service& service) {
        const ServiceConfig& config = service.values.config;
        const auto is_unix = [](const Endpoint& endpoint) {
            return endpoint.text.starts_with("unix:");
        };
        const auto listener = std::ranges::find_if(service.values.listen, is_unix);
        if (listener == service.values.listen.end() || config.accept_proxy != AcceptProxy::off)
            return;
        const auto warn = [&](std::string_view key, std::string_view what) {
            const Place* const place = said(service, key);
            if (place == nullptr) return;
            diagnostics_.warning(*place, fmt::format("{}: clients of {} have no address: {}", key,
                                                     listener->text, what));
        };
        if (config.balance == Balance::source_hash || config.balance == Balance::consistent)
            warn("balance", "they get each backend in turn");
        if (config.max_connections_per_source != 0)
            warn("max_connections_per_source", "they are not counted");
        if (!config.connection_rate_per_source.unlimited())
            warn("connection_rate_per_source", "they are not counted");
    }

    void check_rebalance(const Service& service) {
        const ServiceConfig& config = service.values.config;
        const Place* const place = said(service, "rebalance");
        if (place == nullptr || config.rebalance == Rebalance::off) return;
        if (config.balance != Balance::round_robin && config.balance != Balance::leastconn &&
            config.balance != Balance::random) {
            diagnostics_.warning(*place,
                                 "rebalance: with this balance who comes back would often "
                                 "come to the same backend; it does nothing");
            return;
        }
        // Nothing that TCP shows tells a pause inside of a transaction from one between two.
        diagnostics_.warning(
            *place, fmt::format("rebalance: a session that is quiet for {} inside an open "
                                "transaction is reset like any other, and the database rolls its "
                                "work back; only for clients that never pause there for so long",
                                format_duration(config.rebalance_idle)));
    }

    void check_health_check(const Service& service) {
        using Type = CheckConfig::Type;
        const Section<CheckConfig>& check = service.check;
        const CheckConfig& config = check.values;
        for (const auto& [key, origin] : check.origins) {
            // What all services share need not be of use to each.
            if (origin.from_defaults || is_used_by(config, key)) continue;
            diagnostics_.warning(
                origin.place, config.type == Type::none
                                  ? fmt::format("{}: without a type there are no checks", key)
                                  : fmt::format("{}: this type of check has no use for it", key));
        }
        const Place* const type = said(check, "type");
        if (type == nullptr) return;
        if (config.type == Type::send_expect && config.send.empty() && config.expect.empty())
            diagnostics_.error(*type,
                               "send_expect has neither send nor expect; write type = \"tcp\"");
        if (config.type == Type::mysql && config.user.empty())
            diagnostics_.warning(*type,
                                 "mysql: without a user, MariaDB logs each check; add: user = "
                                 "\"eplb\", who needs no password and no rights");
        if (const Place* const place = said(check, "fast_interval");
            place != nullptr && config.fast_interval > config.interval)
            diagnostics_.warning(*place, "fast_interval is longer than interval, which wins");
        if (config.type == Type::tcp) warn_of_plain_check(service, *type);
    }

    void warn_of_plain_check(const Service& service, const Place& type) {
        const CheckConfig& config = service.check.values;
        for (const Section<BackendValues>& backend : service.backends) {
            const std::optional<std::uint16_t> port = checked_port(config, backend.values.address);
            if (port == 3306) {
                diagnostics_.warning(
                    type,
                    "tcp: MySQL counts each check as a failed handshake, and after "
                    "max_connect_errors refuses this machine; write type = \"mysql\"");
                return;
            }
            if (port == 5432) {
                diagnostics_.warning(
                    type,
                    "tcp: PostgreSQL logs each check as a mistake; write type = \"postgres\"");
                return;
            }
        }
    }

    static std::optional<std::uint16_t> checked_port(const CheckConfig& config,
                                                     const Endpoint& backend) {
        const std::optional<Address> own = address_of(backend);
        const std::optional<Address>& asked = config.address ? config.address : own;
        if (asked && asked->is_unix()) return 0;
        if (config.port) return config.port;
        if (asked) return asked->port();
        // A host name with a port, or a service's, which has none.
        const std::size_t colon = backend.text.rfind(':');
        std::uint16_t port = 0;
        const char* const end = backend.text.data() + backend.text.size();
        const auto [rest, error] = std::from_chars(backend.text.data() + colon + 1, end, port);
        if (error != std::errc{} || rest != end) return std::nullopt;
        return port;
    }

    void check_proxy_protocol(const Service& service) {
        const ServiceConfig& config = service.values.config;
        const Place* const accept = said(service, "accept_proxy");
        const Place* const trusted = said(service, "trusted_proxies");
        const bool accepts = config.accept_proxy != AcceptProxy::off;
        if (accepts && config.trusted_proxies.empty() && accept != nullptr) {
            diagnostics_.error(
                *accept,
                "accept_proxy: who may say who the client is? add: trusted_proxies = "
                "[\"10.0.0.0/8\"], or whatever network your proxies are in");
        }
        if (!accepts && trusted != nullptr && !config.trusted_proxies.empty())
            diagnostics_.warning(*trusted, "trusted_proxies: without accept_proxy nobody is asked");
        for (const Cidr& network : config.trusted_proxies) {
            if (network != Cidr::parse("0.0.0.0/0") && network != Cidr::parse("::/0")) continue;
            diagnostics_.warning(*trusted, fmt::format("trusted_proxies: {} lets everybody say who "
                                                       "they are",
                                                       network.to_string()));
        }
        const Place* const tlvs = said(service, "proxy_tlvs");
        if (tlvs != nullptr && config.proxy_tlvs != ProxyTlvConfig{} &&
            config.send_proxy != SendProxy::v2) {
            diagnostics_.warning(*tlvs, "proxy_tlvs: only send_proxy = \"v2\" has room for them");
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
