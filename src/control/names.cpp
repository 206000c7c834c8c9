#include "control/names.hpp"

#include "control/resolver.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <fmt/format.h>
#include <iterator>
#include <utility>

namespace eplb::control {
namespace {

using Status = NameAnswer::Status;

constexpr std::size_t most_told = 16;

// What `a` has and `b` has not, by address.
std::vector<const NameTarget*> without(const NameAnswer& a, const NameAnswer& b) {
    std::vector<const NameTarget*> left;
    for (const NameTarget& target : a.targets) {
        if (std::ranges::find(b.targets, target.address, &NameTarget::address) == b.targets.end())
            left.push_back(&target);
    }
    return left;
}

// Those whose priority or weight has changed.
std::vector<const NameTarget*> changed(const NameAnswer& before, const NameAnswer& now) {
    std::vector<const NameTarget*> found;
    for (const NameTarget& target : now.targets) {
        const auto old = std::ranges::find(before.targets, target.address, &NameTarget::address);
        if (old != before.targets.end() && !(*old == target)) found.push_back(&target);
    }
    return found;
}

void append(std::string& text, char sign, const std::vector<const NameTarget*>& targets) {
    if (targets.empty()) return;
    text += text.empty() ? "" : " ";
    text += sign;
    for (const NameTarget* target : std::span{targets}.first(std::min(targets.size(), most_told)))
        text += fmt::format(" {}", target->address.to_string());
    if (targets.size() > most_told) text += fmt::format(" and {} more", targets.size() - most_told);
}

// A service's hosts that could not be asked for keep the addresses that they had.
void fill_gaps(NameAnswer& answer, const NameAnswer& before) {
    for (const ServiceRecord& record : answer.unanswered) {
        for (const NameTarget& old : before.targets) {
            if (old.host != record.host) continue;
            answer.targets.push_back(
                {old.address.with_port(record.port), record.priority, record.weight, record.host});
        }
    }
    arrange(answer.targets);
    answer.status = answer.targets.empty() ? Status::unanswered : Status::good;
}

}  // namespace

Names::Names(Reactor& reactor, std::unique_ptr<NameSource> source, Options options, Log log)
    : reactor_{reactor},
      options_{options},
      log_{std::move(log)},
      random_{std::random_device{}()},
      timer_{reactor, *this},
      source_{std::move(source)} {}

void Names::adopt(const Names& other) {
    for (const auto& [address, theirs] : other.entries_) {
        if (!theirs.known) continue;
        Entry& entry = entries_[address] = theirs;
        if (std::exchange(entry.asking, false)) entry.due = reactor_.now();
    }
}

void Names::learn(const std::vector<std::string>& addresses, std::function<void()> done) {
    assert(!on_learnt_ && "one thing after the other");
    learning_ = addresses;
    on_learnt_ = std::move(done);
    for (const std::string& address : addresses) {
        const std::optional<NameQuestion> question = NameQuestion::parse(address);
        if (!question) continue;
        const auto [entry, is_new] = entries_.try_emplace(address);
        if (!is_new) continue;
        entry->second.question = *question;
        ask(address, entry->second);
    }
    tell_learnt();
}

void Names::keep(const std::vector<std::string>& addresses, std::function<void()> on_change) {
    keeping_ = true;
    on_change_ = std::move(on_change);
    std::erase_if(entries_, [&](const auto& entry) {
        return std::ranges::find(addresses, entry.first) == addresses.end();
    });
    rearm();
}

NameAnswers Names::answers() const {
    NameAnswers all;
    for (const auto& [address, entry] : entries_) {
        if (entry.known) all.emplace(address, entry.answer);
    }
    return all;
}

Next Names::run() {
    if (!keeping_) return Next::wait;
    for (auto& [address, entry] : entries_) {
        if (!entry.asking && entry.due <= reactor_.now()) ask(address, entry);
    }
    rearm();
    return Next::wait;
}

void Names::ask(const std::string& address, Entry& entry) {
    entry.asking = true;
    source_->ask(entry.question,
                 [this, address](const NameAnswer& answer) { on_answer(address, answer); });
}

void Names::on_answer(const std::string& address, NameAnswer answer) {
    const auto found = entries_.find(address);
    if (found == entries_.end()) return;  // forgotten
    Entry& entry = found->second;
    entry.asking = false;
    if (!answer.unanswered.empty()) fill_gaps(answer, entry.answer);
    take(address, entry, std::move(answer));
    entry.known = true;
    tell_learnt();
    rearm();
}

void Names::take(const std::string& address, Entry& entry, NameAnswer answer) {
    const bool good = answer.status == Status::good;
    const bool complete = good && answer.unanswered.empty();
    const bool was_failing = entry.failures > 0;
    entry.failures = complete ? 0 : entry.failures + 1;
    const Duration wait = complete ? std::clamp(answer.ttl, options_.min_ttl,
                                                std::max(options_.min_ttl, options_.max_ttl))
                                   : backoff(entry.failures);
    entry.due = reactor_.now() + with_jitter(wait);

    if (!complete && !was_failing && keeping_) log_failure(address, entry, answer.problem);
    const bool had_one = entry.answer.status == Status::good;
    if (!good && had_one) return;
    const bool is_new = answer.targets != entry.answer.targets;
    if (keeping_ && (is_new || (complete && was_failing)))
        log_change(address, entry.answer, answer, complete && was_failing);
    entry.answer = std::move(answer);
    if (is_new) tell_changed();
}

// In a turn of its own, for whoever is told may want to be rid of us.
void Names::tell_learnt() {
    if (!on_learnt_) return;
    for (const std::string& address : learning_) {
        const auto found = entries_.find(address);
        if (found != entries_.end() && !found->second.known) return;
    }
    reactor_.post([done = std::exchange(on_learnt_, nullptr), alive = std::weak_ptr{alive_}] {
        if (!alive.expired()) done();
    });
}

void Names::tell_changed() {
    if (!keeping_ || std::exchange(change_told_, true)) return;
    reactor_.post([this, alive = std::weak_ptr{alive_}] {
        if (alive.expired()) return;
        change_told_ = false;
        const std::function<void()> tell = on_change_;  // outlives us, should that be the end
        if (tell) tell();
    });
}

void Names::rearm() noexcept {
    if (!keeping_) return;
    TimePoint next = TimePoint::max();
    for (const auto& [address, entry] : entries_) {
        if (!entry.asking) next = std::min(next, entry.due);
    }
    timer_.cancel();
    if (next != TimePoint::max()) timer_.start_at(next);
}

Duration Names::with_jitter(Duration wait) {
    const double part = std::uniform_real_distribution<>{0, options_.jitter}(random_);
    return wait + std::chrono::duration_cast<Duration>(wait * part);
}

Duration Names::backoff(std::uint32_t failures) const noexcept {
    const Duration most = std::max(options_.min_ttl, longest_backoff);
    Duration wait = options_.min_ttl;
    for (std::uint32_t i = 1; i < failures && wait < most; ++i) wait *= 2;
    return std::min(wait, most);
}

void Names::log_change(const std::string& address, const NameAnswer& before, const NameAnswer& now,
                       bool was_failing) const {
    std::string what;
    append(what, '+', without(now, before));
    append(what, '-', without(before, now));
    append(what, '~', changed(before, now));
    log_(LogLevel::info, fmt::format("name {}: {}{}{}", address, was_failing ? "answers again" : "",
                                     was_failing && !what.empty() ? ": " : "", what));
}

void Names::log_failure(const std::string& address, const Entry& entry,
                        const std::string& problem) const {
    const bool had_one = entry.answer.status == Status::good;
    log_(LogLevel::warning, fmt::format("name {}: {}{}", address, problem,
                                        had_one ? "; its last addresses stay" : ""));
}

std::unique_ptr<Names> make_names(Reactor& reactor, const DnsValues& values,
                                  ProxyObserver& observer) {
    return std::make_unique<Names>(
        reactor, std::make_unique<Resolver>(reactor, values),
        Names::Options{.min_ttl = values.min_ttl, .max_ttl = values.max_ttl},
        [&observer](LogLevel level, std::string_view message) {
            observer.on_event(level, message);
        });
}

}  // namespace eplb::control
