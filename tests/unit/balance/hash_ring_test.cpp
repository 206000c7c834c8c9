#include "balance/hash_ring.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

using eplb::Address;
using eplb::Backend;
using eplb::HashRing;
using eplb::test::BackendSet;
using eplb::test::client;

namespace {

constexpr std::uint32_t clients = 50'000;

std::vector<const Backend*> picks(HashRing& balancer, const eplb::Candidates& candidates) {
    std::vector<const Backend*> out;
    for (std::uint32_t i = 0; i < clients; ++i)
        out.push_back(balancer.pick(candidates, {.client = client(i)}));
    return out;
}

// What `backend` may have at most once one more session is there.
double bound(const eplb::Candidates& candidates, const Backend& backend) {
    double sessions = 1;
    double weights = 0;
    for (const Backend* const candidate : candidates.all()) {
        sessions += static_cast<double>(candidate->active());
        weights += static_cast<double>(candidate->effective_weight());
    }
    const double share = static_cast<double>(backend.effective_weight()) / weights;
    return std::ceil(1.25 * sessions * share - 1e-9);
}

}  // namespace

TEST_CASE("hash ring: these clients get these backends on every machine, for ever",
          "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3, 4}};
    HashRing balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    std::string names;
    for (std::uint32_t i = 0; i < 32; ++i)
        names += balancer.pick(backends.candidates, {.client = client(i)})->name();
    CHECK(names == "ddddccbcccdacddbadbdbddcbbaddddd");
}

TEST_CASE("hash ring: whose point is next does not depend on the order of the configuration",
          "[proxy][balancer]") {
    BackendSet backends{{3, 1, 4, 1, 5, 9, 2, 6}};
    HashRing one;
    one.prepare(backends.all);
    const auto expected = picks(one, backends.everybody());
    std::vector<Backend*> order{backends.all.rbegin(), backends.all.rend()};
    HashRing other;
    other.prepare(order);
    CHECK((picks(other, backends.those(order)) == expected));
}

TEST_CASE("hash ring: shares are about in proportion to weights", "[proxy][balancer]") {
    const std::vector<std::vector<std::uint32_t>> sets{
        {1, 1}, {1, 2, 3, 4}, {1, 10}, {7, 7, 7}, {1, 4000}};
    for (const auto& weights : sets) {
        double total = 0;
        for (const std::uint32_t weight : weights) total += weight;
        BackendSet backends{weights};
        HashRing balancer;
        balancer.prepare(backends.all);
        std::map<const Backend*, double> seen;
        for (const Backend* const backend : picks(balancer, backends.everybody())) ++seen[backend];
        for (Backend* const backend : backends.all) {
            const double expected = clients * backend->weight() / total;
            INFO(weights.size() << ' ' << backend->name() << ' ' << seen[backend]);
            CHECK(std::abs(seen[backend] - expected) < 0.25 * expected + 30);
        }
    }
}

TEST_CASE("hash ring: only the clients of one that is no candidate move", "[proxy][balancer]") {
    BackendSet backends{std::vector<std::uint32_t>(10, 1)};
    HashRing balancer;
    balancer.prepare(backends.all);
    const auto before = picks(balancer, backends.everybody());
    const auto after = picks(balancer, backends.all_but(backends[4]));
    std::map<const Backend*, int> heirs;
    int others_moved = 0;
    for (std::size_t i = 0; i < clients; ++i) {
        if (before[i] == &backends[4]) {
            ++heirs[after[i]];
        } else if (before[i] != after[i]) {
            ++others_moved;
        }
    }
    CHECK(others_moved == 0);
    CHECK(heirs.size() == 9);
    CHECK((picks(balancer, backends.everybody()) == before));
}

TEST_CASE("hash ring: one that goes takes nobody but its own clients along", "[proxy][balancer]") {
    for (const std::size_t count : {2U, 3U, 10U, 100U}) {
        BackendSet backends{std::vector<std::uint32_t>(count, 1)};
        HashRing balancer;
        balancer.prepare(backends.all);
        const auto before = picks(balancer, backends.everybody());
        std::vector<Backend*> rest = backends.all;
        rest.erase(rest.begin());
        balancer.prepare(rest);
        const auto after = picks(balancer, backends.those(rest));
        int others_moved = 0;
        for (std::size_t i = 0; i < clients; ++i)
            if (before[i] != backends.all[0] && before[i] != after[i]) ++others_moved;
        CHECK(others_moved == 0);
    }
}

