#include "proxy/rebalancer.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace eplb {

void Rebalancer::plan(std::span<Backend* const> backends, std::size_t workers) {
    static constexpr std::size_t any = std::numeric_limits<std::size_t>::max();
    std::uint64_t sessions = 0;
    std::uint64_t weights = 0;
    std::size_t index_end = 0;
    for (const Backend* const backend : backends) {
        index_end = std::max(index_end, backend->index() + 1);
        if (!backend->usable()) continue;
        sessions += backend->active();
        weights += backend->effective_weight();
    }
    enough_.assign(index_end, any);
    left_ = 0;
    if (weights == 0) return;  // nobody was usable; somebody may be by now
    bool somebody_lacks = false;
    for (const Backend* const backend : backends) {
        if (!backend->usable()) continue;
        const std::uint64_t share = sessions * backend->effective_weight() / weights;
        const std::uint64_t tolerance = std::max<std::uint64_t>(share / 10, 1);
        enough_[backend->index()] = share + tolerance;
        somebody_lacks =
            somebody_lacks || (!backend->full() && backend->active() + tolerance < share);
    }
    if (somebody_lacks) left_ = std::max<std::size_t>(sessions / 100 / workers, 1);
}

bool Rebalancer::has_too_many(const Backend& backend) const noexcept {
    return left_ > 0 && backend.index() < enough_.size() &&
           backend.active() > enough_[backend.index()];
}

// Those that were taken are counted as its sessions until they are over: in the next turn.
bool Rebalancer::take_from(const Backend& backend) noexcept {
    if (!has_too_many(backend)) return false;
    ++enough_[backend.index()];
    --left_;
    return true;
}

}  // namespace eplb
