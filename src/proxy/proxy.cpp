#include "eplb/proxy.hpp"

#include "base/local_interfaces.hpp"
#include "eplb/reactor.hpp"
#include "proxy/drain.hpp"
#include "proxy/limits.hpp"
#include "proxy/service.hpp"
#include "proxy/shortage_report.hpp"
#include "proxy/worker.hpp"
#include "proxy/worker_thread.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb {
namespace {

// Listening sockets, and what a further worker's reactor takes.
std::size_t descriptors_besides_sessions(const Config& config) {
    if (config.workers == 0) throw std::invalid_argument("there has to be at least one worker");
    std::size_t listeners = 0;
    for (const ServiceConfig& service : config.services) listeners += service.listen.size();
    return listeners * config.workers + 2 * (config.workers - 1);
}

// A backend that is one of our own listeners would connect us to ourselves until descriptors run
// out.
void reject_loops(const Config& config) {
    for (const ServiceConfig& service : config.services) {
        for (const BackendConfig& backend : service.backends) {
            for (const ServiceConfig& other : config.services) {
                for (const Address& listener : other.listen) {
                    const bool same = listener == backend.address;
                    // [::] takes IPv4 as well, 0.0.0.0 does not take IPv6.
                    const bool takes =
                        listener.is_wildcard() &&
                        (listener.family() == AF_INET6 || backend.address.family() == AF_INET);
                    const bool covered = takes && listener.port() != 0 &&
                                         listener.port() == backend.address.port() &&
                                         is_on_this_machine(backend.address);
                    if (!same && !covered) continue;
                    throw std::invalid_argument(fmt::format(
                        "backend {} is our own listener {}: every connection would loop",
                        backend.address.to_string(), listener.to_string()));
                }
            }
        }
    }
}

void reject_duplicate_listeners(const Config& config) {
    std::vector<Address> seen;
    for (const ServiceConfig& service : config.services) {
        for (const Address& listener : service.listen) {
            const bool any_port = !listener.is_unix() && listener.port() == 0;
            if (!any_port && std::find(seen.begin(), seen.end(), listener) != seen.end()) {
                throw std::invalid_argument(
                    fmt::format("listener {} is given twice", listener.to_string()));
            }
            seen.push_back(listener);
        }
    }
}

}  // namespace

class Proxy::Impl {
public:
    Impl(Reactor& reactor, const Config& config, ProxyObserver& observer)
        : reactor_{reactor},
          observer_{observer},
          limits_{work_out_limits(descriptor_limit(), config.max_connections,
                                  descriptors_besides_sessions(config))},
          budget_{limits_.descriptors, limits_.sessions, [this] { on_room(); }},
          shortages_{observer} {
        reject_duplicate_listeners(config);
        reject_loops(config);
        for (const ServiceConfig& service : config.services) {
            services_.push_back(std::make_unique<Service>(service, services_.size()));
        }
        shared_.relay = relay_options(config);
        first_ = std::make_unique<Worker>(reactor, 0, shared_);
        workers_.push_back(first_.get());
        for (std::size_t i = 1; i < config.workers; ++i) {
            threads_.push_back(std::make_unique<WorkerThread>(i, shared_, config.busy_poll));
            workers_.push_back(&threads_.back()->worker());
        }
        first_->set_peers(workers_);
        for (const auto& thread : threads_) {
            thread->call([this](Worker& worker) { worker.set_peers(workers_); });
        }
        try {
            for (std::size_t i = 0; i < config.services.size(); ++i) {
                for (const Address& address : config.services[i].listen) {
                    open_frontend(*services_[i], address);
                }
            }
        } catch (...) {
            stop_workers();
            throw;
        }
    }

