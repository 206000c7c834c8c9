// From a backend that was picked to a connection, or to the next one.
#include "proxy/session.hpp"

#include "base/connect_error.hpp"
#include "base/shortage.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <cerrno>

namespace eplb {

Next Session::connect_to_next() {
    for (;;) {
        const bool new_here = failed() == nullptr;
        if (!new_here && !may_try_another()) return give_up();
        // Each look at all backends, and each attempt, takes its time. Those that fail at once, for
        // there is no route, say, would all be tried in one turn, while nobody else is served.
        if (!new_here && !host_.may_try_at_once(service())) {
            phase_ = Phase::retrying;
            return Next::again;
        }
        // Nobody is served before those who wait already, unless it has had its turn. Who has, does
        // not wait again: it could be the first for a backend that is full, while others that are
        // waiting behind it could have the one that failed it.
        if (new_here && !service().spec().waiting_room->empty()) return wait_for_room();
        const Service::Choice choice = service().pick(client_, failed(), host_.reactor().now());
        if (choice.all_full) return new_here ? wait_for_room() : give_up();
        if (choice.backend == nullptr) return give_up();
        backend_ = Backend::Lease::try_take(*choice.backend);
        if (backend_.get() == nullptr) continue;  // another worker was faster
        if (const std::optional<Next> next = connect_to_backend()) return *next;
    }
}

Next Session::go_on_trying() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    return connect_to_next();
}

bool Session::may_try_another() const noexcept {
    const std::optional<std::size_t> retries = service().config().retries;
    const Duration limit = service().connect_timeout();
    return (!retries || failed()->size() <= *retries) &&
           (limit == Duration{0} || age_without_waiting() / 2 < limit);
}

// Nothing: it failed at once, and counts as tried.
std::optional<Next> Session::connect_to_backend() {
    connect_time_ = age();  // when it was dialled, until it answers
    return dial();
}

std::optional<Next> Session::dial() {
    phase_ = Phase::connecting;
    const Dialled dialled = eplb::dial(target(), duplex_.server.fd, duplex_.server.watch);
    if (dialled.error == 0) return connected();
    if (dialled.error == EINPROGRESS) {
        const Duration limit = service().connect_timeout();
        if (limit > Duration{0}) timer().start(limit);
        return Next::wait;
    }
    if (is_shortage(dialled.error)) return starve(dialled.error);
    if (dialled.backlog_is_full(backend_.get()->address())) return wait_for_backlog();
    attempt_failed(dialled.error, dialled.option);
    return std::nullopt;
}

DialTarget Session::target() noexcept {
    const Address& backend = backend_.get()->address();
    const SocketOptions& options = service().config().socket;
    DialTarget target{.to = backend, .options = options};
    if (backend.is_unix()) return target;
    target.transparent = options.transparent && client_.family() == backend.family();
    target.source = target.transparent ? &client_ : service().next_source(backend.family());
    return target;
}

// It is busy, as a TCP server is that lets a SYN go unanswered; and like that one it has the connect
// timeout.
std::optional<Next> Session::wait_for_backlog() {
    const Duration limit = service().connect_timeout();
    const Duration waited = age() - connect_time_;
    if (limit > Duration{0} && waited >= limit) {
        attempt_failed(EAGAIN);
        return std::nullopt;
    }
    duplex_.server.close();
    phase_ = Phase::backlogged;
    timer().start(time_to_next_dial(waited, limit));
    return Next::wait;
}

Next Session::dial_again() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (!timer().take_fired()) return Next::wait;
    const std::optional<Next> next = dial();
    return next ? *next : connect_to_next();
}

Next Session::check_connection() {
    const Watch& server = duplex_.server.watch;
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);

    // A backend that has answered did so in time, even if it is we who are late to look.
    int error = 0;
    if (server.writable()) {
        error = take_connect_error(server);
        if (error == 0) error = check_that_it_is_not_us();
        if (error == 0) return connected();
    } else if (has_passed(service().connect_timeout(), duplex_.started() + connect_time_)) {
        error = ETIMEDOUT;
    } else {
        return Next::wait;
    }
    attempt_failed(error);
    return connect_to_next();
}

// 0 or ECONNREFUSED: nobody listens there.
int Session::check_that_it_is_not_us() noexcept {
    Backend& backend = *backend_.get();
    const TimePoint now = host_.reactor().now();
    if (!service().may_connect_to_itself(backend, now)) return 0;
    const int error = refuse_connection_to_itself(duplex_.server.fd, backend.address());
    if (error == 0) backend.meet(now);
    return error;
}

Next Session::connected() {
    if (service().config().send_proxy != SendProxy::off) {
        if (const int error = send_header()) {
            attempt_failed(error);
            return connect_to_next();
        }
    }
    if (backend_.get()->count_success()) host_.on_backend_answering(*backend_.get());
    // What took longer than it may was seen late.
    const Duration took = age() - connect_time_;
    const Duration limit = service().connect_timeout();
    if (limit == Duration{0} || took <= limit)
        backend_.get()->latency().observe(took, host_.reactor().now());
    connect_time_ = age();
    phase_ = Phase::relaying;
    if (settled_) keep_server_alive();
    duplex_.begin(!frontend_.address.is_unix(), !backend_.get()->address().is_unix());
    host_.on_session_start(
        {client_, service().name(), frontend_.address, *backend_.get(), connect_time_});
    if (phase_ != Phase::relaying) return Next::done;  // whoever was told had it reset
    return relay();
}

// `option`: of our own socket, if it was that which the kernel refused; then the backend was not even
// asked.
void Session::attempt_failed(int error, std::string_view option) {
    Backend& backend = *backend_.get();
    backend.forget_meeting();
    // Nobody is left alone for being busy: that a backlog was full for so long is EAGAIN.
    if (option.empty() && error != EAGAIN && is_peers_fault(error, backend.address().is_unix())) {
        const std::uint32_t failures = backend.count_failure();
        const std::uint32_t limit = service().config().eject_after;
        // One that swallows connections is not to look as if nothing were known of it.
        if (error == ETIMEDOUT)
            backend.latency().observe(age() - connect_time_, host_.reactor().now());
        if (limit != 0 && failures >= limit) host_.on_backend_failing(backend);
    }
    // An answer that we were late to look at leaves no less time for the next backend.
    const Duration limit = service().connect_timeout();
    const Duration took = age() - connect_time_;
    if (limit > Duration{0} && took > limit) rare().waited += took - limit;
    rare().failed.add(backend.shared_from_this(), error, option);
    timer().cancel();
    duplex_.server.close();
    release_backend();
}

}  // namespace eplb
