#pragma once

#include "eplb/reactor.hpp"
#include "eplb/task.hpp"

#include <algorithm>
#include <cstddef>

namespace eplb {

/// How many further attempts, after one that failed at once, all sessions of a worker may make
/// together in a turn: a service with thousands of backends that cannot be reached does not keep
/// everybody else waiting while one client, or many, are tried with all of them.
///
/// An attempt is charged for its system calls, and for the look at each backend that a pick takes.
/// Belongs to the thread of its reactor, which outlives it.
class AttemptBudget final : public Task {
public:
    explicit AttemptBudget(Reactor& reactor) noexcept : reactor_{reactor} {}

    /// False: there is nothing left in this turn. Where there is anything, there is enough for one.
    [[nodiscard]] bool take(std::size_t backends) noexcept {
        if (left_ == 0) return false;
        left_ -= std::min(left_, 1 + backends / backends_per_charge);
        reactor_.schedule(
            *this);  // whoever asks again does so in the next turn, which begins at once
        return true;
    }
    /// Of the next turn, which has a budget of its own.
    Next run() noexcept override {
        left_ = charges_per_turn;
        return Next::wait;
    }

private:
    // Less than a millisecond, by an attempt's 10 to 20 us and about 30 ns for each backend.
    static constexpr std::size_t charges_per_turn = 16;
    static constexpr std::size_t backends_per_charge = 500;

    Reactor& reactor_;
    std::size_t left_ = charges_per_turn;
};

}  // namespace eplb
