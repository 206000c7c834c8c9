// Who there is, what is remembered of them, and time; the rest is in supervisor_checks and
// supervisor_ejections.
#include "proxy/supervisor.hpp"

#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "proxy/supervisor_impl.hpp"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <utility>

namespace eplb {
namespace {

using namespace std::string_view_literals;

constexpr int slow_start_steps = 32;
// What there is no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

// Who it is, should it leave and return.
std::string identity(const ServiceBackend& member) {
    const Backend& backend = *member.backend;
    return fmt::format("{}\0{}\0{}"sv, member.service->name, backend.name(),
                       backend.address().to_string());
}

std::string_view to_word(Backend::Wanted wanted) noexcept {
    switch (wanted) {
    case Backend::Wanted::drain: return "to be drained";
    case Backend::Wanted::maintenance: return "in maintenance";
    case Backend::Wanted::up: break;
    }
    return "wanted";
}

// Its backends are checked, and ejected, as they were.
bool gives_same_orders(const ServiceConfig& a, const ServiceConfig& b) {
    return a.check == b.check && a.socket == b.socket && a.sources == b.sources &&
           a.send_proxy == b.send_proxy && a.eject_after == b.eject_after;
}

}  // namespace

Supervisor::Supervisor(Reactor& reactor, ProxyObserver& observer, Hooks hooks)
    : reactor_{reactor}, observer_{observer}, hooks_{std::move(hooks)}, timer_{reactor, *this} {}

Supervisor::~Supervisor() = default;

void Supervisor::announce(const std::vector<ServiceBackend>& members) {
    const TimePoint now = reactor_.now();
    memory_.tidy(now);
    for (const ServiceBackend& member : members) {
        Entry*& known = by_backend_[member.backend.get()];
        if (known != nullptr) continue;
        auto entry = std::make_unique<Entry>();
        entry->member = member;
        entry->index = announced_.size();
        if (const Verdict* const verdict = memory_.recall(identity(member), now)) {
            recall(*entry, *verdict);
        } else if (member.service->check.type != CheckConfig::Type::none) {
            member.backend->set_untried(true);
        }
        known = entry.get();
        announced_.push_back(std::move(entry));
    }
}

void Supervisor::supervise(const std::vector<ServiceBackend>& members) {
    std::vector<std::unique_ptr<Entry>> entries;
    entries.reserve(members.size());
    // Those of one service stand together: what it says is compared once.
    const ServiceConfig* before = nullptr;
    const ServiceConfig* now = nullptr;
    bool same_orders = false;
    for (const ServiceBackend& member : members) {
        Entry*& known = by_backend_[member.backend.get()];
        std::unique_ptr<Entry> entry;
        for (auto* const all : {&entries_, &announced_}) {
            if (known == nullptr || known->index >= all->size()) continue;
            if ((*all)[known->index].get() == known) entry = std::move((*all)[known->index]);
        }
        if (!entry) entry = std::make_unique<Entry>();
        known = entry.get();
        const ServiceConfig* const old = entry->member.service.get();
        if (old != nullptr && (old != before || member.service.get() != now)) {
            before = old;
            now = member.service.get();
            same_orders = before == now || gives_same_orders(*before, *now);
        }
        if (old == nullptr || !same_orders) entry->has_orders = false;
        entry->member = member;
        entry->index = entries.size();
        entries.push_back(std::move(entry));
    }
    for (const auto* const all : {&entries_, &announced_}) {
        for (const auto& entry : *all) {
            if (!entry) continue;
            remember(*entry);
            by_backend_.erase(entry->member.backend.get());
        }
    }
    announced_.clear();
    entries_ = std::move(entries);
    for (const auto& entry : entries_) {
        if (std::exchange(entry->has_orders, true)) continue;
        if (entry->member.backend->ejected() && entry->member.service->eject_after == 0)
            end_ejection(*entry);
        update_check(*entry);
    }
    schedule();
}

// For as long as its checks would need to find the same again; where there are none, as long as the
// usual ones would.
void Supervisor::remember(Entry& entry) {
    Backend& backend = *entry.member.backend;
    const CheckConfig& check = entry.member.service->check;
    const health::Health health = entry.checker ? entry.checker->health() : entry.health;
    Verdict verdict{.wanted = backend.wanted(),
                    .untried = backend.untried(),
                    .health = health,
                    .cause = std::move(entry.cause),
                    .ejections = entry.ejections,
                    .failures_in_a_row = backend.failures_in_a_row(),
                    .ejected_until = entry.ejected_until,
                    .ejected = backend.ejected(),
                    .slow_since = entry.slow_since};
    Duration time = check.timeout;
    for (unsigned i = 0; i < std::max(check.fall, 1U) && time < Duration::max(); ++i)
        time = saturating_add(time, check.interval);
    memory_.remember(identity(entry.member), std::move(verdict),
                     saturating_add(reactor_.now(), time));
    backend.set_down(false);
    backend.set_ejected(false);
    backend.set_untried(false);
    backend.set_share(Backend::full_share);
}

void Supervisor::recall(Entry& entry, const Verdict& verdict) {
    Backend& backend = *entry.member.backend;
    const ServiceConfig& service = *entry.member.service;
    const TimePoint now = reactor_.now();
    const bool checked = service.check.type != CheckConfig::Type::none;
    std::string was;
    const auto add = [&was](std::string_view what) {
        was += was.empty() ? "" : ", ";
        was += what;
    };
    backend.set_failures_in_a_row(verdict.failures_in_a_row);
    entry.ejections = verdict.ejections;
    if (checked) {
        entry.health = verdict.health;
        entry.cause = verdict.cause;
        backend.set_untried(verdict.untried);
        backend.set_down(verdict.health == health::Health::down);
        if (backend.down()) add(fmt::format("down: {}", entry.cause));
    }
    if (verdict.ejected && verdict.ejected_until > now && service.eject_after != 0) {
        entry.ejected_until = verdict.ejected_until;
        backend.set_ejected(true);
        add("left alone");
    }
    if (verdict.wanted != Backend::Wanted::up) add(to_word(verdict.wanted));
    backend.set_wanted(verdict.wanted);
    if (verdict.slow_since != TimePoint::max()) {
        entry.slow_since = verdict.slow_since;
        update_slow_start(entry, now);
    }
    if (!was.empty()) tell(LogLevel::info, entry.member, "is back, and as it was: {}", was);
}

void Supervisor::set_wanted(const ServiceBackend& member, Backend::Wanted wanted) {
    Backend& backend = *member.backend;
    if (backend.wanted() == wanted) return;
    backend.set_wanted(wanted);
    tell(LogLevel::info, member, "is {}", to_word(wanted));
    Entry* const entry = find(backend);
    if (entry != nullptr) update_check(*entry);
    if (entry != nullptr && wanted == Backend::Wanted::up) {
        came_back(*entry);
    } else {
        hooks_.on_change();
    }
}

Next Supervisor::run() {
    if (!timer_.take_fired()) return Next::wait;
    const TimePoint now = reactor_.now();
    for (const auto& entry : entries_) {
        if (entry->ejected_until <= now) end_ejection(*entry);
        if (entry->slow_since <= now) update_slow_start(*entry, now);
        if (entry->down_untold) tell_down(*entry);
    }
    schedule();
    return Next::wait;
}

void Supervisor::schedule() noexcept {
    TimePoint next = TimePoint::max();
    for (const auto& entry : entries_) {
        next = std::min(next, entry->ejected_until);
        if (entry->down_untold) next = std::min(next, reactor_.now() + patience);
        if (entry->slow_since == TimePoint::max()) continue;
        const Duration step =
            std::max(entry->member.service->slow_start / slow_start_steps, Duration{1});
        const auto done = (reactor_.now() - entry->slow_since) / step;
        next = std::min(next, entry->slow_since + (done + 1) * step);
    }
    if (next == TimePoint::max()) {
        timer_.cancel();
    } else {
        timer_.start_at(next);
    }
}

Supervisor::Entry* Supervisor::find(const Backend& backend) noexcept {
    const auto found = by_backend_.find(&backend);
    return found == by_backend_.end() ? nullptr : found->second;
}

}  // namespace eplb
