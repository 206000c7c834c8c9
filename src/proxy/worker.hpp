#pragma once

#include "base/slab.hpp"
#include "eplb/counter.hpp"
#include "eplb/descriptor_budget.hpp"
#include "eplb/fd.hpp"
#include "eplb/flow.hpp"
#include "eplb/list_hook.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "proxy/frontend.hpp"
#include "proxy/listener.hpp"
#include "proxy/relay_contexts.hpp"
#include "proxy/service.hpp"
#include "proxy/service_spec.hpp"
#include "proxy/session.hpp"
#include "proxy/shortage_report.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

class Reactor;

/// What of a proxy belongs to one reactor, and so to one thread: listening sockets, sessions, pipes
/// and a balancer for each service. A session stays with its worker for its whole life.
///
/// The kernel shares clients out by a hash, which is even for many and uneven for few, and knows
/// nothing of who left. So a worker that has more sessions than the one with the fewest gives the
/// freshly accepted socket to that one.
class Worker final : public SessionHost {
public:
    /// What the workers of a proxy share. All of it may be used by any thread.
    struct Shared {
        ProxyObserver& observer;
        DescriptorBudget& budget;
        ShortageReport& shortages;
        /// Told the errno when splice(2) is refused.
        std::function<void(int error)> on_splice_refused;
        /// A session ended, on the calling worker's thread.
        std::function<void()> on_session_gone;
        /// Clients could not connect to a backend, as many in a row as its service allows; or one
        /// could, after others had not. On the calling worker's thread.
        std::function<void(const Backend&)> on_backend_failing;
        std::function<void(const Backend&)> on_backend_answering;
        /// Descriptors that sessions need are in pipes, maybe idle ones of other workers.
        std::function<void()> on_pipes_in_the_way;
    };

    /// `reactor` and `shared` outlive the worker.
    Worker(Reactor& reactor, std::size_t index, const Shared& shared);
    /// Resets the sessions that are left.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// All workers of the proxy, this one too; they outlive the last client that it accepts.
    void set_peers(std::span<Worker* const> peers) noexcept { peers_ = peers; }
    // What a Rollout is made of. Whatever threw may be called again.

    /// Knows what is in `generation`, besides what it knew; services that stay go on by it.
    void learn(const Generation& generation);
    /// Its listening sockets serve the frontends that they have in `generation`, which every worker
    /// has learnt; the backlogs of those that are not in it are accepted, and they are closed.
    void switch_over(const Generation& generation);
    /// Accepts from `socket`, which listens on the address of a frontend of the generation. Throws
    /// std::system_error.
    void add_listener(const FrontendSpec& frontend, Fd socket);
    /// What is not in `generation` gets no backend any more, and goes with its last session. No
    /// worker accepts for it, nor may a socket that one accepted be on its way.
    void forget_all_but(const Generation& generation) noexcept;

    /// Accepts what waits in the backlogs, and closes the listening sockets.
    void close_listeners();
    /// Ends every session with a reset, in the next turn.
    void reset_sessions() noexcept;
    /// The same, of those that `wanted` says.
    void reset_sessions(EndReason reason, const std::function<bool(const Session&)>& wanted);
    /// Descriptors or memory may have come free. Who was accepted first comes first: new clients
    /// wait while any session starves.
    void on_room() noexcept;
    /// Backends may have room: the first who waits for one tries again, if it is one of ours.
    void on_backend_room() noexcept;
    /// Tells no other worker anything from now on; they may go.
    void part() noexcept;
    /// Closes the idle pipes.
    void trim_pipes() noexcept;

    // Any thread:

    /// Runs `fn` on the worker's thread, in the order of the calls, unless the worker is gone.
    void post(std::function<void(Worker&)> fn);
    /// Sessions that it has, or is about to be given.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(); }
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.value(); }
    [[nodiscard]] PipePool::Stats pipe_stats() const;

    // For its sessions:

    Reactor& reactor() noexcept override { return reactor_; }
    void on_starved(Session& session, bool again, int error) noexcept override;
    void on_provided(Session& session) noexcept override;
    void call_first(Service& service) noexcept override;
    void on_backend_failing(const Backend& backend) noexcept override;
    void on_backend_answering(const Backend& backend) noexcept override;
    void on_session_start(const SessionStart& start) noexcept override;
    void on_session_end(const SessionSummary& summary) noexcept override;
    void destroy(Session& session) noexcept override;

