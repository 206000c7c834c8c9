#include "proxy/session.hpp"

#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <cerrno>
#include <utility>

namespace eplb {
namespace {

// How long a session waits before it asks for a descriptor again, unless one comes free before.
constexpr Duration starved_retry = std::chrono::milliseconds{100};

// This machine ran out of something that comes back.
bool is_shortage(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// The backend, or the way to it, is at fault. Everything else is about this machine, and says
// nothing of the backend: no port left (EADDRNOTAVAIL), no such protocol, not permitted.
bool is_backends_fault(int error, bool is_unix) noexcept {
    switch (error) {
    case ECONNREFUSED:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENOENT: return true;
    case EAGAIN: return is_unix;  // its backlog is full; elsewhere: no port left, connect(2)
    default: return false;
    }
}

EndReason reason_of(const FailedAttempt& attempt) noexcept {
    const bool is_unix = attempt.backend->address().is_unix();
    switch (attempt.error) {
    case ECONNREFUSED:
    case ENOENT: return EndReason::connect_refused;
    case ETIMEDOUT: return EndReason::connect_timeout;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN: return EndReason::connect_unreachable;
    default:
        return is_backends_fault(attempt.error, is_unix) ? EndReason::connect_failed
                                                         : EndReason::local_error;
    }
}

}  // namespace

Session::Session(SessionHost& host, Frontend& frontend, Fd client, const Address& peer)
    : host_{host},
      frontend_{frontend},
      client_{peer},
      duplex_{host.reactor(), *this, frontend.service.relay_context(), frontend.service.timeouts()},
      accepted_{host.reactor().now()} {
    duplex_.client.fd = std::move(client);
}

Next Session::run() noexcept {
    switch (phase_) {
    case Phase::fresh: return begin();
    case Phase::connecting: return check_connection();
    case Phase::starved: return try_again();
    case Phase::relaying: return duplex_.step();
    case Phase::ended: break;
    }
    return Next::done;
}

void Session::retire() noexcept {
    host_.on_session_end({
        .client = client_,
        .service = service().name(),
        .listener = frontend_.address,
        .backend = backend_.get(),
        .failed_attempts = failed(),
        .bytes_up = duplex_.bytes_up(),
        .bytes_down = duplex_.bytes_down(),
        .connect_time = connect_time_,
        .total_time = age(),
        .reason = duplex_.reason(),
        .error = duplex_.error(),
    });
    host_.destroy(*this);
}

void Session::reset(EndReason reason) noexcept {
    if (phase_ == Phase::ended) return;
    static_cast<void>(end(reason));
    host_.reactor().schedule(*this);
}

Next Session::begin() noexcept {
    if (const int error = duplex_.client.watch.attach(duplex_.client.fd.get())) {
        return end(EndReason::local_error, error);
    }
    return connect_to_next();
}

Next Session::connect_to_next() noexcept {
    const Duration limit = service().connect_timeout();
    for (;;) {
        if (failed_ && limit > Duration{0} && age() >= 2 * limit) return give_up();
        Backend* const backend = service().pick(client_, failed());
        if (backend == nullptr) return give_up();
        backend_ = Backend::Lease{*backend};
        if (const std::optional<Next> next = connect_to_backend()) return *next;
    }
}

// Nothing: it failed at once, and counts as tried.
std::optional<Next> Session::connect_to_backend() noexcept {
    phase_ = Phase::connecting;
    const int error = start_connecting(*backend_.get());
    if (error == 0) return connected();
    if (error == EINPROGRESS) {
        const Duration limit = service().connect_timeout();
        if (limit > Duration{0}) duplex_.timer.start(limit);
        return Next::wait;
    }
    if (is_shortage(error)) return starve(error);
    attempt_failed(error);
    return std::nullopt;
}

// 0: connected. EINPROGRESS: the watch will tell.
int Session::start_connecting(const Backend& backend) noexcept {
    const Address& address = backend.address();
    const int fd = sys::socket(address.family());
    if (fd < 0) return -fd;
    duplex_.server.fd.reset(fd);
    if (!address.is_unix()) set_no_delay(duplex_.server.fd);

    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    const int result = sys::connect(fd, raw, length);
    if (result != 0 && result != EINPROGRESS) return result;
    // Not before: epoll(7) reports a hang-up for a socket that was never connected.
    if (const int error = duplex_.server.watch.attach(fd)) return error;
    return result;
}

Next Session::check_connection() noexcept {
    const Watch& server = duplex_.server.watch;
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);

