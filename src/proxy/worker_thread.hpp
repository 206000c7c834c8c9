#pragma once

#include "eplb/clock.hpp"
#include "proxy/worker.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace eplb {

/// A thread with a reactor and a worker on it. All signals but those of faults are blocked there:
/// they are for the threads that the process had before.
///
/// The only place where a proxy has to do with threads, and a seam at link time, as `sys` is: in the
/// simulation its reactor is turned by whoever turns the others.
class WorkerThread {
public:
    /// Returns when the worker is there; throws what making it threw. `shared` outlives it.
    WorkerThread(std::size_t index, const Worker::Shared& shared, Duration busy_poll);
    /// Ends the thread after the turn in progress, and resets the worker's sessions. Nobody may
    /// post to the worker any more.
    ~WorkerThread();
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;

    /// For what any thread may do with it.
    [[nodiscard]] Worker& worker() noexcept;
    /// Runs `fn` on the thread: as Worker::post().
    void post(std::function<void(Worker&)> fn);
    /// Runs `fn` on the thread and waits for it; throws what it threw.
    void call(const std::function<void(Worker&)>& fn);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace eplb
