#include "balance/least_time.hpp"

#include "balance/load.hpp"

#include <algorithm>

namespace eplb {

void LeastTime::prepare(std::span<Backend* const> backends) {
    turns_.prepare(backends);
    latencies_.clear();
    latencies_.reserve(backends.size());
    tied_.clear();
    tied_.reserve(backends.size());
}

Backend* LeastTime::pick(const Candidates& candidates, const Address&, TimePoint now) noexcept {
    latencies_.clear();
    double highest = 1;  // nobody is known: then sessions and weights alone decide
    for (const Backend* const candidate : candidates.all()) {
        latencies_.push_back(static_cast<double>(candidate->latency().at(now).count()));
        highest = std::max(highest, latencies_.back());
    }
    tied_.clear();
    double lowest = 0;
    for (std::size_t i = 0; i < latencies_.size(); ++i) {
        Backend* const candidate = candidates.all()[i];
        const Load load = Load::of(*candidate);
        const double time = waiting_time(presumed_latency(latencies_[i], load, highest), load);
        if (!tied_.empty() && time > lowest) continue;
        if (tied_.empty() || time < lowest) {
            lowest = time;
            tied_.clear();
        }
        tied_.push_back(candidate);
    }
    return turns_.next(tied_);
}

}  // namespace eplb
