#pragma once

#include "admission/service_limits.hpp"
#include "eplb/descriptor_budget.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "proxy/pacemaker.hpp"
#include "proxy/service.hpp"
#include "proxy/session_upkeep.hpp"
#include "proxy/worker_catalog.hpp"
#include "proxy/worker_listeners.hpp"
#include "proxy/worker_shared.hpp"

#include <cstddef>
#include <utility>

namespace eplb {

/// Who may come to a worker, and who has to wait: places of the services' limits, and descriptors and
/// memory of this machine. Who was accepted first comes first: new clients wait in the backlogs while
/// any session starves.
///
/// A place is one of the service's sessions and of the proxy's, whichever worker it will be on. It is
/// taken before accept(2), and given back by whoever ends the session. Belongs to the thread of its
/// worker; nothing here allocates.
class WorkerAdmission {
public:
    /// Of the worker with this index. All that is referred to outlives it.
    WorkerAdmission(Reactor& reactor, std::size_t worker, const WorkerShared& shared,
                    WorkerCatalog& catalog, SessionUpkeep& sessions,
                    WorkerListeners& listeners) noexcept
        : reactor_{reactor},
          worker_{worker},
          shared_{shared},
          budget_{shared.budget},
          catalog_{catalog},
          sessions_{sessions},
          listeners_{listeners} {}
    WorkerAdmission(const WorkerAdmission&) = delete;
    WorkerAdmission& operator=(const WorkerAdmission&) = delete;

    /// For the next client of `listener`. False: there is none, and listeners are resumed when there
    /// may be one.
    [[nodiscard]] bool take_place(Listener& listener) noexcept;
    /// Nobody came.
    void give_place_back(Listener& listener) noexcept;
    /// What the service says of a client who has been accepted.
    [[nodiscard]] Admission judge(const Service& service) noexcept {
        // Who may wait has entered before.
        return service.config().over_limit == OverLimit::reset
                   ? service.spec().limits->try_enter(reactor_.now())
                   : Admission::admitted;
    }

    // When something has run out:

    /// For an accept(2).
    void on_accept_shortage(Listener& listener, int error) noexcept;
    /// For `session`, which is woken when there may be some. `again`: it waits already.
    void on_starved(Session& session, bool again, int error) noexcept;
    /// It has got what it waited for, or waits no more.
    void on_provided(Session& session) noexcept;
    /// There was no memory for a client, who is reset.
    void on_out_of_memory() noexcept;

    /// As Worker::take_turn().
    void take_turn() noexcept {
        on_room();
        reactor_.schedule(passing_on_);  // behind those who look for room now
    }
    /// A session of this worker is over, so descriptors and memory have come free. What it leaves of
    /// the places is for whoever's turn it is.
    void on_session_gone() noexcept {
        if (sessions_.anyone_starves()) {
            sessions_.wake_first_starved();
        } else if (std::exchange(short_, false)) {
            listeners_.try_again();
        }
    }
    /// As Worker::on_room().
    void on_room() noexcept {
        if (sessions_.anyone_starves()) {
            sessions_.wake_first_starved();
        } else if (std::exchange(listeners_wait_, false)) {
            listeners_.resume();
        }
    }

private:
    // Whoever was told of room and had no use for it, because something else is short, or nobody
    // waits here any more, is followed by the next.
    class PassingOn final : public Task {
    public:
        explicit PassingOn(WorkerAdmission& admission) noexcept : admission_{admission} {}
        Next run() noexcept override;

    private:
        WorkerAdmission& admission_;
    };

    [[nodiscard]] bool may_accept(Service& service) noexcept;
    [[nodiscard]] bool enter(Service& service) noexcept;
    [[nodiscard]] bool take_descriptors() noexcept;
    void pause_listeners() noexcept;
    bool release_idle_pipes() noexcept;

    Reactor& reactor_;
    const std::size_t worker_;
    const WorkerShared& shared_;
    DescriptorBudget& budget_;
    WorkerCatalog& catalog_;
    SessionUpkeep& sessions_;
    WorkerListeners& listeners_;
    Pacemaker pacemaker_{reactor_, *this};
    PassingOn passing_on_{*this};
    bool listeners_wait_ = false;  // some may, for a place, or for what this machine is short of
    bool short_ = false;           // some may be, of what an accept(2) takes
};

}  // namespace eplb
