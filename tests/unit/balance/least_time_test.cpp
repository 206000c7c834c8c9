#include "balance/least_time.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <string>

using eplb::LeastTime;
using eplb::TimePoint;
using eplb::test::BackendSet;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint now{1h};

}  // namespace

TEST_CASE("least time: the quickest gets sessions until it has so many that it is not",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1}};
    LeastTime balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends[0].latency().observe(10ms, now);
    backends[1].latency().observe(3ms, now);
    backends[2].latency().observe(100ms, now);
    CHECK(backends.sessions(balancer, 8, now) == "bbbabbba");
    CHECK(backends[2].active() == 0);
}

TEST_CASE("least time: a weight counts as so many times the speed", "[proxy][balancer]") {
    BackendSet backends{{1, 4}};
    LeastTime balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends[0].latency().observe(2500us, now);
    backends[1].latency().observe(4ms, now);
    CHECK(backends.sessions(balancer, 5, now) == "bbabb");
}

TEST_CASE("least time: the unknown are tried first, each by one session, in turn",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1, 1}};
    LeastTime balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends[0].latency().observe(1ms, now);
    backends[1].latency().observe(2500us, now);
    CHECK(backends.names(balancer, 4, now) == "cdcd");
    CHECK(backends.sessions(balancer, 2, now) == "cd");
    // Nothing was heard of these two: as slow as the slowest, until there is.
    CHECK(backends.sessions(balancer, 3, now) == "aab");
    backends[3].latency().observe(100us, now);
    CHECK(backends.sessions(balancer, 5, now) == "ddddd");
}

TEST_CASE("least time: of nobody anything is known: as leastconn", "[proxy][balancer]") {
    BackendSet backends{{1, 1, 2}};
    LeastTime balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    CHECK(backends.names(balancer, 8, now) == "cabccabc");
    backends.hold(backends[0], 3);
    backends.hold(backends[1], 1);
    backends.hold(backends[2], 4);
    CHECK(backends.names(balancer, 4, now) == "bbbb");  // 4, 2, 2.5 with one more
    backends.hold(backends[1], 1);
    CHECK(backends.names(balancer, 4, now) == "cccc");
}

TEST_CASE("least time: one that was slow is tried again later", "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    LeastTime balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends[0].latency().observe(5s, now);
    TimePoint time = now;
    for (; time < now + 300s; time += 1s) {
        backends[1].latency().observe(1ms, time);
        if (backends.names(balancer, 1, time) == "a") break;
    }
    CHECK(time > now + 30s);
    CHECK(time < now + 120s);
}
