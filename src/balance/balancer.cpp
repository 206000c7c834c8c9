#include "eplb/balancer.hpp"

#include "balance/hash_ring.hpp"
#include "balance/least_connections.hpp"
#include "balance/least_time.hpp"
#include "balance/maglev.hpp"
#include "balance/two_choices.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace eplb {
namespace {

class First final : public Balancer {
public:
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext&) noexcept override {
        return candidates.empty() ? nullptr : candidates.all().front();
    }
};

}  // namespace

// Those who stay keep what they have saved up, as far as they differ: what those who left had saved,
// somebody owes them, and a newcomer, who has nothing, would have to make up for that.
void RoundRobin::prepare(std::span<const Backend* const> backends) {
    std::size_t end = 0;
    for (const Backend* const backend : backends) end = std::max(end, backend->index() + 1);
    std::vector<Account> accounts(end);
    double saved = 0;
    std::vector<Account*> known;
    for (const Backend* const backend : backends) {
        const std::size_t index = backend->index();
        Account& account = accounts[index];
        if (index < accounts_.size() && accounts_[index].owner == backend) {
            account = accounts_[index];
            saved += account.credit / account.total;
            known.push_back(&account);
        }
        account.owner = backend;
    }
    const auto were = std::ranges::count_if(
        accounts_, [](const Account& account) { return account.owner != nullptr; });
    // As it is, to the last bit, where nobody left.
    const double surplus = known.size() == static_cast<std::size_t>(were)
                               ? 0
                               : saved / static_cast<double>(known.size());
    for (Account* const account : known)
        account->credit =
            std::clamp(account->credit - surplus * account->total, -account->total, account->total);
    accounts_ = std::move(accounts);
}

const Backend* RoundRobin::pick(const Candidates& candidates, const PickContext&) noexcept {
    return next(candidates.all());
}

const Backend* RoundRobin::next(std::span<const Backend* const> among) noexcept {
    double total = 0;
    for (const Backend* const candidate : among)
        total += static_cast<double>(candidate->effective_weight());
    if (total == 0) total = 1;  // all weights are gone
    const Backend* best = nullptr;
    double highest = 0;
    double gained = 0;  // other threads change weights
    for (const Backend* const candidate : among) {
        Account& account = accounts_[candidate->index()];
        if (account.total != total) {
            account.credit *= total / account.total;
            account.total = total;
        }
        const auto weight = static_cast<double>(candidate->effective_weight());
        account.credit += weight;
        gained += weight;
        if (best != nullptr && account.credit <= highest) continue;
        best = candidate;
        highest = account.credit;
    }
    if (best != nullptr) accounts_[best->index()].credit -= gained;
    return best;
}

std::unique_ptr<Balancer> make_balancer(Balance policy, std::uint64_t seed) {
    switch (policy) {
    case Balance::round_robin: return std::make_unique<RoundRobin>();
    case Balance::leastconn: return std::make_unique<LeastConnections>();
    case Balance::random: return std::make_unique<RandomOfTwo>(seed);
    case Balance::first: return std::make_unique<First>();
    case Balance::source_hash: return std::make_unique<Maglev>();
    case Balance::consistent: return std::make_unique<HashRing>();
    case Balance::least_time: return std::make_unique<LeastTime>();
    case Balance::peak_ewma: return std::make_unique<FasterOfTwo>(seed);
    }
    assert(false);
    return nullptr;
}

}  // namespace eplb
