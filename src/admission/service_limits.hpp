#pragma once

#include "admission/rate_limiter.hpp"
#include "admission/source_limits.hpp"
#include "eplb/clock.hpp"
#include "eplb/rate.hpp"
#include "eplb/waiting_turns.hpp"

#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

namespace eplb {

/// How many sessions a service may have at a time, and how fast they may come. All of its workers
/// share it; any thread may call anything.
class ServiceLimits {
public:
    struct Options {
        std::size_t max_connections = 0;  ///< 0: no limit
        Rate rate;
    };

    /// `on_room` is called, on the thread that left, when there is room for a session again and some
    /// worker has said want_room(), with that worker: one for each session that leaves, in turn, as
    /// WaitingTurns has it. It calls pass_on() once it has tried.
    explicit ServiceLimits(std::function<void(std::size_t worker)> on_room = {})
        : on_room_{std::move(on_room)} {}

    /// Other limits from now on. Whoever is in stays; nobody is told of room.
    void set_options(const Options& options) noexcept;

    /// Whoever is admitted has to leave().
    [[nodiscard]] Admission try_enter(TimePoint now) noexcept;
    void leave() noexcept;
    /// Leaves, and was never there: what it took of the rate is given back.
    void undo() noexcept;

    /// A worker asks to be told of room. Try again after it: who left just before is not told.
    void want_room(std::size_t worker = 0) noexcept { waiting_.ask(worker); }
    /// If there is room, the next one who waits is told.
    void pass_on() noexcept;
    /// When somebody who came too fast may come, if nobody else does before.
    [[nodiscard]] TimePoint next_free(TimePoint now) const noexcept {
        return limiter_.next_free(now);
    }
    [[nodiscard]] std::size_t sessions() const noexcept { return sessions_.load(); }

private:
    [[nodiscard]] bool has_room(std::size_t sessions) const noexcept {
        const std::size_t most = max_connections_.load();
        return most == 0 || sessions < most;
    }

    std::function<void(std::size_t)> on_room_;
    std::atomic<std::size_t> max_connections_{0};
    alignas(64) std::atomic<std::size_t> sessions_{0};
    WaitingTurns waiting_;
    RateLimiter limiter_;
};

}  // namespace eplb
