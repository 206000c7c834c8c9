#include "balance/two_choices.hpp"

#include "balance/load.hpp"

#include <algorithm>

namespace eplb {

void TwoChoices::prepare(std::span<const Backend* const> backends) {
    ends_.clear();
    ends_.reserve(backends.size());
}

// A lottery: each has as many tickets as its weight, in the order of the candidates. For the second
// draw, the tickets of the first winner are taken out of the row.
const Backend* TwoChoices::pick(const Candidates& candidates, const PickContext& context) noexcept {
    const std::span<const Backend* const> all = candidates.all();
    if (all.size() <= 1) return all.empty() ? nullptr : all.front();

    ends_.clear();
    std::uint64_t total = 0;
    for (const Backend* const candidate : all)
        ends_.push_back(total += candidate->effective_weight());

    const std::size_t first = owner_of(draw(total));
    const std::uint64_t begin = first == 0 ? 0 : ends_[first - 1];
    const std::uint64_t taken = ends_[first] - begin;
    std::uint64_t ticket = draw(total - taken);
    if (ticket >= begin) ticket += taken;
    const std::size_t second = owner_of(ticket);
    return is_second_better(*all[first], *all[second], context.now) ? all[second] : all[first];
}

// SplitMix64, a counter that is stirred well: one addition, two multiplications, and no state that
// it could get stuck in. The high half of a product is below `end`, and uneven by 1 in 2^64 / end.
std::uint64_t TwoChoices::draw(std::uint64_t end) noexcept {
    __extension__ using Wide = unsigned __int128;
    state_ += 0x9e37'79b9'7f4a'7c15;
    std::uint64_t stirred = state_;
    stirred = (stirred ^ stirred >> 30) * 0xbf58'476d'1ce4'e5b9;
    stirred = (stirred ^ stirred >> 27) * 0x94d0'49bb'1331'11eb;
    stirred ^= stirred >> 31;
    return static_cast<std::uint64_t>(Wide{stirred} * end >> 64);
}

// The last one, if there is no such ticket: all others have lost their weights meanwhile.
std::size_t TwoChoices::owner_of(std::uint64_t ticket) const noexcept {
    const auto end = std::upper_bound(ends_.begin(), ends_.end() - 1, ticket);
    return static_cast<std::size_t>(end - ends_.begin());
}

bool RandomOfTwo::is_second_better(const Backend& first, const Backend& second,
                                   TimePoint) const noexcept {
    return Load::of(second) < Load::of(first);
}

bool FasterOfTwo::is_second_better(const Backend& first, const Backend& second,
                                   TimePoint now) const noexcept {
    const Load load_a = Load::of(first);
    const Load load_b = Load::of(second);
    const auto known_a = static_cast<double>(first.latency().at(now).count());
    const auto known_b = static_cast<double>(second.latency().at(now).count());
    const double highest = std::max({known_a, known_b, 1.0});
    return waiting_time(presumed_latency(known_b, load_b, highest), load_b) <
           waiting_time(presumed_latency(known_a, load_a, highest), load_a);
}

}  // namespace eplb
