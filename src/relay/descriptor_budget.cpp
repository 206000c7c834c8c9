#include "eplb/descriptor_budget.hpp"

namespace eplb {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

bool DescriptorBudget::take_session() noexcept {
    Use use = use_.load();
    while (fits_session(use)) {
        if (use_.compare_exchange_weak(use, {use.sessions + 1, use.pipes})) return true;
    }
    return false;
}

void DescriptorBudget::return_session() noexcept {
    Use use = use_.load();
    while (!use_.compare_exchange_weak(use, {use.sessions - 1, use.pipes})) {}
    tell_if_wanted();
}

bool DescriptorBudget::take_pipe() noexcept {
    Use use = use_.load();
    while (left_by(use) >= (use.pipes + 2) * per_pipe) {
        if (use_.compare_exchange_weak(use, {use.sessions, use.pipes + 1})) return true;
    }
    return false;
}

void DescriptorBudget::return_pipe() noexcept {
    Use use = use_.load();
    while (!use_.compare_exchange_weak(use, {use.sessions, use.pipes - 1})) {}
    tell_if_wanted();
}

bool DescriptorBudget::pipes_in_the_way() const noexcept {
    return room_wanted_.load() && short_of_descriptors();
}

// Whoever waits has set the flag and then looked for room; we have made room and then look at the
// flag. In the one order of all these operations, one of the two sees the other.
void DescriptorBudget::tell_if_wanted() noexcept {
    if (!room_wanted_.load() || !has_room_for_session()) return;
    if (room_wanted_.exchange(false) && on_room_) on_room_();
}

}  // namespace eplb
