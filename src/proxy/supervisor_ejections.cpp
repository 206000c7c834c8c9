// What clients experience: who fails them is left alone for a while, and comes back slowly.
#include "base/duration.hpp"
#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "proxy/supervisor_impl.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace eplb {

void Supervisor::on_failure(const Backend& backend) {
    Entry* const entry = find(backend);
    if (entry == nullptr || backend.ejected()) return;
    const ServiceConfig& service = *entry->member.service;
    if (service.eject_after == 0 || backend.failures_in_a_row() < service.eject_after ||
        !may_eject(*entry))
        return;
    const Duration longest = service.max_ejection_time;
    Duration time = std::min(service.ejection_time, longest);
    for (std::uint32_t i = 0; i < entry->ejections && time < longest; ++i)
        time = time < longest / 2 ? time * 2 : longest;
    ++entry->ejections;
    entry->ejected_until = saturating_add(reactor_.now(), time);
    const bool for_ever = entry->ejected_until == TimePoint::max();
    entry->member.backend->set_ejected(true);
    schedule();
    hooks_.on_change();
    tell(LogLevel::warning, entry->member,
         "is left alone for {}: {} clients in a row could not connect",
         for_ever ? "ever" : format_duration(time), backend.failures_in_a_row());
}

void Supervisor::on_success(const Backend& backend) {
    Entry* const entry = find(backend);
    if (entry == nullptr || entry->ejections == 0) return;
    entry->ejections = 0;
    if (backend.ejected()) {
        end_ejection(*entry);  // it was tried because nobody else worked either
    } else {
        tell(LogLevel::info, entry->member, "serves clients again");
    }
}

// As many as max_ejected_percent says, rounded down: the only one there is stays. Those whose checks
// fail are gone, too; of those that are untried nothing is known.
bool Supervisor::may_eject(const Entry& entry) const noexcept {
    std::size_t all = 0;
    std::size_t gone = 0;
    for (const auto& other : entries_) {
        const Backend& backend = *other->member.backend;
        if (other->member.service != entry.member.service || !backend.enabled() ||
            backend.untried() || other->member.absent)
            continue;
        ++all;
        if (backend.ejected() || backend.down()) ++gone;
    }
    return (gone + 1) * 100 <= all * entry.member.service->max_ejected_percent;
}

void Supervisor::end_ejection(Entry& entry) {
    entry.ejected_until = TimePoint::max();
    entry.member.backend->set_ejected(false);
    tell(LogLevel::info, entry.member, "gets clients again");
    came_back(entry);
}

void Supervisor::came_back(Entry& entry) {
    if (!entry.member.backend->usable()) return;
    if (entry.member.service->slow_start > Duration{0}) {
        entry.slow_since = reactor_.now();
        update_slow_start(entry, entry.slow_since);
        schedule();
    }
    hooks_.on_change();
}

void Supervisor::update_slow_start(Entry& entry, TimePoint now) noexcept {
    const Duration whole = entry.member.service->slow_start;
    const Duration gone = now - entry.slow_since;
    Backend& backend = *entry.member.backend;
    if (gone >= whole) {
        backend.set_share(Backend::full_share);
        entry.slow_since = TimePoint::max();
        return;
    }
    const double part = std::chrono::duration<double>{gone} / std::chrono::duration<double>{whole};
    backend.set_share(static_cast<std::uint32_t>(part * Backend::full_share));
}

}  // namespace eplb
