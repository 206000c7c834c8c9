#pragma once

#include "eplb/balancer.hpp"
#include "proxy/affinity.hpp"

#include <cstdint>
#include <vector>

namespace eplb {

/// Balance::consistent. Every backend has points on a ring, in proportion to its weight, and a
/// client gets the backend of the next point clockwise, but for those that have all that they may:
/// consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018).
class HashRing final : public Balancer {
public:
    /// Of the lightest backend, unless that would make more points than most_points.
    static constexpr std::uint64_t points_per_backend = 160;
    /// Of all of them; but nobody has less than one.
    static constexpr std::uint64_t most_points = 131'072;

    void prepare(std::span<Backend* const> backends) noexcept override;

    /// Who has sessions is counted over the candidates: what the others had is to be taken over.
    [[nodiscard]] Backend* pick(const Candidates& candidates, const Address& client,
                                TimePoint now) noexcept override;

private:
    struct Point {
        std::uint32_t position;
        std::uint32_t owner;  // a place in owners_
    };

    void build();

    std::vector<Identity> owners_;
    std::vector<Point> points_;  // by position
};

}  // namespace eplb
