#include "balance/least_connections.hpp"

#include "balance/load.hpp"

namespace eplb {

void LeastConnections::prepare(std::span<const Backend* const> backends) {
    ties_.prepare(backends);
}

// Where sessions are short, most backends have none most of the time: without turns among those
// who tie, the first would get nearly everything, and without weights among them, weights would
// count for nothing.
const Backend* LeastConnections::pick(const Candidates& candidates, const PickContext&) noexcept {
    ties_.clear();
    for (const Backend* const candidate : candidates.all())
        ties_.offer(candidate, Load::of(*candidate));
    return ties_.next();
}

}  // namespace eplb
