#pragma once

#include "eplb/balancer.hpp"

#include <vector>

namespace eplb {

/// Balance::least_time.
class LeastTime final : public Balancer {
public:
    void prepare(std::span<Backend* const> backends) override;
    [[nodiscard]] Backend* pick(const Candidates& candidates, const Address& client,
                                TimePoint now) noexcept override;

private:
    RoundRobin turns_;
    std::vector<double> latencies_;  // of the candidates, in their order
    std::vector<Backend*> tied_;
};

}  // namespace eplb
