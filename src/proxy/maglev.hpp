#pragma once

#include "eplb/balancer.hpp"
#include "proxy/affinity.hpp"

#include <cstdint>
#include <vector>

namespace eplb {

/// Balance::source_hash. The table of Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software
/// Network Load Balancer", NSDI 2016, 3.4): every backend has an order of its own in which it would
/// like to have the slots, and takes the next free one whenever it is its turn, until none is left.
/// Turns are in proportion to the weights. Shares are even to a slot or so, and when a backend goes
/// little else moves than what was its own.
class Maglev final : public Balancer {
public:
    /// A prime, far more than there are backends: with a thousand, a share is 65 slots. Those beyond
    /// 65,535 backends get no slot.
    static constexpr std::uint32_t table_size = 65'537;

    void prepare(std::span<Backend* const> backends) noexcept override;

    /// The owner of the client's slot. If that is no candidate, the owner of another slot that is
    /// the client's too, and so on: only the clients of who is missing go elsewhere, each to where
    /// its own hash says, and they come back with it.
    [[nodiscard]] Backend* pick(const Candidates& candidates, const Address& client,
                                TimePoint now) noexcept override;

private:
    void build();
    [[nodiscard]] Backend* pick_by_score(const Candidates& candidates,
                                         std::uint64_t key) const noexcept;

    std::vector<Identity> owners_;
    std::vector<std::uint64_t> ids_;    // by index()
    std::vector<std::uint16_t> slots_;  // a place in owners_
};

}  // namespace eplb
