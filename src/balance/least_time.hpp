#pragma once

#include "balance/ties.hpp"
#include "eplb/balancer.hpp"

#include <vector>

namespace eplb {

/// Balance::least_time.
class LeastTime final : public Balancer {
public:
    void prepare(std::span<const Backend* const> backends) override;
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;

private:
    std::vector<double> latencies_;  // of the candidates, in their order
    Ties<double> ties_;
};

}  // namespace eplb
