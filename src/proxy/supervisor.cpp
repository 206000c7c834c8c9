#include "proxy/supervisor.hpp"

#include "base/duration.hpp"
#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "protocol/proxy_protocol.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <functional>
#include <iterator>
#include <new>
#include <span>
#include <utility>

namespace eplb {
namespace {

using namespace std::string_view_literals;

constexpr int slow_start_steps = 32;
// What there is no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

std::string label(const Backend& backend) {
    if (backend.name().empty()) return backend.address().to_string();
    return fmt::format("{}/{}", backend.name(), backend.address().to_string());
}

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

// For backends that expect a PROXY header: that there is no client.
std::string local_header(SendProxy version, const Address& own, const Address& peer) {
    std::array<std::byte, max_encoded_proxy_header> buffer;
    const std::size_t size = encode_local_proxy_header(version, own, peer, buffer);
    return {reinterpret_cast<const char*>(buffer.data()), size};
}

health::Checker::Route route_of(const ServiceConfig& service) {
    health::Checker::Route route{
        .socket = service.socket, .sources = service.sources, .preamble = {}};
    if (service.send_proxy != SendProxy::off) {
        route.preamble = [version = service.send_proxy](const Address& own, const Address& peer) {
            return local_header(version, own, peer);
        };
    }
    return route;
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

// Whatever there is to be told has happened already, with or without the memory for a line.
template <class... Arguments>
void Supervisor::tell(LogLevel level, const ServiceBackend& member,
                      fmt::format_string<const Arguments&...> what,
                      const Arguments&... arguments) noexcept {
    try {
        observer_.on_event(
            level, fmt::format("backend {} of {} {}", label(*member.backend), member.service->name,
                               fmt::format(what, arguments...)));
    } catch (const std::bad_alloc&) {}
}

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

// --- clients' experience

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

// --- checks

void Supervisor::update_check(Entry& entry) {
    const CheckConfig& wanted = entry.member.service->check;
    Backend& backend = *entry.member.backend;
    const bool off =
        wanted.type == CheckConfig::Type::none || backend.wanted() == Backend::Wanted::maintenance;
    if (off) {
        entry.checker.reset();
        entry.health = health::Health::unknown;
        if (wanted.type == CheckConfig::Type::none) backend.set_untried(false);
        if (!backend.down()) return;
        backend.set_down(false);
        entry.down_untold = false;
        tell(LogLevel::info, entry.member, "is not checked any more");
        hooks_.on_up(entry.member);
        came_back(entry);
        return;
    }
    if (entry.checker) {
        entry.checker->set_config(wanted);
        entry.checker->set_route(route_of(*entry.member.service));
        return;
    }
    // The backends of a configuration are not all asked in the same moment.
    static constexpr Duration spread = std::chrono::milliseconds{1};
    entry.checker = std::make_unique<health::Checker>(
        reactor_,
        health::Checker::Options{.backend = backend.address(),
                                 .config = wanted,
                                 .route = route_of(*entry.member.service),
                                 .offset = spread * static_cast<int>(entry.index % 100),
                                 .seed = std::hash<std::string>{}(label(backend)),
                                 .health = entry.health},
        [this, &entry](const health::CheckResult& result) { on_check(entry, result); });
}

// Without memory for the cause, it is one without words.
void Supervisor::set_cause(Entry& entry, const std::string& cause) noexcept {
    try {
        entry.cause = cause;
    } catch (const std::bad_alloc&) {
        entry.cause.clear();
    }
}

// What becomes of its sessions takes memory. If there is none, that is tried again.
void Supervisor::tell_down(Entry& entry) noexcept {
    entry.down_untold = false;
    try {
        hooks_.on_down(entry.member);
    } catch (const std::bad_alloc&) {
        entry.down_untold = true;
        schedule();
    }
}

void Supervisor::on_check(Entry& entry, const health::CheckResult& result) noexcept {
    using Outcome = health::CheckResult::Outcome;
    Backend& backend = *entry.member.backend;
    if (result.outcome == Outcome::local_error) {
        if (entry.cause == result.cause) return;
        set_cause(entry, result.cause);
        tell(LogLevel::warning, entry.member, "cannot be checked: {}", result.cause);
        return;
    }
    set_cause(entry, result.cause);
    if (!result.transition) return;
    const bool was_untried = backend.untried();
    backend.set_untried(false);
    if (result.transition->to == health::Health::down) {
        backend.set_down(true);
        tell(LogLevel::warning, entry.member, "is down: {}", result.cause);
        tell_down(entry);
        hooks_.on_change();
        return;
    }
    if (!backend.down() && !was_untried) return;  // the first check of all passed
    backend.set_down(false);
    entry.down_untold = false;
    tell(LogLevel::info, entry.member, "is up");
    hooks_.on_up(entry.member);
    if (was_untried) {
        hooks_.on_change();
    } else {
        came_back(entry);
    }
}

// --- operators

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

// --- coming back

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

// --- time

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
