#include "balance/hash_ring.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace eplb {
namespace {

// Nobody has more than 5/4 of its share. The others then have to take a fifth of all at least, so
// a full one's clients find somebody after a few points.
constexpr std::uint64_t bound_over = 5;
constexpr std::uint64_t bound_under = 4;

constexpr std::uint64_t points_per_backend = HashRing::points_per_backend;
constexpr std::uint64_t most_points = HashRing::most_points;

std::uint32_t position_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

}  // namespace

void HashRing::prepare(std::span<const Backend* const> backends) {
    use(std::make_shared<const HashRingTable>(identities_of(backends), table_.get()), backends);
}

void HashRing::use(std::shared_ptr<const BalanceTable> table,
                   std::span<const Backend* const> backends) {
    turns_.prepare(backends);
    table_ = std::static_pointer_cast<const HashRingTable>(std::move(table));
}

const Backend* HashRing::pick(const Candidates& candidates, const PickContext& context) noexcept {
    if (table_ == nullptr || candidates.empty()) return nullptr;
    if (!has_key(context.client)) return turns_.next(candidates.all());
    return table_->pick(candidates, context.client);
}

HashRingTable::HashRingTable(std::vector<Identity> owners, const HashRingTable* before)
    : BalanceTable{std::move(owners)} {
    if (before != nullptr && are_alike(this->owners(), before->owners())) {
        points_ = before->points_;
    } else {
        build();
    }
}

void HashRingTable::build() {
    const std::vector<Identity>& all_owners = owners();
    if (all_owners.empty()) return;
    std::uint64_t total = 0;
    std::uint64_t lightest = std::numeric_limits<std::uint32_t>::max();
    for (const Identity& owner : all_owners) {
        total += owner.weight;
        lightest = std::min<std::uint64_t>(lightest, owner.weight);
    }
    // A weight has scale / per points.
    std::uint64_t scale = points_per_backend;
    std::uint64_t per = lightest;
    std::uint64_t all = total * scale / per;
    if (all > most_points) {
        scale = all = most_points;
        per = total;
    }
    points_.reserve(all + all_owners.size());
    for (std::size_t i = 0; i < all_owners.size(); ++i) {
        const std::uint64_t count = std::max<std::uint64_t>(all_owners[i].weight * scale / per, 1);
        for (std::uint64_t point = 0; point < count; ++point) {
            points_.push_back(
                {position_of(hash_of(point, all_owners[i].id)), static_cast<std::uint32_t>(i)});
        }
    }
    // Some positions are taken twice. The place in all_owners does not depend on the order of the
    // configuration.
    std::ranges::sort(points_, [](const Point& a, const Point& b) {
        return std::tie(a.position, a.owner) < std::tie(b.position, b.owner);
    });
}

// Somebody has room: if all had their bound, ceil(5/4 of the share of one more than there are),
// there would be more sessions than there are. Unless other threads change the numbers meanwhile,
// so the way ends after one turn of the ring.
const Backend* HashRingTable::pick(const Candidates& candidates,
                                   const Address& client) const noexcept {
    if (candidates.size() <= 1) return candidates.empty() ? nullptr : candidates.all().front();

    __extension__ using Wide = unsigned __int128;
    std::uint64_t sessions = 1;  // with the new one
    std::uint64_t weights = 0;
    for (const Backend* const candidate : candidates.all()) {
        sessions += candidate->active();
        weights += candidate->effective_weight();
    }
    // active < ceil(bound), and so active < bound, without dividing.
    const auto has_room = [&](const Backend& backend) {
        return Wide{backend.active()} * weights * bound_under <
               Wide{sessions} * backend.effective_weight() * bound_over;
    };

    const auto start =
        std::ranges::lower_bound(points_, position_of(key_of(client)), {}, &Point::position);
    auto at = static_cast<std::size_t>(start - points_.begin());
    const Backend* nearest = nullptr;
    for (std::size_t steps = 0; steps < points_.size(); ++steps, ++at) {
        if (at == points_.size()) at = 0;
        const Backend* const owner = owners()[points_[at].owner].backend;
        if (!candidates.contains(*owner)) continue;
        if (has_room(*owner)) return owner;
        if (nearest == nullptr) nearest = owner;
    }
    return nearest;
}

}  // namespace eplb
