#pragma once

#include "balance/load.hpp"
#include "balance/ties.hpp"
#include "eplb/balancer.hpp"

namespace eplb {

/// Balance::leastconn.
class LeastConnections final : public Balancer {
public:
    void prepare(std::span<const Backend* const> backends) override;
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;

private:
    Ties<Load> ties_;
};

}  // namespace eplb
