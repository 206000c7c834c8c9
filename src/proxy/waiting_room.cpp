#include "proxy/waiting_room.hpp"

namespace eplb {

bool WaitingRoom::enter(Waiter& waiter, std::size_t capacity) noexcept {
    const std::lock_guard lock{mutex_};
    if (size_.load() >= capacity) return false;
    waiters_.push_back(waiter);
    size_.fetch_add(1);
    return true;
}

void WaitingRoom::leave(Waiter& waiter) noexcept {
    const std::lock_guard lock{mutex_};
    if (!waiter.linked()) return;
    waiter.unlink();
    size_.fetch_sub(1);
}

bool WaitingRoom::is_first(const Waiter& waiter) const noexcept {
    const std::lock_guard lock{mutex_};
    return !waiters_.empty() && &waiters_.front() == &waiter;
}

std::optional<WaitingRoom::First> WaitingRoom::first() const noexcept {
    const std::lock_guard lock{mutex_};
    if (waiters_.empty()) return std::nullopt;
    const Waiter& waiter = waiters_.front();
    return First{waiter.host_, waiter.session_};
}

}  // namespace eplb
