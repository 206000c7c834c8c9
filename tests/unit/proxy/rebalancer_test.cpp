#include "proxy/rebalancer.hpp"

#include "support/catch.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

using eplb::Address;
using eplb::Backend;
using eplb::Rebalancer;

namespace {

// Backends with so many sessions each.
class Backends {
public:
    explicit Backends(const std::vector<std::size_t>& sessions,
                      const std::vector<std::uint32_t>& weights = {}) {
        for (std::size_t i = 0; i < sessions.size(); ++i) {
            const std::uint32_t weight = weights.empty() ? 1 : weights[i];
            backends_.emplace_back(i, std::to_string(i), Address::parse("10.0.0.1:1"), weight);
            all.push_back(&backends_.back());
            leases_.emplace_back();
            for (std::size_t n = 0; n < sessions[i]; ++n)
                leases_.back().emplace_back(backends_.back());
        }
    }

    // Takes what may be taken, from each in turn; returns how much that was, by backend.
    std::vector<std::size_t> take_all(Rebalancer& rebalancer) {
        std::vector<std::size_t> taken(all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            while (!leases_[i].empty() && rebalancer.take_from(*all[i])) ++taken[i];
        }
        for (std::size_t i = 0; i < all.size(); ++i) {
            for (std::size_t n = 0; n < taken[i]; ++n) leases_[i].pop_back();
        }
        return taken;
    }
    void give(std::size_t index, std::size_t count) {
        for (std::size_t n = 0; n < count; ++n) leases_[index].emplace_back(*all[index]);
    }

    std::vector<Backend*> all;

private:
    std::deque<Backend> backends_;
    std::deque<std::vector<Backend::Lease>> leases_;
};

using Counts = std::vector<std::size_t>;

}  // namespace

TEST_CASE("rebalancer: takes a hundredth at a time, from who has more than a tenth too many",
          "[proxy][rebalancer]") {
    Rebalancer rebalancer;
    Backends backends{{300, 300, 0}};
    CHECK(backends.take_all(rebalancer) == Counts{0, 0, 0});  // nothing planned
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{6, 0, 0});
    CHECK(backends.take_all(rebalancer) == Counts{0, 0, 0});
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{5, 0, 0});
}

TEST_CASE("rebalancer: comes to rest", "[proxy][rebalancer]") {
    Rebalancer rebalancer;
    Backends backends{{500, 0, 20}, {2, 1, 1}};
    std::size_t moved = 0;
    for (int round = 0; round < 500; ++round) {
        rebalancer.plan(backends.all);
        for (const std::size_t count : backends.take_all(rebalancer)) {
            moved += count;
            for (std::size_t n = 0; n < count; ++n) {
                backends.give(backends.all[1]->active() < backends.all[2]->active() ? 1 : 2, 1);
            }
        }
    }
    CHECK(moved > 200);
    CHECK(backends.all[0]->active() >= 260);
    CHECK(backends.all[0]->active() <= 290);
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{0, 0, 0});
}

TEST_CASE("rebalancer: nothing is taken where nobody lacks anything, or is there to take it",
          "[proxy][rebalancer]") {
    const std::vector<Counts> rows{{}, {0, 0}, {1}, {1000}, {1, 0}, {2, 1}, {100, 95}, {0, 1, 1}};
    for (const Counts& sessions : rows) {
        CAPTURE(sessions);
        Rebalancer rebalancer;
        Backends backends{sessions};
        rebalancer.plan(backends.all);
        CHECK(backends.take_all(rebalancer) == Counts(sessions.size(), 0));
    }
    Rebalancer rebalancer;
    Backends backends{{100, 0}};
    backends.all[1]->set_down(true);
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{0, 0});
    backends.all[1]->set_down(false);
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{1, 0});
    backends.all[1]->set_max_connections(1);
    backends.give(1, 1);  // it lacks, but takes nobody
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{0, 0});
    for (Backend* const backend : backends.all) backend->set_down(true);
    rebalancer.plan(backends.all);
    CHECK(backends.take_all(rebalancer) == Counts{0, 0});
}
