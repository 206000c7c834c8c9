#include "balance/least_time.hpp"

#include "balance/load.hpp"

#include <algorithm>

namespace eplb {

void LeastTime::prepare(std::span<const Backend* const> backends) {
    ties_.prepare(backends);
    latencies_.clear();
    latencies_.reserve(backends.size());
}

const Backend* LeastTime::pick(const Candidates& candidates, const PickContext& context) noexcept {
    latencies_.clear();
    double highest = 1;  // nobody is known: then sessions and weights alone decide
    for (const Backend* const candidate : candidates.all()) {
        latencies_.push_back(static_cast<double>(candidate->latency().at(context.now).count()));
        highest = std::max(highest, latencies_.back());
    }
    ties_.clear();
    for (std::size_t i = 0; i < latencies_.size(); ++i) {
        const Backend* const candidate = candidates.all()[i];
        const Load load = Load::of(*candidate);
        ties_.offer(candidate, waiting_time(presumed_latency(latencies_[i], load, highest), load));
    }
    return ties_.next();
}

}  // namespace eplb
