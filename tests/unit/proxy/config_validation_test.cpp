#include "proxy/config_validation.hpp"

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/recording_observer.hpp"

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using eplb::CheckConfig;
using eplb::Config;
using eplb::ServiceConfig;

namespace {

struct Case {
    std::function<void(ServiceConfig&)> change;
    std::string problem;
};

Config config_with(const std::function<void(ServiceConfig&)>& change) {
    Config config;
    config.services.emplace_back().name = "db";
    config.services[0].listen = {eplb::Address::parse("127.0.0.1:0")};
    config.services[0].backends.emplace_back().address = eplb::Address::parse("127.0.0.1:1");
    config.services[0].check.type = CheckConfig::Type::tcp;
    change(config.services[0]);
    return config;
}

const std::vector<Case> impossible{
    {[](auto& s) { s.connect_timeout = 0s; }, "connect_timeout has to be above zero"},
    {[](auto& s) { s.connect_timeout = -1s; }, "connect_timeout has to be above zero"},
    {[](auto& s) { s.idle_timeout = -1ns; }, "idle_timeout is negative"},
    {[](auto& s) { s.half_close_timeout = -1s; }, "half_close_timeout is negative"},
    {[](auto& s) { s.max_lifetime = -1s; }, "max_lifetime is negative"},
    {[](auto& s) { s.lifetime_jitter_percent = 101; }, "lifetime_jitter_percent is above 100"},
    {[](auto& s) { s.dead_peer_timeout = -1s; }, "dead_peer_timeout is negative"},
    {[](auto& s) { s.queue_timeout = -1s; }, "queue_timeout is negative"},
    {[](auto& s) { s.ejection_time = -1s; }, "ejection_time is negative"},
    {[](auto& s) { s.max_ejection_time = -1s; }, "max_ejection_time is negative"},
    {[](auto& s) { s.max_ejected_percent = 101; }, "max_ejected_percent is above 100"},
    {[](auto& s) { s.slow_start = -1s; }, "slow_start is negative"},
    {[](auto& s) { s.rebalance_idle = -1s; }, "rebalance_idle is negative"},
    {[](auto& s) { s.drain_timeout = -1s; }, "drain_timeout is negative"},
    {[](auto& s) { s.defer_accept = -1s; }, "defer_accept is negative"},
    {[](auto& s) { s.socket.keepalive.idle = -1s; }, "socket.keepalive.idle is negative"},
    {[](auto& s) { s.socket.keepalive.interval = -1s; }, "socket.keepalive.interval is negative"},
    {[](auto& s) { s.check.interval = 0s; }, "check.interval has to be above zero"},
    {[](auto& s) { s.check.timeout = -1s; }, "check.timeout has to be above zero"},
    {[](auto& s) { s.check.fast_interval = 0s; }, "check.fast_interval has to be above zero"},
    {[](auto& s) { s.check.rise = 0; }, "check.rise has to be at least 1"},
    {[](auto& s) { s.check.fall = 0; }, "check.fall has to be at least 1"},
};

}  // namespace

TEST_CASE("config validation: each value that cannot be is refused by its name",
          "[proxy][config_validation]") {
    for (const Case& each : impossible) {
        CAPTURE(each.problem);
        CHECK_THROWS_WITH(eplb::reject_impossible_values(config_with(each.change)),
                          "service \"db\": " + each.problem);
    }
    Config config = config_with([](ServiceConfig&) {});
    config.busy_poll = -1ns;
    CHECK_THROWS_WITH(eplb::reject_impossible_values(config), "busy_poll is negative");
}

TEST_CASE("config validation: zero is never, where that is a time, and no check has no times",
          "[proxy][config_validation]") {
    CHECK_NOTHROW(eplb::reject_impossible_values(config_with([](ServiceConfig& service) {
        service.idle_timeout = service.half_close_timeout = service.queue_timeout = 0s;
        service.drain_timeout = service.ejection_time = service.slow_start = 0s;
        service.check = {};
        service.check.interval = service.check.timeout = 0s;
    })));
}

TEST_CASE("config validation: a proxy refuses at the start and when it is to go over, and goes on",
          "[proxy][config_validation]") {
    eplb::Reactor reactor;
    eplb::test::RecordingObserver observer;
    const Config bad = config_with([](ServiceConfig& service) { service.idle_timeout = -1s; });
    CHECK_THROWS_AS(eplb::Proxy(reactor, bad, observer), std::invalid_argument);
    eplb::Proxy proxy{reactor, config_with([](ServiceConfig&) {}), observer};
    CHECK_THROWS_AS(proxy.apply(bad), std::invalid_argument);
    CHECK(proxy.config().services[0].idle_timeout == 0s);
}
