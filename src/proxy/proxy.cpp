#include "eplb/proxy.hpp"

#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "proxy/drain.hpp"
#include "proxy/limits.hpp"
#include "proxy/listener_manager.hpp"
#include "proxy/observer_gate.hpp"
#include "proxy/retirements.hpp"
#include "proxy/rollout.hpp"
#include "proxy/roster.hpp"
#include "proxy/session_orders.hpp"
#include "proxy/shortage_report.hpp"
#include "proxy/supervisor.hpp"
#include "proxy/worker_group.hpp"
#include "proxy/worker_shared.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fmt/format.h>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace eplb {
namespace {

Limits limits_of(const Config& config, std::size_t workers) {
    if (workers == 0) throw std::invalid_argument("there has to be at least one worker");
    return work_out_limits(descriptor_limit(), config.max_connections,
                           descriptors_besides_sessions(config, workers));
}

}  // namespace

class EPLB_LOCAL Proxy::Impl {
public:
    Impl(Reactor& reactor, const Config& config, ProxyObserver& observer)
        : reactor_{reactor},
          observer_{observer},
          limits_{limits_of(config, config.workers)},
          budget_{limits_.descriptors, limits_.sessions,
                  [this](std::size_t worker) { workers_.on_room(worker); }},
          shortages_{observer_} {
        tell_of_a_low_limit(limits_);
        Roster::Draft draft = roster_.draft(config);
        Roster::make_balancers(draft, config.workers);
        workers_.start(config.workers, config.busy_poll);
        try {
            ListenerManager::Opened opened = listeners_.open(draft);
            roster_.commit(draft);
            workers_.call_each([&](Worker& worker) { worker.learn(roster_.generation()); });
            supervisor_->supervise(roster_.members());
            listeners_.add_to_workers(opened);
            listeners_.wait_for_interfaces(opened);
        } catch (...) {
            workers_.stop();
            throw;
        }
    }

    ~Impl() { end(); }

    /// Everything that could tell the observer of its end does so, while all that the observer may
    /// ask is still there.
    void end() noexcept {
        workers_.begin_to_stop();
        cancel_rollout();
        drain_.reset();
        retirements_.clear();
        listeners_.stop_waiting();
        workers_.stop();
        supervisor_.reset();
    }

    /// Whether the observer is being told something: some worker, or the supervisor, is in the middle
    /// of things.
    [[nodiscard]] bool is_telling() const noexcept { return observer_.telling(); }
    /// Destroys `impl` in the reactor's next turn, and has the observer told nothing more. Whoever
    /// tells it right now finds everything in its place when it returns.
    static void end_later(std::unique_ptr<Impl> impl) {
        impl->abandoned_ = true;
        impl->observer_.shut();
        impl->cancel_rollout();
        impl->workers_.part();
        Reactor& reactor = impl->reactor_;
        // Shared only because std::function wants to be copied.
        reactor.post([doomed = std::shared_ptr<Impl>{std::move(impl)}] {});
    }

    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    // Programs around us are built without our asserts.
    void reject_untimely_apply() const {
        if (applying_) throw std::logic_error("apply: another configuration is being applied");
        if (draining_) throw std::logic_error("apply: the proxy is being drained");
        if (is_telling()) throw std::logic_error("apply: called from within the observer");
    }

    // Any thread.
    [[nodiscard]] Roster::Draft prepare(Config config) const {
        return roster_.draft(std::move(config));
    }

