#pragma once

#include "admission/waiting_room.hpp"
#include "eplb/list_hook.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "proxy/service.hpp"

namespace eplb {

/// Has those sessions of a worker try again who wait for a backend and are called: a few of them a
/// turn, each of whom begins a session.
///
/// Belongs to the thread of its reactor, which outlives it. Services may go before it.
class Usher final : public Task {
public:
    /// `host` is the worker, whose guests are sessions; it outlives the usher.
    Usher(Reactor& reactor, const WaitingRoom::Host& host) noexcept
        : reactor_{reactor}, host_{host} {}

    /// Those of our sessions that are among the first who wait for `service`, in the turn to come.
    /// O(1), as whatever does not say otherwise.
    void call(Service& service) noexcept {
        if (!service.ListHook<Calling>::linked()) calling_.push_back(service);
        reactor_.schedule(*this);
    }
    /// Of every service that our sessions wait for. O(such services).
    void call_all() noexcept;

    // A session of ours has begun, or has ceased, to wait:
    void on_waiting(Service& service) noexcept {
        if (service.waiting++ == 0) waited_for_.push_back(service);
    }
    void on_waited(Service& service) noexcept {
        if (--service.waiting == 0) service.ListHook<Waiting>::unlink();
    }

    Next run() noexcept override;

private:
    Reactor& reactor_;
    const WaitingRoom::Host& host_;
    IntrusiveList<Service, Waiting> waited_for_;
    IntrusiveList<Service, Calling> calling_;
};

}  // namespace eplb
