#include "proxy/verdict_memory.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

namespace eplb {

void VerdictMemory::remember(std::string who, Verdict verdict, TimePoint until) {
    known_.insert_or_assign(std::move(who), Known{std::move(verdict), until});
    if (known_.size() >= 2 * most) forget_earliest();
}

const Verdict* VerdictMemory::recall(std::string_view who, TimePoint now) const {
    const auto found = known_.find(who);
    return found == known_.end() || found->second.until <= now ? nullptr : &found->second.verdict;
}

void VerdictMemory::tidy(TimePoint now) {
    std::erase_if(known_, [now](const auto& entry) { return entry.second.until <= now; });
    if (known_.size() > most) forget_earliest();
}

// Half of them at a time, so that remembering many stays linear.
void VerdictMemory::forget_earliest() {
    std::vector<TimePoint> times;
    times.reserve(known_.size());
    for (const auto& [who, known] : known_) times.push_back(known.until);
    const auto limit = times.end() - static_cast<std::ptrdiff_t>(most);
    std::nth_element(times.begin(), limit, times.end());
    std::erase_if(known_, [&](const auto& entry) { return entry.second.until < *limit; });
    for (auto at = known_.begin(); at != known_.end() && known_.size() > most;)
        at = at->second.until == *limit ? known_.erase(at) : std::next(at);
}

}  // namespace eplb
