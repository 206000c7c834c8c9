#pragma once

#include "eplb/balancer.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace eplb {

/// Those backends that cost least, by whatever a policy reckons, in the order in which they were
/// offered; and whose turn it is among them, in proportion to their weights.
template <class Cost>
class Ties {
public:
    /// As Balancer::prepare(). None of the others allocates after it.
    void prepare(std::span<const Backend* const> backends) {
        turns_.prepare(backends);
        least_.clear();
        least_.reserve(backends.size());
    }
    void clear() noexcept { least_.clear(); }
    void offer(const Backend* backend, Cost cost) noexcept {
        if (!least_.empty() && cost > lowest_) return;
        if (least_.empty() || cost < lowest_) {
            lowest_ = cost;
            least_.clear();
        }
        least_.push_back(backend);
    }
    [[nodiscard]] const Backend* next() noexcept { return turns_.next(least_); }

private:
    RoundRobin turns_;
    std::vector<const Backend*> least_;
    Cost lowest_{};
};

}  // namespace eplb
