#pragma once

#include "eplb/clock.hpp"
#include "eplb/relay.hpp"
#include "proxy/errands.hpp"
#include "proxy/inspector.hpp"
#include "proxy/session_lists.hpp"
#include "proxy/session_orders.hpp"
#include "proxy/settler.hpp"

#include <cstddef>
#include <utility>

namespace eplb {

class Reactor;
class WorkerCatalog;

/// The sessions of a worker, and who goes round them: the settler, the inspector, the errands.
///
/// Belongs to the thread of its worker. The sessions are over before it goes: see end_all().
class SessionUpkeep {
public:
    /// Both outlive it.
    SessionUpkeep(Reactor& reactor, WorkerCatalog& catalog) noexcept
        : inspector_{reactor, lists_, catalog},
          settler_{reactor, lists_, inspector_},
          errands_{reactor, lists_} {}
    SessionUpkeep(const SessionUpkeep&) = delete;
    SessionUpkeep& operator=(const SessionUpkeep&) = delete;

    /// Throws std::bad_alloc. O(1), as all that is about one session.
    template <class... Arguments>
    [[nodiscard]] Session& create(Arguments&&... arguments) {
        Session& session = lists_.create(std::forward<Arguments>(arguments)...);
        settler_.expect_a_session();
        return session;
    }
    void destroy(Session& session) noexcept { lists_.destroy(session); }

    // Who waits for what this machine is short of, in the order of coming:
    void starve(Session& session) noexcept { lists_.move_to_starved(session); }
    void provide(Session& session) noexcept {
        lists_.move_to_young(session);
        settler_.expect_a_session();
    }
    [[nodiscard]] bool anyone_starves() const noexcept { return !lists_.starved().empty(); }
    /// Somebody does.
    void wake_first_starved() noexcept { lists_.starved().front().wake(); }

    /// As Errands: every session.
    void reset_all(EndReason reason) noexcept { errands_.reset_all(reason); }
    /// As Errands::order().
    void carry_out(const SessionOrders& orders) {
        if (!orders.empty()) errands_.order(orders);
    }
    /// As Errands::wake_those_of().
    void wake_those_of(Service& service) noexcept { errands_.wake_those_of(service); }
    /// As Inspector.
    void set_inspection_interval(Duration interval) noexcept { inspector_.set_interval(interval); }
    void set_workers(std::size_t count) noexcept { inspector_.set_workers(count); }

    /// Resets all sessions, and has them retire, within this call.
    void end_all(EndReason reason) noexcept;

private:
    SessionLists lists_;
    Inspector inspector_;
    Settler settler_;
    Errands errands_;
};

}  // namespace eplb