TEST_CASE("hash ring: nobody gets beyond 125 % of their share, however clients are chosen",
          "[proxy][balancer]") {
    std::mt19937 random{1};
    for (const std::vector<std::uint32_t>& weights : std::vector<std::vector<std::uint32_t>>{
             {1, 1}, {1, 1, 1, 1, 1}, {1, 2, 3, 10}, {100, 1}}) {
        BackendSet backends{weights};
        backends.everybody();
        HashRing balancer;
        balancer.prepare(backends.all);
        for (int i = 0; i < 5000; ++i) {
            // Three clients are half of all: without the bound their backends would have that half.
            const std::uint32_t who =
                static_cast<std::uint32_t>(random() % 2 == 0 ? random() % 3 : random());
            const Backend* const picked =
                balancer.pick(backends.candidates, {.client = client(who)});
            REQUIRE(static_cast<double>(picked->active()) + 1 <=
                    bound(backends.candidates, *picked));
            backends.hold(*picked);
            if (random() % 4 == 0) {
                Backend& other = *backends.all[random() % backends.size()];
                if (other.active() > 0) backends.release(other);
            }
        }
    }
}

TEST_CASE("hash ring: a client keeps its backend while there is room", "[proxy][balancer]") {
    BackendSet backends{{1, 1, 1, 1}};
    backends.everybody();
    HashRing balancer;
    balancer.prepare(backends.all);
    const Backend* const own = balancer.pick(backends.candidates, {.client = client(1)});
    for (Backend* const backend : backends.all) backends.hold(*backend, 8);
    backends.hold(*own, 2);  // 10; with the new one there are 35, of which 5/4 of a quarter is 10.9
    CHECK(balancer.pick(backends.candidates, {.client = client(1)}) == own);
    backends.hold(*own, 1);  // 11; 5/4 of a quarter of 36 is 11.25
    CHECK(balancer.pick(backends.candidates, {.client = client(1)}) == own);
    backends.hold(*own, 1);  // 12; 11.6
    const Backend* const other = balancer.pick(backends.candidates, {.client = client(1)});
    CHECK(other != own);
    backends.release(*own, 1);
    CHECK(balancer.pick(backends.candidates, {.client = client(1)}) == own);
}

TEST_CASE("hash ring: one that starts slowly has a smaller share", "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    backends.everybody();
    HashRing balancer;
    balancer.prepare(backends.all);
    backends[1].set_share(Backend::full_share / 4);
    for (std::uint32_t i = 0; i < 1000; ++i)
        backends.hold(*balancer.pick(backends.candidates, {.client = client(i)}));
    CHECK(backends[1].active() <= 250);
    CHECK(backends[1].active() > 200);
}

TEST_CASE("hash ring: the lightest beside the heaviest have a point each", "[proxy][balancer]") {
    std::vector<std::uint32_t> weights(200, 0xffff'ffff);
    weights[0] = 1;
    weights[1] = 1;
    BackendSet backends{weights};
    HashRing balancer;
    balancer.prepare(backends.all);
    std::map<const Backend*, int> seen;
    for (const Backend* const backend : picks(balancer, backends.everybody())) ++seen[backend];
    CHECK(seen.size() >= 198);
    CHECK(seen[backends.all[0]] < 10);
    const Backend* const picked =
        balancer.pick(backends.those({&backends[0], &backends[1]}), {.client = {}});
    CHECK((picked == &backends[0] || picked == &backends[1]));
}

TEST_CASE("hash ring: the same backends made anew are the same", "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3}};
    HashRing balancer;
    balancer.prepare(backends.all);
    const auto before = picks(balancer, backends.everybody());
    BackendSet anew{{1, 2, 3}};
    balancer.prepare(anew.all);
    anew.everybody();
    for (std::uint32_t i = 0; i < 1000; ++i) {
        const Backend* const picked = balancer.pick(anew.candidates, {.client = client(i)});
        REQUIRE(picked == anew.all[before[i]->index()]);
    }
}
