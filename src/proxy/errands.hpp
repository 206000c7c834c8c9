#pragma once

#include "eplb/list_hook.hpp"
#include "eplb/relay.hpp"
#include "eplb/task.hpp"
#include "proxy/service.hpp"
#include "proxy/session_lists.hpp"
#include "proxy/session_orders.hpp"

namespace eplb {

class Reactor;

/// Goes round all sessions of a worker, a few a turn, and does with them what was ordered. What is
/// ordered meanwhile is for the next round, so that none is put off by those that follow it.
///
/// Belongs to the thread of its reactor, which outlives it, as do the sessions' lists.
class Errands final : public Task {
public:
    Errands(Reactor& reactor, SessionLists& sessions) noexcept
        : reactor_{reactor}, sessions_{sessions} {}

    /// Ends every session that there is with a reset: some at once, the others in the turns to come.
    /// Does not allocate.
    void reset_all(EndReason reason) noexcept;
    /// Does what `orders` say, as reset_all(). Throws std::bad_alloc.
    void order(const SessionOrders& orders);
    /// Has the sessions of `service` look at their timeouts again, as reset_all(). Does not allocate.
    void wake_those_of(Service& service) noexcept;

    Next run() noexcept override;

private:
    void begin() noexcept;
    [[nodiscard]] int carry_out(Session& session) noexcept;

    Reactor& reactor_;
    SessionLists& sessions_;
    SessionOrders current_;
    SessionOrders coming_;
    IntrusiveList<Service, Waking> waking_;       // of the round under way
    IntrusiveList<Service, Waking> to_be_woken_;  // in the next one
    bool under_way_ = false;
};

}  // namespace eplb
