#pragma once

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "sim/kernel.hpp"
#include "sim/memory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

/// Turns a reactor, and those of the machine's crew if there are any, and watches for what must never
/// happen: a wait without an end, calls without an effect, a rule of the system calls broken.
class Driver {
public:
    Driver(Kernel& kernel, eplb::Reactor& reactor) noexcept
        : kernel_{kernel}, reactor_{reactor}, random_{kernel.options().seed} {}

    /// False: it came to nothing, and failure() says why.
    template <class Done>
    [[nodiscard]] bool run_until(Done done) {
        while (!done()) {
            turn();
            if (kernel_.stalled()) {
                // Fine if the last thing that happened was what we wait for.
                kernel_.forget_stall();
                if (done()) return true;
                failure_ = "stall: everybody waits, and nothing will happen";
                return false;
            }
            if (!failure_.empty()) return false;
        }
        return true;
    }

    /// Goes on until nothing can happen any more.
    [[nodiscard]] bool run_dry() {
        while (failure_.empty()) {
            turn();
            if (!kernel_.stalled()) continue;
            kernel_.forget_stall();
            return true;
        }
        return false;
    }

    /// Goes on for so long.
    [[nodiscard]] bool run_for(eplb::Duration time) {
        const eplb::TimePoint end = kernel_.now() + time;
        kernel_.at(end, [this] { kernel_.interrupt(); });
        return run_until([&] { return kernel_.now() >= end; });
    }

    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
    [[nodiscard]] std::uint64_t turns() const noexcept { return turns_; }

private:
    // Far more than any task needs to find out that it has nothing to do.
    static constexpr std::uint64_t most_idle_calls = 400;
    static constexpr std::uint64_t most_turns = 300'000;

    void turn() {
        try {
            if (kernel_.crew().empty()) {
                const BalancersTurn at_stake;
                reactor_.run_once(eplb::Duration{-1});
            } else {
                turn_one_of_several();
            }
        } catch (const std::bad_alloc&) {
            failure_ = "a want of memory was nobody's business";
            return;
        }
        if (kernel_.crew().lacked_memory())
            failure_ = "a worker's want of memory was nobody's business";
        if (!kernel_.violations().empty()) {
            failure_ = kernel_.violations().front();
        } else if (kernel_.idle_calls() > most_idle_calls) {
            failure_ = "spin: calls without any effect";
        } else if (++turns_ > most_turns) {
            failure_ = "it does not end";
        }
    }

    // Only those are asked that may have something to do: the others had not, and nothing has
    // happened since. One of them, now and then, is left alone until there is nobody else.
    void turn_one_of_several() {
        const std::vector<Crew::Member*>& members = kernel_.crew().members();
        if (idle_.size() != members.size() + 1 || kernel_.progress() != progress_)
            idle_.assign(members.size() + 1, false);
        progress_ = kernel_.progress();
        if (random_.one_in(40))
            held_back_ = static_cast<std::size_t>(random_.below(idle_.size() + 1));
        std::vector<std::size_t> candidates;
        for (std::size_t i = 0; i < idle_.size(); ++i) {
            if (!idle_[i]) candidates.push_back(i);
        }
        if (candidates.size() > 1) std::erase(candidates, held_back_);
        if (candidates.empty()) return sleep();
        const std::size_t chosen =
            candidates[static_cast<std::size_t>(random_.below(candidates.size()))];
        const bool any = chosen < members.size() ? members[chosen]->turn() : turn_own();
        if (!any && idle_.size() == members.size() + 1) idle_[chosen] = true;
    }

    bool turn_own() {
        const BalancersTurn at_stake;
        return reactor_.run_once(eplb::Duration{0});
    }

    void sleep() {
        eplb::Duration most = reactor_.wait_time();
        for (const Crew::Member* member : kernel_.crew().members()) {
            const eplb::Duration wait = member->reactor().wait_time();
            if (most < eplb::Duration{0} || (wait >= eplb::Duration{0} && wait < most)) most = wait;
        }
        // epoll_wait(2) counts in milliseconds.
        kernel_.sleep(most < eplb::Duration{0}
                          ? most
                          : eplb::Duration{std::chrono::ceil<std::chrono::milliseconds>(most)});
        idle_.clear();
    }

    Kernel& kernel_;
    eplb::Reactor& reactor_;
    Random random_;
    std::vector<bool> idle_;  // of the members, and of ours
    std::uint64_t progress_ = 0;
    std::size_t held_back_ = 0;
    std::uint64_t turns_ = 0;
    std::string failure_;
};

/// Remembers how the sessions of a proxy ended, by the client's address.
class Recorder final : public eplb::ProxyObserver {
public:
    struct End {
        eplb::EndReason reason = eplb::EndReason::drain;
        std::uint64_t up = 0;
        std::uint64_t down = 0;
        bool served = false;
        std::size_t failed_attempts = 0;
        eplb::Duration total_time{0};
        std::vector<std::string> too_late{};  // backends that are said not to have answered in time
    };

    void on_event(eplb::LogLevel, std::string_view) noexcept override {}
    void on_session_end(const eplb::SessionSummary& summary) noexcept override {
        const SimulationsTurn simulation;
        last = {summary.reason,
                summary.bytes_up,
                summary.bytes_down,
                summary.backend != nullptr,
                summary.failed_attempts.size(),
                summary.total_time,
                {}};
        for (const eplb::FailedAttempt& attempt : summary.failed_attempts) {
            if (attempt.error == ETIMEDOUT)
                last.too_late.push_back(attempt.backend->address().to_string());
        }
        ends[summary.client.to_string()] = last;
        last_listener = summary.listener.to_string();
        last_end = Kernel::current().now();
        ++count;
    }

    std::map<std::string, End> ends;
    End last;
    std::string last_listener;
    eplb::TimePoint last_end{};
    std::uint64_t count = 0;
};

/// "10.0.0.1:80"
[[nodiscard]] inline std::string to_text(const Place& place) {
    std::string text;
    for (unsigned shift = 32; shift > 0; shift -= 8) {
        text += std::to_string(place.ip >> (shift - 8) & 255U) + (shift > 8 ? '.' : ':');
    }
    return text + std::to_string(place.port);
}

}  // namespace sim
