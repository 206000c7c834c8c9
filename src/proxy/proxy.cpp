#include "eplb/proxy.hpp"

#include "base/local_interfaces.hpp"
#include "eplb/reactor.hpp"
#include "proxy/drain.hpp"
#include "proxy/limits.hpp"
#include "proxy/listener.hpp"
#include "proxy/service.hpp"
#include "proxy/session.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb {
namespace {

// A shortage is felt at every attempt to accept; an operator needs to hear of it once in a while.
constexpr Duration shortage_message_interval = std::chrono::seconds{1};

std::size_t count_listeners(const Config& config) noexcept {
    std::size_t count = 0;
    for (const ServiceConfig& service : config.services) count += service.listen.size();
    return count;
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

RelayContext::Options relay_options(const Config& config, ProxyObserver& observer) {
    RelayContext::Options options;
    options.mode = config.relay;
    options.on_splice_refused = [&observer](int error) {
        observer.on_event(LogLevel::warning, fmt::format("splice(2) refused: {}; copying instead",
                                                         std::strerror(error)));
    };
    return options;
}

}  // namespace

class Proxy::Impl final : public SessionHost {
public:
    Impl(Reactor& reactor, const Config& config, ProxyObserver& observer)
        : reactor_{reactor},
          observer_{observer},
          limits_{
              work_out_limits(descriptor_limit(), config.max_connections, count_listeners(config))},
          budget_{limits_.descriptors, [this] { resume_listeners(); }},
          context_{relay_options(config, observer), &budget_} {
        reject_duplicate_listeners(config);
        reject_loops(config);
        for (const ServiceConfig& service : config.services) {
            services_.push_back(std::make_unique<Service>(service));
        }
        for (std::size_t i = 0; i < config.services.size(); ++i) {
            for (const Address& address : config.services[i].listen)
                add_listener(*services_[i], address);
        }
    }

    ~Impl() {
        drain_.reset();
        while (!sessions_.empty()) {
            Session& session = sessions_.front();
            session.reset(EndReason::drain);
            session.retire();
        }
        listeners_.clear();
        context_.pipes().trim();  // tells the budget, which would tell us
    }

    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
        for (const auto& listener : listeners_) listener->close();
        drain_ =
            std::make_unique<Drain>(reactor_, observer_, timeout,
                                    Drain::Hooks{.sessions_left = [this] { return active_; },
                                                 .reset_sessions = [this] { reset_sessions(); },
                                                 .on_drained = std::move(on_drained)});
    }

    void reset_sessions() noexcept {
        for (Session* session = sessions_.empty() ? nullptr : &sessions_.front();
             session != nullptr; session = sessions_.next(*session)) {
            session->reset(EndReason::drain);
        }
    }

    [[nodiscard]] std::size_t max_connections() const noexcept { return limits_.sessions; }

    [[nodiscard]] ProxyStats stats() noexcept {
        return {
            .active_sessions = active_, .accepted = accepted_, .pipes = context_.pipes().stats()};
    }

    [[nodiscard]] std::vector<Address> listen_addresses() const {
        std::vector<Address> addresses;
        addresses.reserve(listeners_.size());
        for (const auto& listener : listeners_) addresses.push_back(listener->address());
        return addresses;
    }

    // --- for the sessions

    Reactor& reactor() noexcept override { return reactor_; }
    RelayContext& relay_context() noexcept override { return context_; }

    void on_starved(Session& session, int error) noexcept override {
        if (!session.ListHook<StarvedSessions>::linked()) starved_.push_back(session);
        pause_listeners();
        report_shortage(error);
        if (release_idle_pipes()) starved_.front().wake();
    }

    // Who was accepted first comes first: new clients wait while any session starves.
    void on_room() noexcept override {
        if (!starved_.empty()) {
            starved_.front().wake();
        } else {
            resume_listeners();
        }
    }

    void on_session_start(const SessionStart& start) noexcept override {
        observer_.on_session_start(start);
    }

    void on_session_end(const SessionSummary& summary) noexcept override {
        observer_.on_session_end(summary);
    }

