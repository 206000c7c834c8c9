#pragma once

#include "eplb/balancer.hpp"

#include <vector>

namespace eplb {

/// Balance::leastconn.
class LeastConnections final : public Balancer {
public:
    void prepare(std::span<Backend* const> backends) override;
    [[nodiscard]] Backend* pick(const Candidates& candidates, const Address& client,
                                TimePoint now) noexcept override;

private:
    RoundRobin turns_;
    std::vector<Backend*> tied_;
};

}  // namespace eplb
