#include "balance/two_choices.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

using eplb::Backend;
using eplb::FasterOfTwo;
using eplb::RandomOfTwo;
using eplb::TimePoint;
using eplb::test::BackendSet;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint now{1h};

std::map<char, int> count_letters(const std::string& names) {
    std::map<char, int> counts;
    for (const char name : names) ++counts[name];
    return counts;
}

}  // namespace

TEST_CASE("random: the same seed draws the same, another one does not", "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3, 4}};
    backends.everybody();
    const auto draw = [&](std::uint64_t seed) {
        RandomOfTwo balancer{seed};
        balancer.prepare(backends.all);
        return backends.names(balancer, 24);
    };
    CHECK(draw(1) == "cdcdbcccddacbcaccbcddbdc");
    CHECK(draw(1) == draw(1));
    CHECK(draw(1) != draw(2));
    CHECK(draw(0) != draw(1));
}

TEST_CASE("random: idle backends are picked in proportion to their weights", "[proxy][balancer]") {
    const std::vector<std::uint32_t> weights{1, 2, 3, 10, 100, 7};
    double total = 0;
    for (const std::uint32_t weight : weights) total += weight;
    BackendSet backends{weights};
    backends.everybody();
    RandomOfTwo balancer{42};
    balancer.prepare(backends.all);
    constexpr int picks = 200'000;
    const auto counts = count_letters(backends.names(balancer, picks));
    double chi_square = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double expected = picks * weights[i] / total;
        const double seen = counts.at(static_cast<char>('a' + i));
        chi_square += (seen - expected) * (seen - expected) / expected;
    }
    CHECK(chi_square < 15.1);  // 5 degrees of freedom: 1 % of fair lotteries are worse
}

TEST_CASE("random: of two, the one with fewer sessions for its weight, always",
          "[proxy][balancer]") {
    BackendSet backends{{1, 3}};
    backends.everybody();
    RandomOfTwo balancer{1};
    balancer.prepare(backends.all);
    backends.hold(backends[0], 1);
    backends.hold(backends[1], 2);
    CHECK(backends.names(balancer, 50) == std::string(50, 'b'));
    backends.hold(backends[1], 2);
    CHECK(backends.names(balancer, 50) == std::string(50, 'a'));
}

TEST_CASE("random: two different ones are drawn, so the busiest of all is never picked",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 100, 1, 1}};
    backends.everybody();
    RandomOfTwo balancer{1};
    balancer.prepare(backends.all);
    backends.hold(backends[2], 1000);
    const auto counts = count_letters(backends.names(balancer, 4000));
    CHECK(counts.count('c') == 0);
    for (const char name : {'a', 'b', 'd', 'e'}) {
        CHECK(counts.at(name) > 850);
        CHECK(counts.at(name) < 1150);
    }
}

TEST_CASE("random: sessions that stay are about even", "[proxy][balancer]") {
    BackendSet backends{std::vector<std::uint32_t>(50, 1)};
    backends.everybody();
    RandomOfTwo balancer{7};
    balancer.prepare(backends.all);
    static_cast<void>(backends.sessions(balancer, 50 * 100));
    for (const Backend* const backend : backends.all) {
        CHECK(backend->active() > 95);  // one choice would be 100 +- 30
        CHECK(backend->active() < 105);
    }
}

TEST_CASE("random: the heaviest weights there are do not overflow", "[proxy][balancer]") {
    constexpr std::uint32_t heaviest = 0xffff'ffff;
    BackendSet backends{{heaviest, 1, heaviest}};
    backends.everybody();
    RandomOfTwo balancer{3};
    balancer.prepare(backends.all);
    const auto counts = count_letters(backends.names(balancer, 10'000));
    CHECK(counts.count('b') == 0);
    CHECK(counts.at('a') > 4800);
    CHECK(counts.at('c') > 4800);
}

TEST_CASE("random: backends that lost their weights meanwhile are picked nevertheless",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1}};
    RandomOfTwo balancer{3};
    FasterOfTwo faster{3};
    balancer.prepare(backends.all);
    faster.prepare(backends.all);
    for (Backend* const backend : backends.all) backend->set_weight(0);
    for (std::size_t size = 1; size <= 3; ++size) {
        backends.those({backends.all.begin(), backends.all.begin() + static_cast<int>(size)});
        CHECK(balancer.pick(backends.candidates, {.client = {}}) != nullptr);
        CHECK(faster.pick(backends.candidates, {.client = {}}) != nullptr);
    }
}

TEST_CASE("peak ewma: of two, the one that makes a session wait less", "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    backends.everybody();
    FasterOfTwo balancer{1};
    balancer.prepare(backends.all);
    backends[0].latency().observe(10ms, now);
    backends[1].latency().observe(3ms, now);
    CHECK(backends.sessions(balancer, 8, now) == "bbbabbba");  // as least_time: there are but two
}

TEST_CASE("peak ewma: a slow one of many gets few sessions, and the fast ones even shares",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1, 1, 1, 1, 1, 1}};
    backends.everybody();
    FasterOfTwo balancer{1};
    balancer.prepare(backends.all);
    for (Backend* const backend : backends.all) backend->latency().observe(1ms, now);
    backends[5].latency().observe(10ms, now);
    static_cast<void>(backends.sessions(balancer, 720, now));
    CHECK(backends[5].active() < 20);
    for (const Backend* const backend : backends.all) {
        if (backend == &backends[5]) continue;
        CHECK(backend->active() > 90);
        CHECK(backend->active() < 112);
    }
}

TEST_CASE("peak ewma: a weight counts as so many times the speed", "[proxy][balancer]") {
    BackendSet backends{{1, 4}};
    backends.everybody();
    FasterOfTwo balancer{1};
    balancer.prepare(backends.all);
    backends[0].latency().observe(2500us, now);
    backends[1].latency().observe(4ms, now);
    CHECK(backends.sessions(balancer, 5, now) == "bbabb");
}

TEST_CASE("peak ewma: one that is unknown is tried, by one session until more is known",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    backends.everybody();
    FasterOfTwo balancer{1};
    balancer.prepare(backends.all);
    backends[0].latency().observe(1ms, now);
    backends.hold(backends[0]);
    CHECK(backends.names(balancer, 20, now) == std::string(20, 'b'));
    backends.hold(backends[1], 2);
    CHECK(backends.names(balancer, 20, now) == std::string(20, 'a'));
    backends[1].latency().observe(100us, now);
    CHECK(backends.names(balancer, 20, now) == std::string(20, 'b'));
}

TEST_CASE("peak ewma: of nobody anything is known: as random", "[proxy][balancer]") {
    BackendSet backends{{1, 3}};
    backends.everybody();
    FasterOfTwo balancer{5};
    balancer.prepare(backends.all);
    const auto counts = count_letters(backends.names(balancer, 4000, now));
    CHECK(counts.at('b') > 2850);
    CHECK(counts.at('b') < 3150);
    backends.hold(backends[0], 1);
    backends.hold(backends[1], 4);
    CHECK(backends.names(balancer, 20, now) == std::string(20, 'b'));  // 2, 1.67 with one more
    backends.hold(backends[1], 2);
    CHECK(backends.names(balancer, 20, now) == std::string(20, 'a'));
}
