#include "eplb/balancer.hpp"

#include <algorithm>

namespace eplb {

// What they have saved up stays theirs when others come and go.
void RoundRobin::prepare(std::span<Backend* const> backends) {
    for (const Backend* const backend : backends)
        credit_.resize(std::max(credit_.size(), backend->index() + 1), 0);
}

Backend* RoundRobin::pick(const Candidates& candidates, const Address&, TimePoint) noexcept {
    Backend* best = nullptr;
    std::int64_t total = 0;
    for (Backend* const candidate : candidates.all()) {
        const auto weight = static_cast<std::int64_t>(candidate->effective_weight());
        std::int64_t& credit = credit_[candidate->index()];
        credit += weight;
        total += weight;
        if (best == nullptr || credit > credit_[best->index()]) best = candidate;
    }
    if (best != nullptr) credit_[best->index()] -= total;
    return best;
}

}  // namespace eplb
