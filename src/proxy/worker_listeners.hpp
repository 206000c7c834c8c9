#pragma once

#include "eplb/fd.hpp"
#include "proxy/listener.hpp"
#include "proxy/service_spec.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace eplb {

class Reactor;
class WorkerCatalog;
struct WorkerShared;

/// The listening sockets of a worker: opened and closed as generations want it, and paused while
/// nobody can be accepted.
///
/// Belongs to the thread of its worker.
class WorkerListeners {
public:
    /// `handlers` are called for each listener. All that is referred to outlives it.
    WorkerListeners(Reactor& reactor, WorkerCatalog& catalog, const WorkerShared& shared,
                    Listener::Handlers handlers);
    WorkerListeners(const WorkerListeners&) = delete;
    WorkerListeners& operator=(const WorkerListeners&) = delete;

    /// Accepts from `socket`, which listens on the address of a frontend that the catalog has. Throws
    /// std::system_error.
    void add(const FrontendSpec& frontend, Fd socket);
    /// As Worker::switch_over().
    void switch_over(const Generation& generation, std::function<void()> on_done);
    /// Accepts what waits in the backlogs, a few a turn, and closes; then calls `on_closed`, maybe
    /// within this call. They stay, closed.
    void close_all(std::function<void()> on_closed);
    /// Closes at once, and resets who waits. Not within a call of the handlers.
    void clear() noexcept { listeners_.clear(); }

    /// It has accepted a client.
    void note_served(const Listener& listener) noexcept { last_served_ = &listener; }
    /// None accepts any more, until they resume. O(listeners).
    void pause() noexcept;
    /// Those that are paused, or short of what it takes, go on; the one that was served last comes
    /// last. O(listeners).
    void resume() noexcept;
    /// Those that are short of what an accept(2) takes try again at once. O(listeners).
    void try_again() noexcept;

private:
    class Closing;

    static void close(const std::vector<Listener*>& listeners, std::function<void()> on_closed);
    void reopen(Listener& listener, const FrontendSpec& spec);

    Reactor& reactor_;
    WorkerCatalog& catalog_;
    const WorkerShared& shared_;
    const Listener::Handlers handlers_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    const Listener* last_served_ = nullptr;  // may be gone
};

}  // namespace eplb
