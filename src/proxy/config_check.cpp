#include "proxy/config_check.hpp"

#include <cstdint>
#include <fmt/format.h>
#include <stdexcept>
#include <string_view>

namespace eplb {
namespace {

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

}  // namespace eplb
