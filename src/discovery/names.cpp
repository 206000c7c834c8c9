#include "discovery/names.hpp"

#include "base/duration.hpp"
#include "base/random_word.hpp"
#include "discovery/resolver.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <fmt/format.h>
#include <iterator>
#include <new>
#include <sys/socket.h>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

using Status = NameAnswer::Status;

constexpr std::size_t most_told = 16;
// learn() is over a little after a source has told that its time is, so that its reason is the one
// that is told.
constexpr Duration grace = std::chrono::milliseconds{100};

// A turn does not take so long: we were stopped.
constexpr Duration tolerated_lateness = std::chrono::milliseconds{500};
// What there was no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

using Texts = std::unordered_set<std::string>;

// A host's address has no port.
std::string text_of(const Address& address) {
    std::string text = address.to_string();
    if (address.port() == 0 && !address.is_unix()) text.resize(text.size() - 2);
    return text;
}

Texts texts_of(const std::vector<NameTarget>& targets) {
    Texts texts;
    for (const NameTarget& target : targets) texts.insert(target.address.to_string());
    return texts;
}

// What `a` has and `b` has not, by address.
std::vector<const NameTarget*> without(const std::vector<NameTarget>& a,
                                       const std::vector<NameTarget>& b) {
    std::vector<const NameTarget*> left;
    const Texts texts = texts_of(b);
    for (const NameTarget& target : a) {
        if (!texts.contains(target.address.to_string())) left.push_back(&target);
    }
    return left;
}

// Those whose priority or weight has changed.
std::vector<const NameTarget*> changed(const NameAnswer& before, const NameAnswer& now) {
    std::vector<const NameTarget*> found;
    std::unordered_map<std::string, const NameTarget*> old;
    for (const NameTarget& target : before.targets)
        old.emplace(target.address.to_string(), &target);
    for (const NameTarget& target : now.targets) {
        const auto same = old.find(target.address.to_string());
        if (same != old.end() && !(*same->second == target)) found.push_back(&target);
    }
    return found;
}

void append(std::string& text, char sign, const std::vector<const NameTarget*>& targets) {
    if (targets.empty()) return;
    text += text.empty() ? "" : " ";
    text += sign;
    for (const NameTarget* target : std::span{targets}.first(std::min(targets.size(), most_told)))
        text += fmt::format(" {}", text_of(target->address));
    if (targets.size() > most_told) text += fmt::format(" and {} more", targets.size() - most_told);
}

// What could not be asked for stays as it was.
void fill_gaps(NameAnswer& answer, const NameAnswer& before) {
    for (const Unanswered& gap : answer.unanswered) {
        for (const NameTarget& old : before.targets) {
            if (old.host != gap.host) continue;
            if (gap.family != 0 && old.address.family() != gap.family) continue;
            answer.targets.push_back(
                {old.address.with_port(gap.port), gap.priority, gap.weight, gap.host});
        }
    }
    arrange(answer.targets);
    answer.status = answer.targets.empty() ? Status::unanswered : Status::good;
}

bool is_one(const std::vector<NameTarget>& targets) {
    const auto v6 = std::ranges::count_if(
        targets, [](const NameTarget& target) { return target.address.family() == AF_INET6; });
    return v6 <= 1 && static_cast<std::ptrdiff_t>(targets.size()) - v6 <= 1;
}

// From one server to one other, each with one address, or one of each kind.
bool has_moved(const std::vector<NameTarget>& before, const std::vector<NameTarget>& now) {
    return is_one(before) && is_one(now) && without(before, now).size() == before.size();
}

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

// --- asking

// The failing ones first: they can take half of the places, and no more.
void Names::ask_due() noexcept {
    for (const std::size_t failing : {1U, 0U}) {
        Queue& queue = queues_[failing];
        while (!queue.empty() && queue.begin()->first <= reactor_.now()) {
            if (in_flight_[0] + in_flight_[1] >= most_in_flight) return;
            if (failing == 1 && in_flight_[1] >= most_in_flight / 2) break;
            const auto next = entries_.find(queue.begin()->second);
            ask(next->first, next->second);
        }
    }
}

void Names::ask(const std::string& key, Entry& entry) noexcept {
    stop_waiting(key, entry);
    entry.asking = true;
    std::size_t& in_flight = in_flight_[entry.failures > 0 ? 1 : 0];
    ++in_flight;
    try {
        source_->ask(entry.question, [this, key, &in_flight](const NameAnswer& answer) {
            --in_flight;
            on_answer(key, answer);
        });
    } catch (const std::bad_alloc&) {
        --in_flight;
        entry.asking = false;
        entry.due = reactor_.now() + patience;
        wait(key, entry);
    }
}

void Names::wait(const std::string& key, Entry& entry) {
    if (entry.place.empty()) {
        queue_of(entry).emplace(entry.due, key);
        return;
    }
    entry.place.value() = {entry.due, key};
    queue_of(entry).insert(std::move(entry.place));
}

// Its place is kept: who waits again must not need memory for it.
void Names::stop_waiting(const std::string& key, Entry& entry) noexcept {
    Queue& queue = queue_of(entry);
    if (const auto found = queue.find({entry.due, key}); found != queue.end())
        entry.place = queue.extract(found);
}

void Names::on_answer(const std::string& key, const NameAnswer& answer) noexcept {
    const auto found = entries_.find(key);
    if (found != entries_.end()) {  // else: forgotten
        Entry& entry = found->second;
        entry.asking = false;
        bool taken = false;
        try {
            take(found->first, entry, answer);
            learnt(entry);
            taken = true;
        } catch (const std::bad_alloc&) {
            entry.due = reactor_.now() + patience;  // as if nobody had answered yet
        }
        if (keeping_ || !taken) wait(found->first, entry);
        tell_learnt();
    }
    go_on();
}

