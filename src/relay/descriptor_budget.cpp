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
    pass_on();
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
    pass_on();
}

bool DescriptorBudget::pipes_in_the_way() const noexcept {
    return waiting_.anyone() && short_of_descriptors();
}

// Whoever waits has asked and then looked for room; we have made room and then look who has asked. In
// the one order of all these operations, one of the two sees the other.
void DescriptorBudget::pass_on() noexcept {
    if (!waiting_.anyone() || !has_room_for_session()) return;
    const auto who = waiting_.take_next();
    if (!who) return;
    asked_.store(false);
    if (on_room_) on_room_(*who);
}

}  // namespace eplb
