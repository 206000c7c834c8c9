#pragma once

#include "eplb/list_hook.hpp"

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>

namespace eplb {

class Session;
class SessionHost;

/// The sessions of a service that wait for a backend with room, in the order in which they came.
/// All workers of the service share it; any thread may call anything.
///
/// Nobody is taken out of it when there may be room: the first one is called, and leaves by itself
/// if it gets a backend. So a call may come too often, but cannot get lost. It has to come whenever
/// there may be room and whenever somebody left; the latter, because who left may have been called
/// in vain.
class WaitingRoom {
public:
    /// A session that waits, or is going to. Has left before it is destroyed.
    class Waiter final : public ListHook<Waiter> {
    public:
        Waiter(SessionHost& host, Session& session) noexcept : host_{&host}, session_{&session} {}

    private:
        friend class WaitingRoom;
        SessionHost* host_;
        Session* session_;
    };
    /// The session may be looked at on its host's thread only.
    struct First {
        SessionHost* host;
        Session* session;
    };

    /// At the end; false if `capacity` others wait already.
    [[nodiscard]] bool enter(Waiter& waiter, std::size_t capacity) noexcept;
    /// Nothing happens if it does not wait.
    void leave(Waiter& waiter) noexcept;
    [[nodiscard]] bool is_first(const Waiter& waiter) const noexcept;
    [[nodiscard]] std::optional<First> first() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_.load(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

private:
    mutable std::mutex mutex_;
    IntrusiveList<Waiter> waiters_;
    std::atomic<std::size_t> size_{0};
};

}  // namespace eplb