    void apply(const std::shared_ptr<Roster::Draft>& draft, std::function<void()> on_applied) {
        reject_untimely_apply();
        applying_ = true;  // what makes the balancers may not call us either
        Limits limits;
        ListenerManager::Opened opened;
        try {
            limits = limits_of(draft->config(), workers_.size());
            // Another one was applied since it was prepared, or this one was, or it is another
            // proxy's.
            if (!roster_.is_current(*draft)) *draft = roster_.draft(draft->config());
            Roster::make_balancers(*draft, workers_.size());
            listeners_.reject_what_takes_a_restart(*draft);
            opened = listeners_.open(*draft);
        } catch (...) {
            applying_ = false;
            throw;
        }
        // Nothing fails from here on.
        if (limits.sessions != limits_.sessions) tell_of_a_low_limit(limits);
        limits_ = limits;
        budget_.set_limits(limits.descriptors, limits.sessions);
        roster_.commit(*draft);
        supervisor_->announce(roster_.members());
        listeners_.forget_troubles();
        listeners_.wait_for_interfaces(opened);
        rollout_ = std::make_shared<Rollout>(
            Rollout::Crew{reactor_, workers_.first(), workers_.others(), observer_},
            Rollout::Plan{draft->generation(), std::move(opened)});
        rollout_->begin(
            [this, draft, on_applied = std::move(on_applied)] { rolled_out(*draft, on_applied); });
    }

    [[nodiscard]] std::vector<std::string> listener_troubles() const {
        return listeners_.troubles();
    }

    [[nodiscard]] const Config& config() const noexcept { return roster_.config(); }
    [[nodiscard]] std::vector<BackendStatus> backends() const { return roster_.backends(); }
    [[nodiscard]] std::vector<ListenerStatus> listeners() const { return roster_.listeners(); }

    std::size_t set_backend(std::string_view service, std::string_view backend,
                            Backend::Wanted wanted) {
        if (workers_.stopping()) return 0;
        // The supervisor may not know yet of what apply() has brought.
        const std::vector<ServiceBackend> found = roster_.members(service, backend);
        for (const ServiceBackend& member : found) supervisor_->set_wanted(member, wanted);
        return found.size();
    }

    void drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
        if (workers_.stopping()) return;
        draining_ = true;
        listeners_.stop_waiting();
        deadline_ =
            timeout > Duration{0} ? saturating_add(reactor_.now(), timeout) : TimePoint::max();
        on_drained_ = std::move(on_drained);
        if (closing_) return;  // of an earlier call: this one takes its place
        // What they accept is counted before anybody asks how many are left; the socket that one
        // hands to another is in that one's letters before the answer is in ours.
        closing_ = true;
        try {
            if (!is_telling()) return close_listeners();
            workers_.first().post(
                [this](Worker&) { close_listeners(); });  // an accept may be under way
        } catch (const std::bad_alloc&) {
            closing_ = false;  // whoever is told may try again
            throw;
        }
    }

    void drain(std::function<void(std::size_t)> on_drained) {
        Duration longest{0};
        bool endless = false;
        for (const ServiceConfig& service : config().services) {
            endless = endless || service.drain_timeout == Duration{0};
            longest = std::max(longest, service.drain_timeout);
        }
        for (std::size_t i = 0; i < config().services.size(); ++i) {
            const Duration timeout = config().services[i].drain_timeout;
            if (timeout == Duration{0} || (timeout == longest && !endless)) continue;
            SessionOrders orders;
            orders.reset_those_of_service(roster_.generation().services[i]->id, EndReason::drain);
            retirements_.retire(timeout, std::move(orders));
        }
        drain(endless ? Duration{0} : longest, std::move(on_drained));
    }

    void reset_sessions() noexcept {
        if (workers_.stopping()) return;
        if (closing_) {
            reset_when_closed_ = true;
            return;
        }
        // In a turn of its own, if some session is in the middle of something.
        workers_.reset_sessions(is_telling());
    }

    [[nodiscard]] std::size_t max_connections() const noexcept { return limits_.sessions; }

    [[nodiscard]] std::size_t active_sessions() const noexcept {
        return workers_.active_sessions();
    }

    [[nodiscard]] ProxyStats stats() const { return workers_.stats(); }

    [[nodiscard]] std::vector<Address> listen_addresses() const {
        std::vector<Address> addresses;
        for (const FrontendSpec& frontend : roster_.generation().frontends)
            addresses.push_back(frontend.address);
        return addresses;
    }

