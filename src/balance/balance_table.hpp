#pragma once

#include "balance/affinity.hpp"
#include "eplb/balancer.hpp"

#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace eplb {

/// What a policy goes by that sends a client to the same backend each time. Takes long to build, so
/// that is done once for all workers, and away from them. Never changes: any thread may read it.
class BalanceTable {
public:
    explicit BalanceTable(std::vector<Identity> owners) noexcept : owners_{std::move(owners)} {}
    virtual ~BalanceTable() = default;
    BalanceTable(const BalanceTable&) = delete;
    BalanceTable& operator=(const BalanceTable&) = delete;

    /// As identities_of() has them.
    [[nodiscard]] const std::vector<Identity>& owners() const noexcept { return owners_; }

private:
    std::vector<Identity> owners_;
};

/// A policy that goes by such a table: one that it is given, or one that it builds in prepare().
class TableBalancer : public Balancer {
public:
    /// Instead of prepare(); `table` was made of `backends`, for this policy.
    virtual void use(std::shared_ptr<const BalanceTable> table,
                     std::span<const Backend* const> backends) = 0;
};

/// Whether make_balancer() makes a TableBalancer of it.
[[nodiscard]] bool goes_by_table(Balance policy) noexcept;

/// For a policy that goes by one. What is as in `before`, which is of the same policy or of another,
/// or nullptr, is not built again.
[[nodiscard]] std::shared_ptr<const BalanceTable> make_balance_table(Balance policy,
                                                                     std::vector<Identity> owners,
                                                                     const BalanceTable* before);

}  // namespace eplb