    void on_session_gone() noexcept override {
        --active_;
        budget_.return_session();
        on_room();
        if (drain_) drain_->on_session_gone();
    }

private:
    void add_listener(Service& service, const Address& address) {
        const std::size_t index = listeners_.size();
        listeners_.push_back(std::make_unique<Listener>(
            reactor_, service, address,
            [this, index](Fd client, const Address& peer) {
                last_served_ = index;
                on_accept(*listeners_[index], std::move(client), peer);
            },
            [this, index](int error) { on_accept_shortage(*listeners_[index], error); }));
    }

    void on_accept(Listener& listener, Fd client, const Address& peer) {
        ++accepted_;
        auto* const session =
            new Session{*this, listener.service(), listener.address(), std::move(client), peer};
        ++active_;
        budget_.take_session();
        sessions_.push_back(*session);
        // Now, not in the next turn: the backend is dialled before another client is accepted.
        reactor_.dispatch(*session);
        if (!has_room()) pause_listeners();
    }

    void pause_listeners() noexcept {
        for (const auto& listener : listeners_) listener->acceptor().pause();
        // Unless sessions are as many as may be, it is pipes on loan that we wait for.
        if (active_ < limits_.sessions) budget_.want_room();
    }

    void on_accept_shortage(Listener& listener, int error) {
        report_shortage(error);
        if (release_idle_pipes()) listener.acceptor().resume();
    }

    [[nodiscard]] bool has_room() noexcept {
        if (active_ >= limits_.sessions || !starved_.empty()) return false;
        return budget_.has_room_for_session() ||
               (release_idle_pipes() && budget_.has_room_for_session());
    }

    bool release_idle_pipes() noexcept {
        const std::size_t open = context_.pipes().stats().open;
        context_.pipes().trim();
        return context_.pipes().stats().open < open;
    }

    // Whoever was served last comes last, or under a shared limit one listener would get every
    // place that comes free.
    void resume_listeners() noexcept {
        if (!has_room()) return;
        for (std::size_t i = 1; i <= listeners_.size(); ++i) {
            Acceptor& acceptor = listeners_[(last_served_ + i) % listeners_.size()]->acceptor();
            if (acceptor.paused() || acceptor.short_of_resources()) acceptor.resume();
        }
    }

    void report_shortage(int error) noexcept {
        ++shortages_;
        if (reactor_.now() < next_shortage_message_) return;
        next_shortage_message_ = reactor_.now() + shortage_message_interval;
        observer_.on_event(
            LogLevel::warning,
            fmt::format(
                "clients have to wait: {}; {} sessions active, {} time{} since the last such message",
                std::strerror(error), active_, shortages_, shortages_ == 1 ? "" : "s"));
        shortages_ = 0;
    }

    Reactor& reactor_;
    ProxyObserver& observer_;
    const Limits limits_;
    DescriptorBudget budget_;
    RelayContext context_;
    std::vector<std::unique_ptr<Service>> services_;
    std::vector<std::unique_ptr<Listener>> listeners_;  // sessions refer to their addresses
    IntrusiveList<Session, AllSessions> sessions_;
    IntrusiveList<Session, StarvedSessions> starved_;
    std::unique_ptr<Drain> drain_;
    std::size_t active_ = 0;
    std::uint64_t accepted_ = 0;
    std::size_t last_served_ = 0;
    std::uint64_t shortages_ = 0;
    TimePoint next_shortage_message_{};
};

Proxy::Proxy(Reactor& reactor, const Config& config, ProxyObserver& observer)
    : impl_{std::make_unique<Impl>(reactor, config, observer)} {}
Proxy::~Proxy() = default;

void Proxy::drain(Duration timeout, std::function<void(std::size_t)> on_drained) {
    impl_->drain(timeout, std::move(on_drained));
}
void Proxy::reset_sessions() noexcept { impl_->reset_sessions(); }
std::size_t Proxy::max_connections() const noexcept { return impl_->max_connections(); }
std::size_t Proxy::active_sessions() const noexcept { return impl_->stats().active_sessions; }
ProxyStats Proxy::stats() const noexcept { return impl_->stats(); }
std::vector<Address> Proxy::listen_addresses() const { return impl_->listen_addresses(); }

}  // namespace eplb
