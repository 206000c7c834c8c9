#include "proxy/worker_group.hpp"

#include "eplb/waiting_turns.hpp"

#include <utility>

namespace eplb {

void WorkerGroup::start(std::size_t count, Duration busy_poll) {
    first_ = std::make_unique<Worker>(reactor_, 0, shared_);
    workers_.push_back(first_.get());
    for (std::size_t i = 1; i < count; ++i) {
        threads_.push_back(std::make_unique<WorkerThread>(i, shared_, busy_poll));
        workers_.push_back(&threads_.back()->worker());
    }
    call_each([this](Worker& worker) { worker.set_peers(workers_); });
}

void WorkerGroup::call(std::size_t index, const std::function<void(Worker&)>& fn) {
    if (index == 0) return fn(*first_);
    threads_[index - 1]->call(fn);
}

void WorkerGroup::call_each(const std::function<void(Worker&)>& fn) {
    for (std::size_t i = 0; i < workers_.size(); ++i) call(i, fn);
}

void WorkerGroup::broadcast(const std::function<void(Worker&)>& fn) {
    for (const auto& thread : threads_) thread->post(fn);
    fn(*first_);
}

void WorkerGroup::carry_out(SessionOrders orders) {
    broadcast([orders = std::make_shared<const SessionOrders>(std::move(orders))](Worker& worker) {
        worker.carry_out(*orders);
    });
}

void WorkerGroup::reset_sessions(bool later) noexcept {
    if (!later) first_->reset_sessions();
    for (Worker* const worker : workers_) {
        if (worker != first_.get() || later) worker->call(Worker::Wish::reset_sessions);
    }
}

void WorkerGroup::close_listeners(std::function<void()> on_closed) {
    // Told in the end by the first worker, on this thread.
    const auto left = std::make_shared<std::size_t>(workers_.size());
    const auto count = [left, on_closed = std::move(on_closed)] {
        if (--*left == 0) on_closed();
    };
    for (const auto& thread : threads_) {
        thread->post([this, count](Worker& worker) {
            worker.close_listeners([this, count] { first_->post([count](Worker&) { count(); }); });
        });
    }
    first_->close_listeners(count);
}

void WorkerGroup::on_backend_room() noexcept {
    first_->on_backend_room();
    for (const auto& thread : threads_) thread->worker().call(Worker::Wish::backend_room);
}

void WorkerGroup::on_room(std::size_t worker) noexcept {
    if (stopping_) return;
    if (is_single()) return first_->on_room();
    for (; worker < workers_.size(); worker += WaitingTurns::most_told_apart)
        workers_[worker]->call(Worker::Wish::turn);
}

void WorkerGroup::trim_pipes() noexcept {
    if (stopping_ || is_single()) return;
    for (Worker* const worker : workers_) worker->call(Worker::Wish::trim_pipes);
}

std::size_t WorkerGroup::active_sessions() const noexcept {
    std::size_t count = 0;
    for (const Worker* worker : workers_) count += worker->load();
    return count;
}

ProxyStats WorkerGroup::stats() const {
    ProxyStats stats;
    for (const Worker* worker : workers_) {
        stats.active_sessions += worker->load();
        stats.sessions_by_worker.push_back(worker->load());
        stats.accepted += worker->accepted();
        const PipePool::Stats pipes = worker->pipe_stats();
        stats.pipes.open += pipes.open;
        stats.pipes.lent += pipes.lent;
        stats.pipes.created += pipes.created;
        stats.pipes.degraded += pipes.degraded;
        stats.pipes.unavailable += pipes.unavailable;
        stats.pipes.discarded += pipes.discarded;
    }
    return stats;
}

void WorkerGroup::part() noexcept {
    first_->set_peers({});
    end_threads();
}

// Nobody accepts, so nobody hands a socket over; then nobody tells of room; then they may go, in any
// order.
void WorkerGroup::stop() noexcept {
    if (first_) first_->part();
    end_threads();
    first_.reset();
    workers_.clear();
}

void WorkerGroup::end_threads() noexcept {
    stopping_ = true;
    for (const auto& thread : threads_) {
        thread->call([](Worker& worker) { worker.part(); });
    }
    threads_.clear();
    if (!workers_.empty()) workers_.erase(workers_.begin() + 1, workers_.end());
}

}  // namespace eplb