private:
    // --- going over

    void on_answers() noexcept {
        if (const auto rollout = rollout_) rollout->look_at_answers();
    }

    // Every worker works by the new configuration. If there is no memory for this, it is called
    // again.
    void rolled_out(const Roster::Draft& draft, const std::function<void()>& on_applied) {
        // Not before: what is known of a backend that is gone is forgotten, and until now clients
        // may have been sent to it.
        supervisor_->supervise(roster_.members());
        retirements_.retire_removed(draft);
        if (on_applied) {
            workers_.first().post([this, on_applied](Worker&) {
                if (!abandoned_) on_applied();
            });
        }
        rollout_.reset();
        applying_ = false;
        if (std::exchange(close_when_rolled_out_, false)) close_listeners();
    }

    void cancel_rollout() noexcept {
        if (const auto rollout = std::exchange(rollout_, nullptr)) rollout->cancel();
    }

    // --- backends' health

    // From the thread of any worker.
    void tell_supervisor(const Backend& backend, void (Supervisor::*what)(const Backend& backend)) {
        if (workers_.stopping()) return;
        if (workers_.is_single()) return tell(backend, what);
        workers_.first().post(
            [this, what, backend = backend.shared_from_this()](Worker&) { tell(*backend, what); });
    }
    void tell(const Backend& backend, void (Supervisor::*what)(const Backend& backend)) {
        if (supervisor_) (*supervisor_.*what)(backend);
    }

    // --- draining

    void on_closed() {
        closing_ = false;
        begin_drain();
        if (std::exchange(reset_when_closed_, false)) reset_sessions();
    }

    // In the middle of a rollout some worker may be about to open one.
    void close_listeners() {
        if (rollout_) {
            close_when_rolled_out_ = true;
            return;
        }
        workers_.close_listeners([this] { on_closed(); });
    }

    void begin_drain() {
        drain_ = std::make_unique<Drain>(
            reactor_, observer_, deadline_,
            Drain::Hooks{
                .sessions_left = [this] { return active_sessions(); },
                .reset_sessions = [this] { reset_sessions(); },
                .on_drained =
                    [this, on_drained = std::exchange(on_drained_, {})](std::size_t reset) {
                        if (!abandoned_ && on_drained) on_drained(reset);
                    }});
    }

    // On the thread of any worker.
    void on_session_gone() {
        if (!draining_) return;
        if (workers_.is_single()) {
            on_sessions_gone();
        } else if (active_sessions() == 0) {
            workers_.first().call(Worker::Wish::look_at_sessions);
        }
    }

    void on_sessions_gone() noexcept {
        if (drain_) drain_->on_session_gone();
    }

    // --- running out

    void tell_of_a_low_limit(const Limits& limits) {
        const std::string line = describe_low_limit(descriptor_limit(), limits);
        if (!line.empty()) observer_.on_event(LogLevel::warning, line);
    }

    void on_splice_refused(int error) {
        if (refusal_told_.exchange(true)) return;  // another worker has
        try {
            observer_.on_event(
                LogLevel::warning,
                fmt::format("splice(2) refused: {}; copying instead", std::strerror(error)));
        } catch (const std::bad_alloc&) {
            refusal_told_ = false;  // maybe another worker can
        }
    }

    Reactor& reactor_;
    ObserverGate observer_;
    Limits limits_;
    DescriptorBudget budget_;
    ShortageReport shortages_;
    Roster roster_{[this](std::size_t worker) { workers_.on_room(worker); }};
    Worker::Shared shared_{
        .observer = observer_,
        .budget = budget_,
        .shortages = shortages_,
        .on_splice_refused = [this](int error) { on_splice_refused(error); },
        .on_session_gone = [this] { on_session_gone(); },
        .on_sessions_gone = [this] { on_sessions_gone(); },
        .on_answers = [this] { on_answers(); },
        .on_backend_failing =
            [this](const Backend& backend) { tell_supervisor(backend, &Supervisor::on_failure); },
        .on_backend_answering =
            [this](const Backend& backend) { tell_supervisor(backend, &Supervisor::on_success); },
        .on_listener_trouble =
            [this](const std::string& trouble) { listeners_.tell_trouble(trouble); },
        .on_pipes_in_the_way = [this] { workers_.trim_pipes(); }};
    std::unique_ptr<Supervisor> supervisor_ = std::make_unique<Supervisor>(
        reactor_, observer_,
        Supervisor::Hooks{
            .on_change = [this] { workers_.on_backend_room(); },
            .on_down = [this](const ServiceBackend& member) { retirements_.retire_down(member); },
            .on_up =
                [this](const ServiceBackend& member) { retirements_.pardon(*member.backend); }});
    WorkerGroup workers_{reactor_, shared_};
    std::atomic<bool> refusal_told_{false};

    bool applying_ = false;
    ListenerManager listeners_{reactor_, observer_, roster_, workers_,
                               [this] { return applying_; }};
    std::shared_ptr<Rollout> rollout_;  // of apply(), while workers go over
    bool close_when_rolled_out_ = false;
    Retirements retirements_{reactor_, workers_};

    // Of a drain:
    std::atomic<bool> draining_{false};
    bool abandoned_ = false;  // destroyed within a call of the observer: nobody is told anything
    bool closing_ = false;    // some workers' listeners are not closed yet
    bool reset_when_closed_ = false;
    TimePoint deadline_;
    std::function<void(std::size_t)> on_drained_;
    std::unique_ptr<Drain> drain_;
};

