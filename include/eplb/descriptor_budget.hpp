// relay: how many descriptors sessions and pipes may have.
#pragma once

#include "eplb/export.hpp"
#include "eplb/waiting_turns.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>

namespace eplb {

/// Shares the process's descriptors out between sessions, which come first, and pipes, which only
/// make sessions faster: whoever gets no pipe copies. So a pipe can never cause EMFILE in the
/// middle of a session, and idle pipes never keep a client waiting.
///
/// Any thread may call anything: the workers of a proxy share one. Taking and returning is one
/// atomic operation.
class EPLB_API DescriptorBudget {
public:
    /// The client's socket and the backend's.
    static constexpr std::size_t per_session = 2;
    /// Its two ends.
    static constexpr std::size_t per_pipe = 2;
    /// As `max_sessions`: the descriptors are the only limit.
    static constexpr std::size_t unlimited = std::numeric_limits<std::uint32_t>::max();

    /// `descriptors`: how many there are for sessions and pipes together. `on_room` is called, on
    /// the thread that returned something, when there is room for a session again, with the number
    /// of somebody who has said want_room(): one for each thing that comes back, in turn, as
    /// WaitingTurns has it. It calls pass_on() once it has tried. `on_room` must not throw.
    explicit DescriptorBudget(std::size_t descriptors, std::size_t max_sessions = unlimited,
                              std::function<void(std::size_t who)> on_room = {})
        : descriptors_{descriptors}, max_sessions_{max_sessions}, on_room_{std::move(on_room)} {}

    /// False when there are as many sessions as may be, or no descriptors for one more.
    [[nodiscard]] bool take_session() noexcept;
    /// After a take_session() that said true. May call `on_room`.
    void return_session() noexcept;
    /// Other limits from now on. Whoever has something keeps it; nobody is told of room.
    void set_limits(std::size_t descriptors, std::size_t max_sessions) noexcept {
        descriptors_.store(descriptors);
        max_sessions_.store(max_sessions);
    }
    /// Pipes get at most half of what the sessions of the moment leave.
    [[nodiscard]] bool take_pipe() noexcept;
    /// After a take_pipe() that said true. May call `on_room`.
    void return_pipe() noexcept;

    /// Asks to be told of room. Ask again for a session after it: what was returned just before is
    /// not told. Returns whether nobody else has asked since somebody was told.
    bool want_room(std::size_t who = 0) noexcept {
        waiting_.ask(who);
        return !asked_.exchange(true);
    }
    /// If there is room for a session, the next one who waits is told.
    void pass_on() noexcept;
    /// What take_session() would say now; takes nothing.
    [[nodiscard]] bool has_room_for_session() const noexcept { return fits_session(use_.load()); }
    /// One more session lacks descriptors, not leave by `max_sessions`: closing pipes may help.
    [[nodiscard]] bool short_of_descriptors() const noexcept {
        const Use use = use_.load();
        return use.sessions < max_sessions_ && left_by(use) < per_session;
    }
    /// A session waits only because pipes have the descriptors: a pipe that comes back is better
    /// closed than kept.
    [[nodiscard]] bool pipes_in_the_way() const noexcept;
    /// Taken and not returned.
    [[nodiscard]] std::size_t sessions() const noexcept { return use_.load().sessions; }

private:
    struct Use {
        std::uint32_t sessions = 0;
        std::uint32_t pipes = 0;
    };

    [[nodiscard]] std::size_t left_by(Use use) const noexcept {
        const std::size_t used = use.sessions * per_session + use.pipes * per_pipe;
        const std::size_t all = descriptors_.load();
        return all > used ? all - used : 0;  // less after set_limits()
    }
    [[nodiscard]] bool fits_session(Use use) const noexcept {
        return use.sessions < max_sessions_ && left_by(use) >= per_session;
    }
    std::atomic<std::size_t> descriptors_;
    std::atomic<std::size_t> max_sessions_;
    std::function<void(std::size_t)> on_room_;
    // Written by all threads, while what is above is only read.
    alignas(64) std::atomic<Use> use_{Use{}};
    WaitingTurns waiting_;
    std::atomic<bool> asked_{false};  // somebody has, and nobody was told since
};

}  // namespace eplb
