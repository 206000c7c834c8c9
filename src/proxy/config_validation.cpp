#include "proxy/config_validation.hpp"

#include "proxy/listener_conflicts.hpp"
#include "proxy/service_graph.hpp"

#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <variant>

namespace eplb {
namespace {

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

// Says whose value it is.
class Values {
public:
    explicit Values(std::string_view service) noexcept : service_{service} {}

    void not_negative(std::string_view name, Duration value) const {
        if (value < Duration{0}) refuse(name, "is negative");
    }
    void above_zero(std::string_view name, Duration value) const {
        if (value <= Duration{0}) refuse(name, "has to be above zero");
    }
    void at_least_one(std::string_view name, std::uint32_t value) const {
        if (value == 0) refuse(name, "has to be at least 1");
    }
    void percentage(std::string_view name, std::uint32_t value) const {
        if (value > 100) refuse(name, "is above 100");
    }

private:
    [[noreturn]] void refuse(std::string_view name, std::string_view what) const {
        throw std::invalid_argument(
            service_.empty() ? fmt::format("{} {}", name, what)
                             : fmt::format("service \"{}\": {} {}", service_, name, what));
    }
    std::string_view service_;
};

void reject(const CheckConfig& check, const Values& values) {
    if (check.type == CheckConfig::Type::none) return;
    values.above_zero("check.interval", check.interval);
    values.above_zero("check.timeout", check.timeout);
    values.above_zero("check.fast_interval", check.fast_interval);
    values.at_least_one("check.rise", check.rise);
    values.at_least_one("check.fall", check.fall);
}

void reject(const ServiceConfig& service, const Values& values) {
    values.above_zero("connect_timeout", service.connect_timeout);
    values.not_negative("idle_timeout", service.idle_timeout);
    values.not_negative("half_close_timeout", service.half_close_timeout);
    values.not_negative("max_lifetime", service.max_lifetime);
    values.percentage("lifetime_jitter_percent", service.lifetime_jitter_percent);
    values.not_negative("dead_peer_timeout", service.dead_peer_timeout);
    values.not_negative("queue_timeout", service.queue_timeout);
    values.not_negative("ejection_time", service.ejection_time);
    values.not_negative("max_ejection_time", service.max_ejection_time);
    values.percentage("max_ejected_percent", service.max_ejected_percent);
    values.not_negative("slow_start", service.slow_start);
    values.not_negative("rebalance_idle", service.rebalance_idle);
    values.not_negative("drain_timeout", service.drain_timeout);
    values.not_negative("defer_accept", service.defer_accept);
    values.not_negative("socket.keepalive.idle", service.socket.keepalive.idle);
    values.not_negative("socket.keepalive.interval", service.socket.keepalive.interval);
    reject(service.check, values);
}

}  // namespace

void reject_impossible_values(const Config& config) {
    Values{{}}.not_negative("busy_poll", config.busy_poll);
    for (const ServiceConfig& service : config.services) reject(service, Values{service.name});
}

void reject_conflicting_listeners(const Config& config) {
    ListenerIndex<std::monostate> seen;
    for (const ServiceConfig& service : config.services) {
        for (const Address& listener : service.listen) {
            const auto* const other = seen.in_the_way_of(listener);
            if (other == nullptr) {
                seen.add(listener, {});
                continue;
            }
            if (listener == other->address) {
                throw std::invalid_argument(
                    fmt::format("listener {} is given twice", listener.to_string()));
            }
            throw std::invalid_argument(fmt::format("listeners {} and {} are in each other's way",
                                                    other->address.to_string(),
                                                    listener.to_string()));
        }
    }
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

}  // namespace eplb
