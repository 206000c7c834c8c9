#include "admission/waiting_room.hpp"

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

WaitingRoom::Guest* WaitingRoom::first_of(const Host& host, std::size_t count) const noexcept {
    const std::lock_guard lock{mutex_};
    Waiter* waiter = waiters_.empty() ? nullptr : &waiters_.front();
    for (; waiter != nullptr && count > 0; waiter = waiters_.next(*waiter), --count) {
        if (waiter->host_ == &host) return waiter->guest_;
    }
    return nullptr;
}

}  // namespace eplb