    ~Impl() {
        drain_.reset();
        stop_workers();
    }

    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
        draining_ = true;
        deadline_ = timeout > Duration{0} ? reactor_.now() + timeout : TimePoint::max();
        on_drained_ = std::move(on_drained);
        first_->close_listeners();
        // What they accept is counted before anybody asks how many are left; the socket that one
        // hands to another is in that one's letters before the answer is in ours.
        closing_ = threads_.size();
        for (const auto& thread : threads_) {
            thread->worker().post([this](Worker& worker) {
                worker.close_listeners();
                first_->post([this](Worker&) { on_closed(); });
            });
        }
        if (closing_ == 0) begin_drain();
    }

    void reset_sessions() noexcept {
        if (closing_ != 0) {
            reset_when_closed_ = true;
            return;
        }
        first_->reset_sessions();
        for (const auto& thread : threads_) {
            thread->worker().post([](Worker& worker) { worker.reset_sessions(); });
        }
    }

    [[nodiscard]] std::size_t max_connections() const noexcept { return limits_.sessions; }

    [[nodiscard]] std::size_t active_sessions() const noexcept {
        std::size_t count = 0;
        for (const Worker* worker : workers_) count += worker->load();
        return count;
    }

    [[nodiscard]] ProxyStats stats() const {
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

    [[nodiscard]] std::vector<Address> listen_addresses() const {
        std::vector<Address> addresses;
        addresses.reserve(frontends_.size());
        for (const auto& frontend : frontends_) addresses.push_back(frontend->address);
        return addresses;
    }

private:
    RelayContext::Options relay_options(const Config& config) {
        RelayContext::Options options;
        options.mode = config.relay;
        if (config.pipe_bytes != 0) options.pipe_bytes = config.pipe_bytes;
        options.on_splice_refused = [this](int error) {
            if (refusal_told_.exchange(true)) return;  // another worker has
            observer_.on_event(
                LogLevel::warning,
                fmt::format("splice(2) refused: {}; copying instead", std::strerror(error)));
        };
        return options;
    }

    // A socket for each worker; the kernel shares the clients out among them. For Unix sockets there
    // is no such thing: the first worker accepts, and hands over.
    void open_frontend(Service& service, const Address& address) {
        const bool shared = !threads_.empty() && !address.is_unix();
        if (shared) require_unused(address);
        std::vector<Fd> sockets;
        sockets.push_back(listen_on(address, {.share_port = shared}));
        frontends_.push_back(
            std::make_unique<Frontend>(Frontend{service, local_address(sockets.front())}));
        const Frontend& frontend = *frontends_.back();
        while (shared && sockets.size() < workers_.size()) {
            sockets.push_back(listen_on(frontend.address, {.share_port = true}));
        }

        first_->add_listener(frontend, std::move(sockets.front()));
        for (std::size_t i = 1; i < sockets.size(); ++i) {
            threads_[i - 1]->call(
                [&](Worker& worker) { worker.add_listener(frontend, std::move(sockets[i])); });
        }
    }

    // Nobody accepts, so nobody hands a socket over; then nobody tells of room; then they may go,
    // in any order.
    void stop_workers() noexcept {
        first_->drop_listeners();
        stopping_ = true;
        for (const auto& thread : threads_) {
            thread->call([](Worker& worker) { worker.drop_listeners(); });
        }
        threads_.clear();
        first_.reset();
    }

    void on_closed() {
        if (--closing_ != 0) return;
        begin_drain();
        if (std::exchange(reset_when_closed_, false)) reset_sessions();
    }

    void begin_drain() {
        drain_ = std::make_unique<Drain>(
            reactor_, observer_, deadline_,
            Drain::Hooks{.sessions_left = [this] { return active_sessions(); },
                         .reset_sessions = [this] { reset_sessions(); },
                         .on_drained = std::move(on_drained_)});
    }

    // On the thread of any worker.
    void on_session_gone() {
        if (!draining_) return;
        if (threads_.empty()) {
            if (drain_) drain_->on_session_gone();
        } else {
            first_->post([this](Worker&) {
                if (drain_) drain_->on_session_gone();
            });
        }
    }

    void on_room() {
        if (stopping_) return;
        if (threads_.empty()) return first_->on_room();
        for (Worker* const worker : workers_) {
            worker->post([](Worker& that) { that.on_room(); });
        }
    }

    void on_pipes_in_the_way() {
        if (stopping_ || threads_.empty()) return;  // a single one has closed its own
        for (Worker* const worker : workers_) {
            worker->post([](Worker& that) { that.trim_pipes(); });
        }
    }

    Reactor& reactor_;
    ProxyObserver& observer_;
    const Limits limits_;
    DescriptorBudget budget_;
    ShortageReport shortages_;
    std::vector<std::unique_ptr<Service>> services_;
    std::vector<std::unique_ptr<Frontend>> frontends_;
    Worker::Shared shared_{.observer = observer_,
                           .budget = budget_,
                           .shortages = shortages_,
                           .services = services_,
                           .relay = {},
                           .on_session_gone = [this] { on_session_gone(); },
                           .on_pipes_in_the_way = [this] { on_pipes_in_the_way(); }};
    std::unique_ptr<Worker> first_;  // on the reactor that we were given
    std::vector<std::unique_ptr<WorkerThread>> threads_;
    std::vector<Worker*> workers_;  // all of them; does not change once one accepts
    std::atomic<bool> refusal_told_{false};
    std::atomic<bool> stopping_{false};

    // Of a drain:
    std::atomic<bool> draining_{false};
    std::size_t closing_ = 0;  // workers whose listeners are not closed yet
    bool reset_when_closed_ = false;
    TimePoint deadline_;
    std::function<void(std::size_t)> on_drained_;
    std::unique_ptr<Drain> drain_;
};

Proxy::Proxy(Reactor& reactor, const Config& config, ProxyObserver& observer)
    : impl_{std::make_unique<Impl>(reactor, config, observer)} {}
Proxy::~Proxy() = default;

void Proxy::drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
    impl_->drain(timeout, std::move(on_drained));
}
void Proxy::reset_sessions() noexcept { impl_->reset_sessions(); }
std::size_t Proxy::max_connections() const noexcept { return impl_->max_connections(); }
std::size_t Proxy::active_sessions() const noexcept { return impl_->active_sessions(); }
ProxyStats Proxy::stats() const { return impl_->stats(); }
std::vector<Address> Proxy::listen_addresses() const { return impl_->listen_addresses(); }

}  // namespace eplb
