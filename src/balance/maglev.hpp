#pragma once

#include "balance/balance_table.hpp"
#include "eplb/balancer.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

/// The table of Balance::source_hash, by index() of backends and by slots.
class MaglevTable final : public BalanceTable {
public:
    /// `before`: slots of owners that are alike are taken over; or nullptr.
    MaglevTable(std::vector<Identity> owners, const MaglevTable* before);

    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const Address& client) const noexcept;

private:
    void build();
    [[nodiscard]] const Backend* pick_by_score(const Candidates& candidates,
                                               std::uint64_t key) const noexcept;

    std::vector<std::uint64_t> ids_;    // by index()
    std::vector<std::uint16_t> slots_;  // a place in owners()
};

/// Balance::source_hash. The table of Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software
/// Network Load Balancer", NSDI 2016, 3.4): every backend has an order of its own in which it would
/// like to have the slots, and takes the next free one whenever it is its turn, until none is left.
/// Turns are in proportion to the weights. Shares are even to a slot or so, and when a backend goes
/// little else moves than what was its own.
class Maglev final : public TableBalancer {
public:
    /// A prime, far more than there are backends: with a thousand, a share is 65 slots. Those beyond
    /// 65,535 backends get no slot.
    static constexpr std::uint32_t table_size = 65'537;

    void prepare(std::span<const Backend* const> backends) override;
    void use(std::shared_ptr<const BalanceTable> table,
             std::span<const Backend* const> backends) override;

    /// The owner of the client's slot. If that is no candidate, the owner of another slot that is
    /// the client's too, and so on: only the clients of who is missing go elsewhere, each to where
    /// its own hash says, and they come back with it. Clients without an address get each in turn.
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;

private:
    std::shared_ptr<const MaglevTable> table_;
    RoundRobin turns_;  // of clients without a key
};

}  // namespace eplb
