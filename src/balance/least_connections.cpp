#include "balance/least_connections.hpp"

#include "balance/load.hpp"

namespace eplb {

void LeastConnections::prepare(std::span<Backend* const> backends) {
    turns_.prepare(backends);
    tied_.clear();
    tied_.reserve(backends.size());
}

// Where sessions are short, most backends have none most of the time: without turns among those
// who tie, the first would get nearly everything, and without weights among them, weights would
// count for nothing.
Backend* LeastConnections::pick(const Candidates& candidates, const Address&, TimePoint) noexcept {
    tied_.clear();
    Load lowest{};
    for (Backend* const candidate : candidates.all()) {
        const Load load = Load::of(*candidate);
        if (!tied_.empty() && load > lowest) continue;
        if (tied_.empty() || load < lowest) {
            lowest = load;
            tied_.clear();
        }
        tied_.push_back(candidate);
    }
    return turns_.next(tied_);
}

}  // namespace eplb