struct EPLB_LOCAL PreparedConfig::Impl {
    explicit Impl(Roster::Draft&& made) : draft{std::move(made)} {}
    Roster::Draft draft;
};

Proxy::Proxy(Reactor& reactor, const Config& config, ProxyObserver& observer)
    : impl_{std::make_unique<Impl>(reactor, config, observer)} {}
Proxy::~Proxy() {
    if (impl_->is_telling()) {
        Impl::end_later(std::move(impl_));
    } else {
        impl_->end();  // not in ~Impl: whoever is told of it may still ask us
    }
}

PreparedConfig Proxy::prepare(Config config) const {
    return PreparedConfig{
        std::make_shared<PreparedConfig::Impl>(impl_->prepare(std::move(config)))};
}
void Proxy::apply(const PreparedConfig& prepared, std::function<void()> on_applied) {
    impl_->apply({prepared.impl_, &prepared.impl_->draft}, std::move(on_applied));
}
// What is untimely is told before what is wrong with it.
void Proxy::apply(const Config& config, std::function<void()> on_applied) {
    impl_->reject_untimely_apply();
    apply(prepare(config), std::move(on_applied));
}
const Config& PreparedConfig::config() const noexcept { return impl_->draft.config(); }
std::vector<std::string> Proxy::listener_troubles() const { return impl_->listener_troubles(); }
const Config& Proxy::config() const noexcept { return impl_->config(); }
std::vector<BackendStatus> Proxy::backends() const { return impl_->backends(); }
std::vector<ListenerStatus> Proxy::listeners() const { return impl_->listeners(); }
std::size_t Proxy::set_backend(std::string_view service, std::string_view backend,
                               Backend::Wanted wanted) {
    return impl_->set_backend(service, backend, wanted);
}
void Proxy::drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
    impl_->drain(timeout, std::move(on_drained));
}
void Proxy::drain(std::function<void(std::size_t)> on_drained) {
    impl_->drain(std::move(on_drained));
}
void Proxy::reset_sessions() noexcept { impl_->reset_sessions(); }
std::size_t Proxy::max_connections() const noexcept { return impl_->max_connections(); }
std::size_t Proxy::active_sessions() const noexcept { return impl_->active_sessions(); }
ProxyStats Proxy::stats() const { return impl_->stats(); }
std::vector<Address> Proxy::listen_addresses() const { return impl_->listen_addresses(); }

}  // namespace eplb
