#include "eplb/balancer.hpp"

namespace eplb {

Backend* RoundRobin::pick(std::span<Backend* const> candidates, const Address&) noexcept {
    Backend* best = nullptr;
    std::int64_t total = 0;
    for (Backend* const candidate : candidates) {
        std::int64_t& credit = credit_[candidate->index()];
        credit += candidate->weight();
        total += candidate->weight();
        if (best == nullptr || credit > credit_[best->index()]) best = candidate;
    }
    if (best != nullptr) credit_[best->index()] -= total;
    return best;
}

}  // namespace eplb