private:
    [[nodiscard]] bool take_place(Listener& listener) noexcept;
    void give_place_back(Listener& listener) noexcept;
    [[nodiscard]] bool enter(Service& service) noexcept;
    [[nodiscard]] bool take_descriptors() noexcept;
    void on_accept(Listener& listener, Fd client, const Address& peer);
    [[nodiscard]] Worker& choose_worker() noexcept;
    void hand_over(Worker& to, const Frontend& frontend, Fd client, const Address& peer,
                   Admission verdict);
    struct Parcel;
    void receive(std::uint32_t frontend, Parcel& parcel, const Address& peer, Admission verdict);
    void turn_away(Parcel& parcel, const Address& peer, Admission verdict) noexcept;
    void start_session(Frontend& frontend, Fd client, const Address& peer, Admission verdict);
    void count_out() noexcept;
    void add_young(Session& session) noexcept;
    void on_accept_shortage(Listener& listener, int error);
    void pause_listeners() noexcept;
    void resume_listeners() noexcept;
    bool release_idle_pipes() noexcept;
    [[nodiscard]] Service* find_service(std::uint32_t id) noexcept;
    [[nodiscard]] Frontend* find_frontend(std::uint32_t id) noexcept;
    void forget_unused() noexcept;
    void learn_services(const Generation& generation);
    void wake_sessions(const Service& service) noexcept;
    void learn_frontends(const Generation& generation);
    [[nodiscard]] Duration inspection_interval() const noexcept;

    Reactor& reactor_;
    const std::size_t index_;
    const Shared& shared_;
    RelayContexts contexts_;
    std::vector<std::unique_ptr<Service>> services_;
    std::vector<std::unique_ptr<Frontend>> frontends_;
    std::span<Worker* const> peers_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    // Lets young sessions settle, a second after they began, in the order in which they did.
    class Settler final : public Task {
    public:
        explicit Settler(Worker& worker) noexcept
            : worker_{worker}, timer_{worker.reactor_, *this} {}
        void expect_a_session() noexcept {
            if (!timer_.armed()) timer_.start(settling_age);
        }
        Next run() noexcept override;

    private:
        Worker& worker_;
        Timer timer_;
    };
    static constexpr Duration settling_age = std::chrono::seconds{1};

    // Looks at every settled session, again and again: whether its peers are gone, how long its
    // backend takes, and whether it is one to be moved.
    class Inspector final : public Task {
    public:
        explicit Inspector(Worker& worker) noexcept
            : worker_{worker}, timer_{worker.reactor_, *this} {}
        /// Zero: not at all.
        void set_interval(Duration interval) noexcept;
        void expect_a_session() noexcept {
            if (interval_ > Duration{0} && !timer_.armed()) timer_.start(interval_);
        }
        Next run() noexcept override;

    private:
        Worker& worker_;
        Timer timer_;
        Duration interval_{0};
        std::uint8_t round_ = 1;
        bool in_round_ = false;
    };

    // Lets the listeners go on when a service's rate allows for another client.
    class Pacemaker final : public Task {
    public:
        explicit Pacemaker(Worker& worker) noexcept
            : worker_{worker}, timer_{worker.reactor_, *this} {}
        void wait_until(TimePoint when) noexcept;
        Next run() noexcept override;

    private:
        Worker& worker_;
        Timer timer_;
        TimePoint due_;
    };

    Slab<Session> memory_;
    // Every session is in one of these:
    IntrusiveList<Session> young_;
    IntrusiveList<Session> settled_;
    IntrusiveList<Session> starved_;  // waits for descriptors or memory
    Settler settler_{*this};
    Inspector inspector_{*this};
    Pacemaker pacemaker_{*this};
    const Listener* last_served_ = nullptr;
    bool parted_ = false;
    Counter accepted_;
    std::atomic<std::size_t> load_{0};
    std::shared_ptr<Worker*> self_;  // who posts keeps a weak pointer
};

}  // namespace eplb
