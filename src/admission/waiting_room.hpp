#pragma once

#include "eplb/list_hook.hpp"

#include <atomic>
#include <cstddef>
#include <mutex>

namespace eplb {

/// The sessions of a service that wait for a backend with room, in the order in which they came.
/// All workers of the service share it; any thread may call anything.
///
/// Nobody is taken out of it when there may be room: the workers of the first ones are told, as many
/// as there are places, and have them leave by themselves if they get a backend. So a call may come
/// too often, but cannot get lost. It has to come whenever there may be room and whenever somebody
/// left; the latter, because who left may have been called in vain.
class WaitingRoom {
public:
    /// What a session is to the room.
    class Guest {
    protected:
        Guest() noexcept = default;
        ~Guest() = default;
    };
    /// What a worker is to it: all of its guests are on one thread.
    class Host {
    protected:
        Host() noexcept = default;
        ~Host() = default;
    };
    /// A session that waits, or is going to. Has left before it is destroyed.
    class Waiter final : public ListHook<Waiter> {
    public:
        Waiter(Host& host, Guest& guest) noexcept : host_{&host}, guest_{&guest} {}

    private:
        friend class WaitingRoom;
        Host* host_;
        Guest* guest_;
    };
    /// More of the first ones than these are never looked at in one go.
    static constexpr std::size_t most_called = 64;

    /// At the end; false if `capacity` others wait already.
    [[nodiscard]] bool enter(Waiter& waiter, std::size_t capacity) noexcept;
    /// Nothing happens if it does not wait.
    void leave(Waiter& waiter) noexcept;
    [[nodiscard]] bool is_first(const Waiter& waiter) const noexcept;
    /// The first guest of `host` among the first `count`, or nullptr. On its host's thread.
    [[nodiscard]] Guest* first_of(const Host& host, std::size_t count) const noexcept;
    /// Calls `tell` for the host of each of the first `count`, but not twice in a row for the same.
    /// It must not call anything here.
    template <class Tell>
    void tell_hosts(std::size_t count, Tell tell) const noexcept {
        const std::lock_guard lock{mutex_};
        const Host* told = nullptr;
        Waiter* waiter = waiters_.empty() ? nullptr : &waiters_.front();
        for (; waiter != nullptr && count > 0; waiter = waiters_.next(*waiter), --count) {
            if (waiter->host_ != told) tell(*waiter->host_);
            told = waiter->host_;
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_.load(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

private:
    mutable std::mutex mutex_;
    IntrusiveList<Waiter> waiters_;
    std::atomic<std::size_t> size_{0};
};

}  // namespace eplb
