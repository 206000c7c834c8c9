// eplb::WorkerThread without a thread: its reactor is one of the simulated machine's crew.

#include "proxy/worker_thread.hpp"

#include "eplb/reactor.hpp"
#include "sim/kernel.hpp"

#include <exception>
#include <utility>

namespace eplb {

class WorkerThread::Impl {
public:
    Impl(std::size_t index, const Worker::Shared& shared)
        : reactor_{sim::Kernel::current().clock()},
          worker_{reactor_, index, shared},
          member_{sim::Kernel::current().crew(), reactor_} {}
    // As a thread does: what was posted is done.
    ~Impl() {
        worker_.post([](Worker& worker) { worker.reactor().stop(); });
        while (!reactor_.stop_requested()) member_.turn();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] Worker& worker() noexcept { return worker_; }
    void turn() { member_.turn(); }

private:
    Reactor reactor_;
    Worker worker_;
    sim::Crew::Member member_;
};

WorkerThread::WorkerThread(std::size_t index, const Worker::Shared& shared, Duration)
    : impl_{std::make_unique<Impl>(index, shared)} {}
WorkerThread::~WorkerThread() = default;

Worker& WorkerThread::worker() noexcept { return impl_->worker(); }

// Between two letters to two workers there may be a long time for both.
void WorkerThread::post(std::function<void(Worker&)> fn) {
    worker().post(std::move(fn));
    sim::Kernel::current().let_others_run();
}

void WorkerThread::call(const std::function<void(Worker&)>& fn) {
    bool done = false;
    std::exception_ptr failure;
    worker().post([&](Worker& worker) {
        try {
            fn(worker);
        } catch (...) {
            failure = std::current_exception();
        }
        done = true;
    });
    while (!done) impl_->turn();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace eplb
