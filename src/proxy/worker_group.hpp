#pragma once

#include "eplb/clock.hpp"
#include "eplb/proxy.hpp"
#include "proxy/session_orders.hpp"
#include "proxy/worker.hpp"
#include "proxy/worker_shared.hpp"
#include "proxy/worker_thread.hpp"

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace eplb {

class Reactor;

/// The workers of a proxy: the first one on the reactor that the proxy was given, each of the others
/// on a thread of its own. Whatever there is to tell all of them is told here.
///
/// Belongs to the thread of the first one, but for what says otherwise. Which workers there are does
/// not change from start() to the end.
class WorkerGroup {
public:
    /// Has none yet. Both outlive it.
    WorkerGroup(Reactor& reactor, const WorkerShared& shared) noexcept
        : reactor_{reactor}, shared_{shared} {}
    WorkerGroup(const WorkerGroup&) = delete;
    WorkerGroup& operator=(const WorkerGroup&) = delete;

    /// So many, of whom each knows the others. Throws what making one threw; once.
    void start(std::size_t count, Duration busy_poll);
    [[nodiscard]] std::size_t size() const noexcept { return workers_.size(); }
    /// There are no threads. Any worker's thread.
    [[nodiscard]] bool is_single() const noexcept { return threads_.empty(); }
    [[nodiscard]] Worker& first() noexcept { return *first_; }
    [[nodiscard]] std::span<const std::unique_ptr<WorkerThread>> others() const noexcept {
        return threads_;
    }

    // Runs `fn` on the thread of the worker with that index, or of each, and waits for it; throws what
    // it threw. Not once clients are being served.
    void call(std::size_t index, const std::function<void(Worker&)>& fn);
    void call_each(const std::function<void(Worker&)>& fn);
    /// Runs `fn` on every worker, and waits for nobody; on the first one within this call. Throws
    /// std::bad_alloc.
    void broadcast(const std::function<void(Worker&)>& fn);

    /// Every worker does what `orders` say. Throws std::bad_alloc.
    void carry_out(SessionOrders orders);
    /// Every session there is. `later`: also those of the first worker in a turn of its own.
    void reset_sessions(bool later) noexcept;
    /// As Worker::close_listeners(): calls `on_closed` when all have, maybe within this call. Throws
    /// std::bad_alloc.
    void close_listeners(std::function<void()> on_closed);
    /// As Worker::on_backend_room().
    void on_backend_room() noexcept;

    // On the thread of any worker; nothing happens once the workers are being stopped:

    /// There is room for what `worker` waits for, whose turn it is, as WaitingTurns says.
    void on_room(std::size_t worker) noexcept;
    /// As Worker::trim_pipes(), if there are several: a single one has closed its own.
    void trim_pipes() noexcept;

    /// A few loads for each worker.
    [[nodiscard]] std::size_t active_sessions() const noexcept;
    [[nodiscard]] ProxyStats stats() const;

    /// Any thread.
    [[nodiscard]] bool stopping() const noexcept { return stopping_; }
    void begin_to_stop() noexcept { stopping_ = true; }
    /// Ends the threads. The first worker goes on, and knows of no other.
    void part() noexcept;
    /// Ends the threads, and all workers, with their sessions.
    void stop() noexcept;

private:
    void end_threads() noexcept;

    Reactor& reactor_;
    const WorkerShared& shared_;
    std::unique_ptr<Worker> first_;
    std::vector<std::unique_ptr<WorkerThread>> threads_;
    std::vector<Worker*> workers_;  // all of them; does not change once one accepts
    std::atomic<bool> stopping_{false};
};

}  // namespace eplb
