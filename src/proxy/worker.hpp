#pragma once

#include "eplb/counter.hpp"
#include "eplb/fd.hpp"
#include "eplb/pipe.hpp"
#include "proxy/attempt_budget.hpp"
#include "proxy/ears.hpp"
#include "proxy/frontend.hpp"
#include "proxy/listener.hpp"
#include "proxy/service.hpp"
#include "proxy/service_spec.hpp"
#include "proxy/session.hpp"
#include "proxy/session_orders.hpp"
#include "proxy/session_upkeep.hpp"
#include "proxy/usher.hpp"
#include "proxy/worker_admission.hpp"
#include "proxy/worker_catalog.hpp"
#include "proxy/worker_listeners.hpp"
#include "proxy/worker_shared.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace eplb {

class Reactor;

/// What of a proxy belongs to one reactor, and so to one thread: listening sockets, sessions, pipes
/// and a balancer for each service. A session stays with its worker for its whole life.
///
/// The kernel shares clients out by a hash, which is even for many and uneven for few, and knows
/// nothing of who left. So a worker that has more sessions than others gives the
/// freshly accepted socket to one that has fewer.
///
///   WorkerCatalog     what it works by: services, frontends, ways to relay
///   SessionUpkeep     its sessions, and who goes round them
///   WorkerListeners   its listening sockets
///   WorkerAdmission   who may come, and who has to wait
///   Usher             who is called from the waiting room
///   Ears              what other threads wish of it
///
/// The worker itself accepts, hands over and receives clients, begins and ends their sessions, and is
/// what sessions know of a proxy. Belongs to the thread of its reactor, but for what says otherwise.
class Worker final : public SessionHost {
public:
    using Shared = WorkerShared;

    /// `reactor` and `shared` outlive the worker.
    Worker(Reactor& reactor, std::size_t index, const Shared& shared);
    /// Resets the sessions that are left.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// All workers of the proxy, this one too; they outlive the last client that it accepts.
    void set_peers(std::span<Worker* const> peers) noexcept {
        peers_ = peers;
        sessions_.set_workers(peers.size());
    }
    // What a Rollout is made of. Whatever threw may be called again.

    /// Knows what is in `generation`, besides what it knew; services that stay go on by it.
    void learn(const Generation& generation);
    /// Its listening sockets serve the frontends that they have in `generation`, which every worker
    /// has learnt; the backlogs of those that are not in it are accepted, and they are closed. Calls
    /// `on_done` when that is over, unless it throws: within this call, if few clients wait.
    void switch_over(const Generation& generation, std::function<void()> on_done);
    /// Accepts from `socket`, which listens on the address of a frontend of the generation. Throws
    /// std::system_error.
    void add_listener(const FrontendSpec& frontend, Fd socket);
    /// What is not in `generation` gets no backend any more, and goes with its last session. No
    /// worker accepts for it, nor may a socket that one accepted be on its way.
    void forget_all_but(const Generation& generation) noexcept;

    /// Accepts what waits in the backlogs, a few a turn, and closes the listening sockets; then calls
    /// `on_closed`, maybe within this call.
    void close_listeners(std::function<void()> on_closed);
    /// Ends every session that there is with a reset: some at once, the others in the turns to come.
    void reset_sessions() noexcept;
    /// Does what `orders` say with the sessions that there are, as reset_sessions(). What is ordered
    /// at a time is done in one go round them.
    void carry_out(const SessionOrders& orders);
    /// Descriptors or memory may have come free. Who was accepted first comes first: new clients
    /// wait while any session starves.
    void on_room() noexcept;
    /// There is room, and it is this worker's turn: as on_room(). What it does not need is passed on
    /// to whoever else waits.
    void take_turn() noexcept;
    /// Backends may have room: whoever of ours is among the first who wait for one tries again.
    void on_backend_room() noexcept;
    /// Tells no other worker anything from now on; they may go.
    void part() noexcept;
    /// Closes the idle pipes.
    void trim_pipes() noexcept;

    // Any thread:

    /// Runs `fn` on the worker's thread, in the order of the calls, unless the worker is gone. Throws
    /// std::bad_alloc.
    void post(std::function<void(Worker&)> fn);
    using Wish = Ears::Wish;
    /// Has it do so, never within this call, at the latest in the next turn. Allocates nothing; however often it is called before it
    /// gets there, it does it once. The worker is not gone.
    void call(Wish wish) noexcept;
    /// Sessions that it has, or is about to be given.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(); }
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.value(); }
    [[nodiscard]] PipePool::Stats pipe_stats() const;

    // For its sessions:

    Reactor& reactor() noexcept override { return reactor_; }
    void on_starved(Session& session, bool again, int error) noexcept override;
    void on_provided(Session& session) noexcept override;
    void on_out_of_memory() noexcept override;
    [[nodiscard]] bool may_try_at_once(const Service& service) noexcept override;
    void call_first(Service& service) noexcept override;
    void on_waiting(Service& service) noexcept override;
    void on_waited(Service& service) noexcept override;
    void on_backend_failing(const Backend& backend) noexcept override;
    void on_backend_answering(const Backend& backend) noexcept override;
    void on_sources_without_place(const Service& service) noexcept override;
    void on_session_start(const SessionStart& start) noexcept override;
    void on_session_end(const SessionSummary& summary) noexcept override;
    void destroy(Session& session) noexcept override;

private:
    void on_accept(Listener& listener, Fd client, const Address& peer);
    [[nodiscard]] Worker& choose_worker() noexcept;
    [[nodiscard]] std::size_t next_but_own(std::size_t index) const noexcept;
    void hand_over(Worker& to, const Frontend& frontend, Fd client, const Address& peer,
                   Admission verdict) noexcept;
    struct Parcel;
    void receive(std::uint32_t frontend, Parcel& parcel, const Address& peer, Admission verdict);
    void turn_away(Parcel& parcel, const Address& peer, Admission verdict) noexcept;
    void turn_away(const ServiceSpec& spec, const Address& listener, Fd client, const Address& peer,
                   Admission verdict, EndReason reason, int error) noexcept;
    void lack_memory_for(const Frontend& frontend, Fd client, const Address& peer,
                         Admission verdict) noexcept;
    void start_session(Frontend& frontend, Fd client, const Address& peer,
                       Admission verdict) noexcept;
    void count_out() noexcept;
    [[nodiscard]] Listener::Handlers handlers();

    Reactor& reactor_;
    const std::size_t index_;
    const Shared& shared_;
    // In the order in which they know each other.
    WorkerCatalog catalog_;
    SessionUpkeep sessions_{reactor_, catalog_};
    std::span<Worker* const> peers_;
    WorkerListeners listeners_{reactor_, catalog_, shared_, handlers()};
    WorkerAdmission admission_{reactor_, index_, shared_, catalog_, sessions_, listeners_};
    Ears ears_{reactor_, *this, shared_};
    Usher usher_{reactor_, *this};
    AttemptBudget attempts_{reactor_};
    std::uint64_t random_ = index_;
    bool parted_ = false;
    Counter accepted_;
    // Each on a line of the cache of its own: other workers read it at every accept.
    alignas(64) std::atomic<std::size_t> load_{0};
    alignas(64) std::shared_ptr<Worker*> self_;  // who posts keeps a weak pointer
};

}  // namespace eplb
