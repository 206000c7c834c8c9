// What becomes of an answer: gaps, absent addresses, whether it can be used, what is logged.
#include "discovery/names.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <sys/socket.h>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

using Status = NameAnswer::Status;

constexpr std::size_t most_told = 16;

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

}  // namespace eplb::control
