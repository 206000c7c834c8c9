#pragma once

#include "eplb/clock.hpp"
#include "proxy/retirement.hpp"
#include "proxy/roster.hpp"
#include "proxy/session_orders.hpp"

#include <list>
#include <memory>
#include <utility>

namespace eplb {

class Reactor;
class WorkerGroup;

/// What becomes of the sessions of what was removed, or is down: they end at once, stay, or have time
/// left, as the service has it. Throws nothing but std::bad_alloc.
///
/// Belongs to a proxy, and to the thread of its reactor.
class Retirements {
public:
    /// Both outlive it.
    Retirements(Reactor& reactor, WorkerGroup& workers) noexcept
        : reactor_{reactor}, workers_{workers} {}
    Retirements(const Retirements&) = delete;
    Retirements& operator=(const Retirements&) = delete;

    /// Of what `draft` removes, by `on_remove`; what has come back is pardoned.
    void retire_removed(const Roster::Draft& draft);
    /// By `on_down`.
    void retire_down(const ServiceBackend& member);
    /// Has the workers carry `orders` out after that time.
    void retire(Duration time, SessionOrders orders);
    /// It came back, and keeps the sessions that it still has.
    void pardon(const Backend& backend) noexcept;
    /// Nobody is reset any more.
    void clear() noexcept { retirings_.clear(); }

private:
    struct Retiring {
        explicit Retiring(SessionOrders wanted) : orders{std::move(wanted)} {}
        SessionOrders orders;
        std::unique_ptr<Retirement> timer;
    };

    Reactor& reactor_;
    WorkerGroup& workers_;
    std::list<Retiring> retirings_;
};

}  // namespace eplb
