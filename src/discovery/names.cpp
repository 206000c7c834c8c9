// What is known, who wants to know it, and who is told; asking is in names_schedule, and what becomes of
// an answer in names_answers.
#include "discovery/names.hpp"

#include "base/duration.hpp"
#include "base/random_word.hpp"
#include "discovery/resolver.hpp"
#include "eplb/reactor.hpp"

#include <cassert>
#include <chrono>
#include <fmt/format.h>
#include <new>
#include <optional>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

// learn() is over a little after a source has told that its time is, so that its reason is the one
// that is told.
constexpr Duration grace = std::chrono::milliseconds{100};
// A turn does not take so long: we were stopped.
constexpr Duration tolerated_lateness = std::chrono::milliseconds{500};

}  // namespace

Names::Names(Reactor& reactor, std::unique_ptr<NameSource> source, Options options, Log log)
    : reactor_{reactor},
      options_{options},
      log_{std::move(log)},
      random_{static_cast<std::minstd_rand::result_type>(random_word())},
      timer_{reactor, *this},
      source_{std::move(source)} {}

void Names::adopt(const Names& other) {
    for (const auto& [key, theirs] : other.entries_) {
        if (!theirs.known) continue;
        const auto [found, is_new] = entries_.try_emplace(key);
        Entry& entry = found->second;
        if (is_new) {
            entry.question = theirs.question;
            if (judge_) entry.checks = judge_->checks_of(key);
        }
        stop_waiting(key, entry);
        entry.failures = theirs.failures;
        entry.due = theirs.due;
        set_answer(entry, theirs.answer);
        learnt(entry);
        // There may be one by now; and what is on its way comes to `other`.
        if (theirs.asking || !entry.has_addresses()) entry.due = reactor_.now();
    }
}

void Names::learn(const std::vector<std::string>& addresses, std::function<void()> done) {
    assert(!on_learnt_ && "one thing after the other");
    on_learnt_ = std::move(done);
    for (const std::string& address : addresses) {
        const std::optional<NameQuestion> question = NameQuestion::parse(address);
        if (!question) continue;
        const auto [found, is_new] = entries_.try_emplace(question->key());
        auto& [key, entry] = *found;
        if (is_new) {
            entry.question = *question;
            if (judge_) entry.checks = judge_->checks_of(key);
            entry.due = reactor_.now();
            wait(key, entry);
        }
        if (entry.known || std::exchange(entry.learning, true)) continue;
        ++learning_;
    }
    learnt_by_ = reactor_.now() + options_.timeout + grace;
    excused_ = false;
    tell_learnt();
    go_on();
}

void Names::keep(const std::vector<std::string>& addresses, std::function<void()> on_change) {
    keeping_ = true;
    on_change_ = std::move(on_change);
    std::unordered_set<std::string> kept;
    for (const std::string& address : addresses) {
        if (const auto question = NameQuestion::parse(address)) kept.insert(question->key());
    }
    for (auto next = entries_.begin(); next != entries_.end();) {
        const auto current = next++;
        auto& [key, entry] = *current;
        if (kept.contains(key)) {
            if (!entry.has_addresses()) entry.remind = reactor_.now() + reminder;
            if (!entry.asking) wait(key, entry);
            continue;
        }
        stop_waiting(key, entry);
        set_answer(entry, {});
        if (entry.learning) --learning_;
        entries_.erase(current);
    }
    go_on();
}

NameAnswers Names::answers() const {
    NameAnswers all;
    for (const auto& [key, entry] : entries_) {
        if (entry.known) all.emplace_hint(all.end(), key, entry.answer);
    }
    return all;
}

void Names::forget_absent(const std::function<bool(const NameTarget&)>& is_over) {
    for (auto& [key, entry] : entries_) {
        if (entry.answer.absent.empty()) continue;
        NameAnswer answer = entry.answer;
        if (std::erase_if(answer.absent, is_over) == 0) continue;
        set_answer(entry, std::move(answer));
        tell_changed();
    }
}

// What there is no memory for is tried again a little later.
Next Names::run() noexcept {
    starved_ = false;
    try {
        if (timer_.take_fired() && learnt_by_ <= reactor_.now() && !may_have_been_us())
            end_learning();
    } catch (const std::bad_alloc&) {
        starved_ = true;
    }
    tell_learnt();
    if (change_untold_) tell_changed();
    go_on();
    return Next::wait;
}

void Names::go_on() noexcept {
    ask_due();
    rearm();
}

void Names::learnt(Entry& entry) {
    entry.known = true;
    if (std::exchange(entry.learning, false)) --learning_;
}

// Whoever was stopped for a while could neither ask nor take answers: there is the same time once more.
bool Names::may_have_been_us() noexcept {
    if (reactor_.now() - learnt_by_ < tolerated_lateness || std::exchange(excused_, true))
        return false;
    learnt_by_ = reactor_.now() + options_.timeout + grace;
    return true;
}

// What has no answer yet is still asked for, or waits for its turn.
void Names::end_learning() {
    for (auto& [key, entry] : entries_) {
        if (!entry.learning) continue;
        entry.answer.problem =
            fmt::format("no answer within {}", format_duration(options_.timeout));
        learnt(entry);
    }
    learnt_by_ = TimePoint::max();
}

// In a turn of its own, for whoever is told may want to be rid of us.
void Names::tell_learnt() noexcept {
    if (!on_learnt_ || learning_ > 0 || learnt_told_) return;
    learnt_by_ = TimePoint::max();
    try {
        reactor_.post([this, alive = std::weak_ptr{alive_}] {
            if (alive.expired()) return;
            learnt_told_ = false;
            std::exchange(on_learnt_, nullptr)();
        });
        learnt_told_ = true;
    } catch (const std::bad_alloc&) {
        try_again();
    }
}

void Names::tell_changed() noexcept {
    if (!keeping_ || change_told_) return;
    try {
        // A copy, for it outlives us, should that be the end.
        reactor_.post([this, tell = on_change_, alive = std::weak_ptr{alive_}] {
            if (alive.expired()) return;
            change_told_ = false;
            if (tell) tell();
        });
        change_told_ = true;
        change_untold_ = false;
    } catch (const std::bad_alloc&) {
        change_untold_ = true;
        try_again();
    }
}

void Names::try_again() noexcept {
    starved_ = true;
    rearm();
}

std::unique_ptr<Names> make_names(Reactor& reactor, const DnsOptions& values, SystemNames system,
                                  ProxyObserver& observer) {
    return std::make_unique<Names>(
        reactor, std::make_unique<Resolver>(reactor, values, std::move(system)),
        Names::Options{
            .min_ttl = values.min_ttl, .max_ttl = values.max_ttl, .timeout = values.timeout},
        [&observer](LogLevel level, std::string_view message) {
            observer.on_event(level, message);
        });
}

}  // namespace eplb::control
