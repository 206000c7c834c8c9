// While all backends are full.
#include "proxy/session.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <utility>

namespace eplb {

Next Session::wait_for_room() {
    const ServiceSpec& spec = service().spec();
    if (!spec.waiting_room->enter(waiter(), spec.config->queue))
        return end(EndReason::backends_full);
    phase_ = Phase::queued;
    woken_ = false;
    host_.on_waiting(service());
    rare().queued_at = host_.reactor().now();
    static_cast<void>(has_waited_too_long());  // starts the timer
    // Room may have come between our look at the backends and our entering.
    host_.call_first(service());
    return Next::wait;
}

Next Session::wait_on() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (client_left()) return end(EndReason::client_fin);
    // Whoever is called is one of the first; who runs for another reason may not be.
    if (!std::exchange(woken_, false) && !service().spec().waiting_room->is_first(waiter()))
        return has_waited_too_long() ? end(EndReason::queue_timeout) : Next::wait;
    for (;;) {
        const Service::Choice choice = service().pick(client_, failed(), host_.reactor().now());
        if (choice.all_full)
            return has_waited_too_long() ? end(EndReason::queue_timeout) : Next::wait;
        if (choice.backend == nullptr) {
            leave_waiting_room();
            return give_up();
        }
        backend_ = Backend::Lease::try_take(*choice.backend);
        if (backend_.get() != nullptr) break;
    }
    leave_waiting_room();
    const std::optional<Next> next = connect_to_backend();
    return next ? *next : connect_to_next();
}

// Keeps the timer running for when it will have.
bool Session::has_waited_too_long() {
    const Duration limit = service().config().queue_timeout;
    if (limit == Duration{0}) return false;
    const TimePoint since = host_.reactor().end_of_turn(rare().queued_at);
    const Duration waited = host_.reactor().now() - since;
    if (waited >= limit) return true;
    timer().start(limit - waited);
    return false;
}

WaitingRoom::Waiter& Session::waiter() {
    std::optional<WaitingRoom::Waiter>& own = rare().waiter;
    return own ? *own : own.emplace(host_, *this);
}

// Whoever has sent something and finished wants the answer; whoever has sent nothing has given up.
bool Session::client_left() const noexcept {
    const Watch& watch = duplex_.client.watch;
    if (!watch.hung_up()) return false;
    std::byte first{};
    return sys::peek(watch.fd(), {&first, 1}).status == sys::Io::eof;
}

void Session::leave_waiting_room() noexcept {
    if (phase_ != Phase::queued) return;
    phase_ = Phase::connecting;
    rare_->waited += host_.reactor().now() - rare_->queued_at;
    timer().cancel();
    service().spec().waiting_room->leave(waiter());
    host_.on_waited(service());
    host_.call_first(service());
}

void Session::release_backend() noexcept {
    backend_ = {};
    call_next();
}

void Session::call_next() noexcept {
    if (!service().spec().waiting_room->empty()) host_.call_first(service());
}

}  // namespace eplb
