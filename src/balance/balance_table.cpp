#include "balance/balance_table.hpp"

#include "balance/hash_ring.hpp"
#include "balance/maglev.hpp"

namespace eplb {

bool goes_by_table(Balance policy) noexcept {
    return policy == Balance::source_hash || policy == Balance::consistent;
}

std::shared_ptr<const BalanceTable> make_balance_table(Balance policy, std::vector<Identity> owners,
                                                       const BalanceTable* before) {
    if (policy == Balance::source_hash) {
        return std::make_shared<const MaglevTable>(std::move(owners),
                                                   dynamic_cast<const MaglevTable*>(before));
    }
    return std::make_shared<const HashRingTable>(std::move(owners),
                                                 dynamic_cast<const HashRingTable*>(before));
}

}  // namespace eplb
