// From a backend that was picked to a connection, or to the next one.
#include "proxy/session.hpp"

#include "base/connect_error.hpp"
#include "base/shortage.hpp"
#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"
#include "reactor/dial.hpp"

#include <cerrno>
#include <netinet/in.h>

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
    const auto [error, option] = start_connecting(*backend_.get());
    if (error == 0) return connected();
    if (error == EINPROGRESS) {
        const Duration limit = service().connect_timeout();
        if (limit > Duration{0}) duplex_.timer.start(limit);
        return Next::wait;
    }
    if (is_shortage(error)) return starve(error);
    if (error == EAGAIN && option.empty() && backend_.get()->address().is_unix())
        return wait_for_backlog();
    attempt_failed(error, option);
    return std::nullopt;
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
    duplex_.timer.start(time_to_next_dial(waited, limit));
    return Next::wait;
}

Next Session::dial_again() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (!duplex_.timer.take_fired()) return Next::wait;
    const std::optional<Next> next = dial();
    return next ? *next : connect_to_next();
}

// 0: connected. EINPROGRESS: the watch will tell.
Session::Dialled Session::start_connecting(const Backend& backend) noexcept {
    const Address& address = backend.address();
    const int fd = sys::socket(address.family());
    if (fd < 0) return {-fd};
    duplex_.server.fd.reset(fd);
    if (const OptionFailure failure = prepare_socket(address))
        return {failure.error, failure.option};

    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    const int result = sys::connect(fd, raw, length);
    if (result != 0 && result != EINPROGRESS) return {result};
    // Not before: epoll(7) reports a hang-up for a socket that was never connected.
    if (const int error = duplex_.server.watch.attach(fd)) return {error};
    return {result};
}

// Options, and where the connection comes from.
OptionFailure Session::prepare_socket(const Address& backend) noexcept {
    if (backend.is_unix()) return {};
    const Fd& fd = duplex_.server.fd;
    const SocketOptions& options = service().config().socket;
    if (options.no_delay) set_no_delay(fd);
    if (const OptionFailure failure = set_route(fd, options, backend.family())) return failure;
    const bool from_client = options.transparent && client_.family() == backend.family();
    const Address* const source = from_client ? &client_ : service().next_source(backend.family());
    if (source == nullptr) return {};
    // The kernel chooses the port when it knows where to: a full range for every backend, ip(7).
    static_cast<void>(sys::set_option(fd.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1));
    sockaddr_storage raw{};
    const socklen_t length = source->with_port(0).to_sockaddr(raw);
    return {sys::bind(fd.get(), raw, length), from_client ? "transparent" : "source"};
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
    if (!is_connected_to_itself(duplex_.server.fd, backend.address())) {
        backend.meet(now);
        return 0;
    }
    // Closed with a FIN, it would keep the backend's own port in TIME-WAIT.
    sys::reset_on_close(duplex_.server.fd.get());
    return ECONNREFUSED;
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
    duplex_.timer.cancel();
    duplex_.server.close();
    release_backend();
}

}  // namespace eplb
