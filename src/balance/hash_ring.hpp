#pragma once

#include "balance/balance_table.hpp"
#include "eplb/balancer.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

/// The ring of Balance::consistent.
class HashRingTable final : public BalanceTable {
public:
    /// `before`: points of owners that are alike are taken over; or nullptr.
    HashRingTable(std::vector<Identity> owners, const HashRingTable* before);

    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const Address& client) const noexcept;

private:
    struct Point {
        std::uint32_t position;
        std::uint32_t owner;  // a place in owners()
    };

    void build();

    std::vector<Point> points_;  // by position
};

/// Balance::consistent. Every backend has points on a ring, in proportion to its weight, and a
/// client gets the backend of the next point clockwise, but for those that have all that they may:
/// consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018).
class HashRing final : public TableBalancer {
public:
    /// Of the lightest backend, unless that would make more points than most_points.
    static constexpr std::uint64_t points_per_backend = 160;
    /// Of all of them; but nobody has less than one.
    static constexpr std::uint64_t most_points = 131'072;

    void prepare(std::span<const Backend* const> backends) override;
    void use(std::shared_ptr<const BalanceTable> table,
             std::span<const Backend* const> backends) override;

    /// Who has sessions is counted over the candidates: what the others had is to be taken over.
    /// Clients without an address get each in turn.
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;

private:
    std::shared_ptr<const HashRingTable> table_;
    RoundRobin turns_;  // of clients without a key
};

}  // namespace eplb
