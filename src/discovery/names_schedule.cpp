// When each name is asked for, and how many at a time.
#include "discovery/names.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <random>
#include <utility>

namespace eplb::control {
namespace {

// What there was no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

}  // namespace

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

}  // namespace eplb::control
