#include "eplb/balancer.hpp"

#include "proxy/hash_ring.hpp"
#include "proxy/least_connections.hpp"
#include "proxy/least_time.hpp"
#include "proxy/maglev.hpp"
#include "proxy/two_choices.hpp"

#include <algorithm>
#include <cassert>

namespace eplb {
namespace {

class First final : public Balancer {
public:
    [[nodiscard]] Backend* pick(const Candidates& candidates, const Address&,
                                TimePoint) noexcept override {
        return candidates.empty() ? nullptr : candidates.all().front();
    }
};

}  // namespace

// What they have saved up stays theirs when others come and go.
void RoundRobin::prepare(std::span<Backend* const> backends) noexcept {
    for (const Backend* const backend : backends)
        credit_.resize(std::max(credit_.size(), backend->index() + 1), 0);
}

Backend* RoundRobin::pick(const Candidates& candidates, const Address&, TimePoint) noexcept {
    return next(candidates.all());
}

Backend* RoundRobin::next(std::span<Backend* const> among) noexcept {
    Backend* best = nullptr;
    std::int64_t total = 0;
    for (Backend* const candidate : among) {
        const auto weight = static_cast<std::int64_t>(candidate->effective_weight());
        std::int64_t& credit = credit_[candidate->index()];
        credit += weight;
        total += weight;
        if (best == nullptr || credit > credit_[best->index()]) best = candidate;
    }
    if (best != nullptr) credit_[best->index()] -= total;
    return best;
}

std::unique_ptr<Balancer> make_balancer(Balance policy, std::uint64_t seed) {
    switch (policy) {
    case Balance::round_robin: return std::make_unique<RoundRobin>();
    case Balance::leastconn: return std::make_unique<LeastConnections>();
    case Balance::random: return std::make_unique<RandomOfTwo>(seed);
    case Balance::first: return std::make_unique<First>();
    case Balance::source_hash: return std::make_unique<Maglev>();
    case Balance::consistent: return std::make_unique<HashRing>();
    case Balance::least_time: return std::make_unique<LeastTime>();
    case Balance::peak_ewma: return std::make_unique<FasterOfTwo>(seed);
    }
    assert(false);
    return nullptr;
}

}  // namespace eplb