// --- answers

void Names::take(const std::string& key, Entry& entry, NameAnswer answer) {
    if (!entry.question.is_service()) {
        for (NameTarget& target : answer.targets) target.address = target.address.with_port(0);
        for (Unanswered& gap : answer.unanswered) gap.port = 0;
    }
    if (!answer.unanswered.empty()) fill_gaps(answer, entry.answer);
    remember_absent(entry, answer);
    const bool good = answer.status == Status::good && is_usable(entry, answer);
    const bool complete = good && answer.unanswered.empty();
    const bool was_failing = entry.failures > 0;
    const bool had_one = entry.has_addresses();
    entry.failures = complete ? 0 : entry.failures + 1;
    const Duration pause = complete ? std::clamp(answer.ttl, options_.min_ttl,
                                                 std::max(options_.min_ttl, options_.max_ttl))
                                    : backoff(entry.failures);
    entry.due = reactor_.now() + with_jitter(pause);

    if (!complete && !was_failing && keeping_) {
        log_failure(key, entry, answer.problem);
    } else if (!good && !had_one && keeping_) {
        if (entry.remind <= reactor_.now()) {
            log_(LogLevel::warning,
                 fmt::format("name {}: {}; waiting for it", key, answer.problem));
            entry.remind = reactor_.now() + reminder;
        }
        entry.due = std::min(entry.due, entry.remind);
    }
    if (!good && had_one) return;
    const bool other_targets = answer.targets != entry.answer.targets;
    const bool is_new = other_targets || answer.absent != entry.answer.absent;
    if (keeping_ && (other_targets || (complete && was_failing)))
        log_change(key, entry.answer, answer, complete && was_failing);
    set_answer(entry, std::move(answer));
    if (is_new) tell_changed();
}

bool Names::is_usable(const Entry& entry, NameAnswer& answer) {
    if (!judge_) return true;
    std::optional<std::string> problem = judge_->problem_of(entry.question, answer.targets);
    if (!problem) problem = make_room(entry, answer);
    if (!problem) return true;
    answer = {};
    answer.status = Status::unusable;
    answer.problem = std::move(*problem);
    return false;
}

// What is absent has to go if there is no other way: first of the same name, then of any. Nothing of
// that happens if it would not help.
std::optional<std::string> Names::make_room(const Entry& entry, NameAnswer& answer) {
    if (entry.checks == 0) return std::nullopt;
    const std::size_t own = entry.descriptors();
    const auto problem = [&] {
        return judge_->problem_of(descriptors_ - own +
                                  entry.checks * (answer.targets.size() + answer.absent.size()));
    };
    if (!problem()) return std::nullopt;
    std::size_t absent = 0;
    for (const auto& [key, other] : entries_) {
        if (&other != &entry) absent += other.checks * other.answer.absent.size();
    }
    if (auto hopeless =
            judge_->problem_of(descriptors_ - own - absent + entry.checks * answer.targets.size()))
        return hopeless;
    while (!answer.absent.empty() && problem()) answer.absent.erase(answer.absent.begin());
    for (auto& [key, other] : entries_) {
        if (!problem()) break;
        if (&other == &entry || other.checks == 0 || other.answer.absent.empty()) continue;
        NameAnswer less = other.answer;
        less.absent.clear();
        set_answer(other, std::move(less));
        tell_changed();
    }
    return std::nullopt;
}

void Names::remember_absent(const Entry& entry, NameAnswer& answer) const {
    if (answer.status != Status::good || !entry.has_addresses()) return;
    answer.absent.clear();
    for (const NameTarget* old : without(entry.answer.absent, answer.targets))
        answer.absent.push_back(*old);
    if (!has_moved(entry.answer.targets, answer.targets)) {
        for (const NameTarget* old : without(entry.answer.targets, answer.targets))
            answer.absent.push_back(*old);
    }
    if (answer.absent.size() <= most_absent) return;
    const std::size_t over = answer.absent.size() - most_absent;
    answer.absent.erase(answer.absent.begin(),
                        answer.absent.begin() + static_cast<std::ptrdiff_t>(over));
}

void Names::set_answer(Entry& entry, NameAnswer answer) {
    if (judge_) judge_->accept(entry.question, answer.targets);  // may lack memory
    descriptors_ -= entry.descriptors();
    absent_ -= entry.answer.absent.size();
    entry.answer = std::move(answer);
    descriptors_ += entry.descriptors();
    absent_ += entry.answer.absent.size();
}

// --- learning

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

void Names::rearm() noexcept {
    TimePoint next = learnt_by_;
    // Whoever is due and has no place is asked for when an answer comes.
    for (const Queue& queue : queues_) {
        if (!queue.empty() && queue.begin()->first > reactor_.now())
            next = std::min(next, queue.begin()->first);
    }
    if (starved_) next = reactor_.now() + patience;
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

void Names::log_change(const std::string& key, const NameAnswer& before, const NameAnswer& now,
                       bool was_failing) const {
    std::string what;
    append(what, '+', without(now.targets, before.targets));
    append(what, '-', without(before.targets, now.targets));
    append(what, '~', changed(before, now));
    log_(LogLevel::info, fmt::format("name {}: {}{}{}", key, was_failing ? "answers again" : "",
                                     was_failing && !what.empty() ? ": " : "", what));
}

void Names::log_failure(const std::string& key, const Entry& entry,
                        const std::string& problem) const {
    const bool had_one = entry.has_addresses();
    log_(LogLevel::warning,
         fmt::format("name {}: {}{}", key, problem, had_one ? "; its last addresses stay" : ""));
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
