#include "proxy/worker_thread.hpp"

#include "base/threads.hpp"
#include "eplb/export.hpp"
#include "eplb/reactor.hpp"

#include <csignal>
#include <exception>
#include <fmt/format.h>
#include <future>
#include <new>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <utility>

namespace eplb {
namespace {

// For as long as a thread is being started, which inherits the mask.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
            sigdelset(&all, fault);
        }
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

// What sessions need and cannot have costs one of them its connection, and throws nothing. What else
// there is to do runs again in the next turn, as an exception leaves it: see Reactor.
void turn_until_stopped(Reactor& reactor, Worker& worker) {
    for (;;) {
        try {
            return reactor.run();
        } catch (const std::bad_alloc&) {
            worker.on_out_of_memory();
        }
    }
}

}  // namespace

class EPLB_LOCAL WorkerThread::Impl {
public:
    Impl(std::size_t index, const Worker::Shared& shared, Duration busy_poll);
    ~Impl();
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] Worker& worker() noexcept { return *worker_; }

private:
    Worker* worker_ = nullptr;
    std::thread thread_;
};

WorkerThread::Impl::Impl(std::size_t index, const Worker::Shared& shared, Duration busy_poll) {
    std::promise<void> ready;
    std::future<void> is_ready = ready.get_future();
    auto live = [this, index, &shared, busy_poll, ready = std::move(ready)]() mutable {
        pthread_setname_np(pthread_self(), fmt::format("eplb-{}", index).c_str());
        std::exception_ptr failure;
        try {
            Reactor reactor;
            reactor.set_busy_poll(busy_poll);
            Worker worker{reactor, index, shared};
            worker_ = &worker;
            ready.set_value();
            turn_until_stopped(reactor, worker);
            return;
        } catch (...) {
            // Once it serves, there is no one to tell, and no way to go on without its sessions.
            if (worker_ != nullptr) std::terminate();
            failure = std::current_exception();
        }
        ready.set_exception(std::move(failure));
    };
    try {
        const SignalsBlocked blocked;
        thread_ = std::thread{std::move(live)};
    } catch (const std::system_error& error) {
        throw fmt::system_error(error.code().value(), "cannot start the thread of worker {}: {}",
                                index + 1, no_thread);
    }
    try {
        is_ready.get();
    } catch (...) {
        thread_.join();
        throw;
    }
}

WorkerThread::Impl::~Impl() {
    // From within: a stop() from here might still be busy with a reactor that is gone already.
    worker_->post([](Worker& worker) { worker.reactor().stop(); });
    thread_.join();
}

WorkerThread::WorkerThread(std::size_t index, const Worker::Shared& shared, Duration busy_poll)
    : impl_{std::make_unique<Impl>(index, shared, busy_poll)} {}
WorkerThread::~WorkerThread() = default;

Worker& WorkerThread::worker() noexcept { return impl_->worker(); }

void WorkerThread::post(std::function<void(Worker&)> fn) { worker().post(std::move(fn)); }

void WorkerThread::call(const std::function<void(Worker&)>& fn) {
    std::promise<void> done;
    post([&](Worker& worker) {
        try {
            fn(worker);
            done.set_value();
        } catch (...) {
            done.set_exception(std::current_exception());
        }
    });
    done.get_future().get();
}

}  // namespace eplb
