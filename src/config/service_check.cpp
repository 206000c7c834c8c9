#include "config/service_check.hpp"

#include "base/duration.hpp"
#include "config/config_keys.hpp"
#include "eplb/cidr.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace eplb::control {
namespace {

class ServiceCheck {
public:
    explicit ServiceCheck(Diagnostics& diagnostics) : diagnostics_{diagnostics} {}

    void run(const Service& service) {
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

private:
    // Where a value was said; nothing if it is the one that is built in.
    template <class Values>
    static const Place* said(const Section<Values>& section, std::string_view key) {
        const auto found = section.origins.find(key);
        return found == section.origins.end() ? nullptr : &found->second.place;
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

    Diagnostics& diagnostics_;
};

}  // namespace

std::optional<Address> address_of(const Endpoint& endpoint) {
    try {
        return Address::parse_unless_name(endpoint.text);
    } catch (const std::invalid_argument&) {
        return std::nullopt;  // its codec has complained
    }
}

void check_service_values(const Service& service, Diagnostics& diagnostics) {
    ServiceCheck{diagnostics}.run(service);
}

}  // namespace eplb::control
