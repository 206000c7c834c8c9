#include "balance/maglev.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace eplb {
namespace {

// Slots that are tried. If three in four owners are missing, the score decides for one client in a
// hundred; beyond that it is no dearer than the slots.
constexpr std::uint64_t tries = 16;
constexpr std::uint32_t table_size = Maglev::table_size;

constexpr std::uint64_t seed_of_start = 1;
constexpr std::uint64_t seed_of_step = 2;

}  // namespace

void Maglev::prepare(std::span<const Backend* const> backends) {
    use(std::make_shared<const MaglevTable>(identities_of(backends), table_.get()), backends);
}

void Maglev::use(std::shared_ptr<const BalanceTable> table,
                 std::span<const Backend* const> backends) {
    turns_.prepare(backends);
    table_ = std::static_pointer_cast<const MaglevTable>(std::move(table));
}

const Backend* Maglev::pick(const Candidates& candidates, const PickContext& context) noexcept {
    if (table_ == nullptr || candidates.empty()) return nullptr;
    if (!has_key(context.client)) return turns_.next(candidates.all());
    return table_->pick(candidates, context.client);
}

MaglevTable::MaglevTable(std::vector<Identity> owners, const MaglevTable* before)
    : BalanceTable{std::move(owners)} {
    for (const Identity& owner : this->owners()) {
        const std::size_t index = owner.backend->index();
        ids_.resize(std::max(ids_.size(), index + 1), 0);
        ids_[index] = owner.id;
    }
    if (before != nullptr && are_alike(this->owners(), before->owners())) {
        slots_ = before->slots_;
    } else {
        build();
    }
}

void MaglevTable::build() {
    const std::vector<Identity>& all = owners();
    constexpr std::uint16_t nobody = 0xffff;
    const std::size_t count = std::min<std::size_t>(all.size(), nobody);
    slots_.assign(count == 0 ? 0 : table_size, nobody);
    if (count == 0) return;

    struct Turn {
        std::uint32_t next;  // the slot that it would like to have now
        std::uint32_t step;
        std::uint64_t taken = 0;
    };
    std::vector<Turn> turns;
    // Apart from the rest, because it is looked at in every round. The round of the next turn: the
    // heaviest has one in each, all others in as many as their weight is of that.
    std::vector<std::uint64_t> rounds(count, 1);
    std::uint64_t heaviest = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t id = all[i].id;
        turns.push_back(
            {static_cast<std::uint32_t>(hash_of(id, seed_of_start) % table_size),
             static_cast<std::uint32_t>(hash_of(id, seed_of_step) % (table_size - 1) + 1)});
        heaviest = std::max<std::uint64_t>(heaviest, all[i].weight);
    }

    std::uint32_t left = table_size;
    for (std::uint64_t round = 1;; ++round) {
        for (std::size_t i = 0; i < count; ++i) {
            if (rounds[i] > round) continue;
            Turn& turn = turns[i];
            // A step that is not 0 leads through all of a prime number of slots.
            while (slots_[turn.next] != nobody) {
                turn.next += turn.step;
                if (turn.next >= table_size) turn.next -= table_size;
            }
            slots_[turn.next] = static_cast<std::uint16_t>(i);
            if (--left == 0) return;
            ++turn.taken;
            const std::uint64_t weight = all[i].weight;
            rounds[i] = std::max(round + 1, (turn.taken * heaviest + weight - 1) / weight);
        }
    }
}

const Backend* MaglevTable::pick(const Candidates& candidates,
                                 const Address& client) const noexcept {
    if (candidates.empty() || slots_.empty()) return nullptr;
    const std::uint64_t key = key_of(client);
    std::uint64_t hash = key;
    for (std::uint64_t i = 1; i <= tries; ++i) {
        const Backend* const owner = owners()[slots_[hash % table_size]].backend;
        if (candidates.contains(*owner)) return owner;
        hash = hash_of(key, i);
    }
    return pick_by_score(candidates, key);
}

// Weighted rendezvous: each gives the client a number, and the best one wins; so who is missing
// changes nothing between the others. A number u between 0 and 1 is worth -weight / ln(u) (Schindelhauer
// and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005).
const Backend* MaglevTable::pick_by_score(const Candidates& candidates,
                                          std::uint64_t key) const noexcept {
    const Backend* best = nullptr;
    double highest = 0;
    for (const Backend* const candidate : candidates.all()) {
        const std::uint64_t hash = hash_of(key, ids_[candidate->index()]);
        const double u = (static_cast<double>(hash >> 11) + 0.5) * 0x1p-53;
        const double score = static_cast<double>(std::max(candidate->weight(), 1U)) / -std::log(u);
        if (best != nullptr && score <= highest) continue;
        best = candidate;
        highest = score;
    }
    return best;
}

}  // namespace eplb
