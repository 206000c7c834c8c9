#include "balance/least_connections.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using eplb::Backend;
using eplb::LeastConnections;
using eplb::test::BackendSet;

TEST_CASE("leastconn: sequences of sessions that stay are exactly these", "[proxy][balancer]") {
    struct Row {
        std::vector<std::uint32_t> weights;
        std::string sequence;
    };
    const std::vector<Row> table{
        {{1}, "aaaa"},
        {{1, 1}, "abbaabba"},
        {{1, 1, 1}, "abccbaacb"},
        {{3, 1}, "abaaabaabaaa"},
        {{1, 3}, "babbabbbbabb"},
        {{5, 1, 1}, "abcaaaacabaaaaa"},
    };
    for (const Row& row : table) {
        INFO(row.sequence);
        BackendSet backends{row.weights};
        LeastConnections balancer;
        balancer.prepare(backends.all);
        backends.everybody();
        CHECK(backends.sessions(balancer, static_cast<int>(row.sequence.size())) == row.sequence);
    }
}

TEST_CASE("leastconn: sessions that are over at once are spread by weight, not all to the first",
          "[proxy][balancer]") {
    BackendSet backends{{5, 1, 1}};
    LeastConnections balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    CHECK(backends.names(balancer, 14) == "aabacaaaabacaa");  // as round robin
}

TEST_CASE("leastconn: who has fewer for their weight comes first", "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3}};
    LeastConnections balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends.hold(backends[0], 2);
    backends.hold(backends[1], 3);
    backends.hold(backends[2], 5);
    CHECK(backends.names(balancer, 3) == "bbb");  // 2, 1.5, 1.67
    backends.hold(backends[1], 1);
    CHECK(backends.names(balancer, 3) == "ccc");
    backends.hold(backends[2], 2);
    CHECK(backends.names(balancer, 3) == "bab");  // 2, 2, 2.33
    backends.release(backends[2], 7);
    CHECK(backends.names(balancer, 3) == "ccc");
    backends.those({backends.all[0], backends.all[1]});
    CHECK(backends.names(balancer, 2) == "ba");
}

TEST_CASE("leastconn: one that starts slowly counts with its share", "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    LeastConnections balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends[1].set_share(Backend::full_share / 4);
    const std::string sequence = backends.sessions(balancer, 100);
    CHECK(std::count(sequence.begin(), sequence.end(), 'b') == 20);
}

TEST_CASE("leastconn: the heaviest weights there are do not overflow", "[proxy][balancer]") {
    constexpr std::uint32_t heaviest = 0xffff'ffff;
    BackendSet backends{{heaviest, heaviest - 1}};
    LeastConnections balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    backends.hold(backends[0], 100'000);
    CHECK(backends.names(balancer, 2) == "bb");
    backends.hold(backends[1], 100'000);
    CHECK(backends.names(balancer, 2) == "aa");
}

TEST_CASE("leastconn: however sessions come and go, nobody has more than the others and one",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1, 1, 1, 1, 1}};
    LeastConnections balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    for (int i = 0; i < 1000; ++i) {
        static_cast<void>(backends.sessions(balancer, 1));
        std::size_t fewest = 1000;
        std::size_t most = 0;
        for (const Backend* const backend : backends.all) {
            fewest = std::min(fewest, backend->active());
            most = std::max(most, backend->active());
        }
        REQUIRE(most - fewest <= 1);
    }
}