    // A backend that has answered did so in time, even if it is we who are late to look.
    int error = 0;
    if (server.writable()) {
        // Of a connection that stands the kernel reports EPOLLOUT alone.
        if (server.hung_up()) error = sys::take_error(server.fd());
        if (error == 0 && server.failed()) error = ECONNABORTED;
        if (error == 0 && is_connected_to_itself()) {
            // Closed with a FIN, it would keep the backend's own port in TIME-WAIT.
            sys::reset_on_close(server.fd());
            error = ECONNREFUSED;
        }
        if (error == 0) return connected();
    } else if (duplex_.timer.take_fired()) {
        error = ETIMEDOUT;
    } else {
        return Next::wait;
    }
    attempt_failed(error);
    return connect_to_next();
}

bool Session::is_connected_to_itself() const noexcept {
    const Backend& backend = *backend_.get();
    if (!service().may_connect_to_itself(backend)) return false;
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    return sys::local_address(duplex_.server.fd.get(), raw, length) == 0 &&
           Address::from(raw, length) == backend.address();
}

Next Session::connected() noexcept {
    connect_time_ = age();
    phase_ = Phase::relaying;
    if (settled_) keep_server_alive();
    duplex_.begin(!frontend_.address.is_unix(), !backend_.get()->address().is_unix());
    host_.on_session_start(
        {client_, service().name(), frontend_.address, *backend_.get(), connect_time_});
    if (phase_ != Phase::relaying) return Next::done;  // whoever was told had it reset
    return duplex_.step();
}

Next Session::starve(int error) noexcept {
    duplex_.server.close();
    const Duration limit = service().connect_timeout();
    if (limit > Duration{0} && age() >= limit) {
        attempt_failed(error);
        return give_up();
    }
    phase_ = Phase::starved;
    woken_ = false;
    duplex_.timer.start(starved_retry);
    host_.on_starved(*this, std::exchange(starving_, true), error);
    return Next::wait;
}

Next Session::try_again() noexcept {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (!woken_ && !duplex_.timer.take_fired()) return Next::wait;
    duplex_.timer.cancel();
    const std::optional<Next> outcome = connect_to_backend();
    const Next next = outcome ? *outcome : connect_to_next();
    if (phase_ != Phase::starved) provided();
    return next;
}

void Session::settle() noexcept {
    settled_ = true;
    if (phase_ == Phase::relaying) keep_server_alive();
}

// The client's socket has inherited its keepalive.
void Session::keep_server_alive() noexcept {
    if (!duplex_.server.fd.valid()) return;  // it broke, and the client is being flushed
    if (!backend_.get()->address().is_unix()) set_keepalive(duplex_.server.fd);
}

void Session::provided() noexcept {
    if (std::exchange(starving_, false)) host_.on_provided(*this);
}

void Session::wake() noexcept {
    woken_ = true;
    host_.reactor().schedule(*this);
}

void Session::attempt_failed(int error) noexcept {
    Backend& backend = *backend_.get();
    if (is_backends_fault(error, backend.address().is_unix())) backend.count_failure();
    if (!failed_) failed_ = std::make_unique<std::vector<FailedAttempt>>();
    failed_->push_back({backend.shared_from_this(), error});
    duplex_.timer.cancel();
    duplex_.server.close();
    backend_ = {};
}

Next Session::give_up() noexcept {
    if (!failed_) return end(EndReason::no_backend);
    return end(reason_of(failed_->back()), failed_->back().error);
}

Next Session::end(EndReason reason, int error) noexcept {
    if (phase_ != Phase::relaying) connect_time_ = age();
    phase_ = Phase::ended;
    duplex_.reset(reason, error);
    provided();
    return Next::done;
}

const std::vector<FailedAttempt>& Session::failed() const noexcept {
    static const std::vector<FailedAttempt> none;
    return failed_ ? *failed_ : none;
}

Duration Session::age() const noexcept { return host_.reactor().now() - accepted_; }

}  // namespace eplb
