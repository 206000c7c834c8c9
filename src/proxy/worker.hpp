#pragma once

#include "base/slab.hpp"
#include "eplb/counter.hpp"
#include "eplb/descriptor_budget.hpp"
#include "eplb/fd.hpp"
#include "eplb/flow.hpp"
#include "eplb/list_hook.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "proxy/backend_picker.hpp"
#include "proxy/listener.hpp"
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
class Service;

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
        const std::vector<std::unique_ptr<Service>>& services;
        RelayContext::Options relay;
        /// A session ended, on the calling worker's thread.
        std::function<void()> on_session_gone;
        /// Descriptors that sessions need are in pipes, maybe idle ones of other workers.
        std::function<void()> on_pipes_in_the_way;
    };

    /// `reactor` and `shared` outlive the worker.
    Worker(Reactor& reactor, std::size_t index, const Shared& shared);
    /// Resets the sessions that are left.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// All workers of the proxy, this one too; they outlive the last client that it accepts.
    void set_peers(std::span<Worker* const> peers) noexcept { peers_ = peers; }
    /// Accepts from `socket`, which listens on the frontend's address. Throws std::system_error.
    void add_listener(const Frontend& frontend, Fd socket);
    /// Accepts what waits in the backlogs, and closes the listening sockets.
    void close_listeners();
    /// Closes them as they are.
    void drop_listeners() noexcept { listeners_.clear(); }
    /// Ends every session with a reset, in the next turn.
    void reset_sessions() noexcept;
    /// Descriptors or memory may have come free. Who was accepted first comes first: new clients
    /// wait while any session starves.
    void on_room() noexcept;
    /// Closes the idle pipes.
    void trim_pipes() noexcept { context_.pipes().trim(); }

    // Any thread:

    /// Runs `fn` on the worker's thread, in the order of the calls, unless the worker is gone.
    void post(std::function<void(Worker&)> fn);
    /// Sessions that it has, or is about to be given.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(); }
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.value(); }
    [[nodiscard]] PipePool::Stats pipe_stats() const noexcept { return context_.pipes().stats(); }

    // For its sessions:

    Reactor& reactor() noexcept override { return reactor_; }
    RelayContext& relay_context() noexcept override { return context_; }
    Backend* pick(const Service& service, const Address& client,
                  std::span<const FailedAttempt> failed) noexcept override;
    void on_starved(Session& session, bool again, int error) noexcept override;
    void on_provided(Session& session) noexcept override;
    void on_session_start(const SessionStart& start) noexcept override;
    void on_session_end(const SessionSummary& summary) noexcept override;
    void destroy(Session& session) noexcept override;

private:
    [[nodiscard]] bool take_place() noexcept;
    void on_accept(const Frontend& frontend, Fd client, const Address& peer);
    [[nodiscard]] Worker& choose_worker() noexcept;
    void hand_over(Worker& to, const Frontend& frontend, Fd client, const Address& peer);
    void start_session(const Frontend& frontend, Fd client, const Address& peer);
    void add_young(Session& session) noexcept;
    void on_accept_shortage(Listener& listener, int error);
    void pause_listeners() noexcept;
    void resume_listeners() noexcept;
    bool release_idle_pipes() noexcept;

    Reactor& reactor_;
    const Shared& shared_;
    RelayContext context_;
    std::vector<BackendPicker> pickers_;  // by the index of the service
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

    Slab<Session> memory_;
    // Every session is in one of these:
    IntrusiveList<Session> young_;
    IntrusiveList<Session> settled_;
    IntrusiveList<Session> starved_;  // waits for descriptors or memory
    Settler settler_{*this};
    std::size_t last_served_ = 0;
    Counter accepted_;
    std::atomic<std::size_t> load_{0};
    std::shared_ptr<Worker*> self_;  // who posts keeps a weak pointer
};

}  // namespace eplb
