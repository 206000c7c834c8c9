#include "proxy/session.hpp"

#include "base/connect_error.hpp"
#include "base/saturating.hpp"
#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <cerrno>
#include <new>
#include <utility>

namespace eplb {
namespace {

// How long a session waits before it asks for a descriptor again, unless one comes free before.
constexpr Duration starved_retry = std::chrono::milliseconds{100};
EndReason reason_of(const FailedAttempt& attempt) noexcept {
    if (!attempt.option.empty()) return EndReason::local_error;
    const bool is_unix = attempt.backend->address().is_unix();
    switch (attempt.error) {
    case ECONNREFUSED: return EndReason::connect_refused;
    case ENOENT: return is_unix ? EndReason::connect_refused : EndReason::local_error;
    case ETIMEDOUT: return EndReason::connect_timeout;
    case EAGAIN: return is_unix ? EndReason::connect_timeout : EndReason::local_error;
    // It had accepted.
    case ECONNRESET:
    case EPIPE: return EndReason::server_rst;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN: return EndReason::connect_unreachable;
    default:
        return is_peers_fault(attempt.error, is_unix) ? EndReason::connect_failed
                                                      : EndReason::local_error;
    }
}

}  // namespace

Session::Session(SessionHost& host, Frontend& frontend, Fd client, const Address& peer,
                 Admission verdict)
    : host_{host},
      frontend_{frontend},
      client_{peer},
      duplex_{host.reactor(), *this, frontend.service.relay_context(), frontend.service.timeouts()},
      verdict_{verdict} {
    duplex_.client.fd = std::move(client);
}

// Nobody may be called by a waiter that is gone.
Session::~Session() { leave_waiting_room(); }

// What a session has besides itself (a list of failed attempts, a header, a place in the queue) is
// allocated where it is needed. If that fails, this client is reset, and gives back what it has.
Next Session::run() noexcept {
    try {
        return step();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    }
}

Next Session::out_of_memory() noexcept {
    host_.on_out_of_memory();
    return end(EndReason::local_error, ENOMEM);
}

Next Session::step() {
    switch (phase_) {
    case Phase::fresh: return begin();
    case Phase::greeting: return read_header();
    case Phase::queued: return wait_on();
    case Phase::connecting: return check_connection();
    case Phase::retrying: return go_on_trying();
    case Phase::backlogged: return dial_again();
    case Phase::starved: return try_again();
    case Phase::relaying: return relay();
    case Phase::ended: break;
    }
    return Next::done;
}

void Session::retire() noexcept {
    static const std::vector<FailedAttempt> none;
    host_.on_session_end({
        .client = client_,
        .service = service().name(),
        .listener = frontend_.address,
        .backend = backend_.get(),
        .failed_attempts = failed() != nullptr ? failed()->list() : none,
        .bytes_up = duplex_.bytes_up(),
        .bytes_down = duplex_.bytes_down(),
        .connect_time = connect_time_,
        .total_time = age(),
        .reason = duplex_.reason(),
        .error = duplex_.error(),
        .problem = rare_ ? rare_->problem : std::string_view{},
        .unique_id = rare_ ? std::string_view{rare_->unique_id} : std::string_view{},
        .proxy = rare_ && rare_->proxy ? &*rare_->proxy : nullptr,
    });
    host_.destroy(*this);
}

void Session::reset(EndReason reason) noexcept {
    if (phase_ == Phase::ended) return;
    static_cast<void>(end(reason));
    host_.reactor().schedule(*this);
}

Next Session::begin() {
    if (const int error = duplex_.client.watch.attach(duplex_.client.fd.get())) {
        return end(EndReason::local_error, error);
    }
    if (verdict_ == Admission::too_many) return end(EndReason::service_connections);
    if (verdict_ == Admission::too_fast) return end(EndReason::service_rate);
    return service().config().accept_proxy == AcceptProxy::off ? admit() : expect_header();
}

// Whether the timer, which runs for it, has fired and a peer has had that much time. If not, keeps
// the timer running: `since` may have been noted in a turn that was held up.
bool Session::has_passed(Duration timeout, TimePoint since) noexcept {
    if (!timer().take_fired()) return false;
    const TimePoint due = saturating_add(host_.reactor().end_of_turn(since), timeout);
    if (host_.reactor().now() >= due) return true;
    timer().start_at(due);
    return false;
}

// Nothing was behind the header when it was looked at. What comes later is told by another event; but
// neither is a FIN, nor urgent data, and a read from a Unix socket may stop short of more.
void Session::note_drained() noexcept {
    Watch& watch = duplex_.client.watch;
    if (frontend_.address.is_unix() || watch.hung_up() || watch.urgent()) return;
    watch.clear_readable();
    rare_->nothing_behind_it = false;
}

Session::Rare& Session::rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
}

Next Session::relay() noexcept {
    const Next next = duplex_.step();
    if (next != Next::done && duplex_.server_is_over() && !backend_.finished()) {
        backend_.finish();
        call_next();
    }
    return next;
}

Next Session::starve(int error) {
    duplex_.server.close();
    const Duration limit = service().connect_timeout();
    if (limit > Duration{0} && age_without_waiting() >= limit) {
        attempt_failed(error);
        return give_up();
    }
    phase_ = Phase::starved;
    woken_ = false;
    timer().start(starved_retry);
    host_.on_starved(*this, std::exchange(starving_, true), error);
    return Next::wait;
}

Next Session::try_again() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (!woken_ && !timer().take_fired()) return Next::wait;
    timer().cancel();
    const std::optional<Next> outcome = connect_to_backend();
    const Next next = outcome ? *outcome : connect_to_next();
    if (phase_ != Phase::starved) provided();
    return next;
}

void Session::inspect(std::uint8_t round) noexcept {
    inspected_in_ = round;
    if (phase_ != Phase::relaying) return;
    const Service::Inspection& inspection = service().inspection();
    if (inspection.latency) observe_latency();
    if (!inspection.peers || duplex_.check_peers(inspection.peers_interval) != Next::done) return;
    phase_ = Phase::ended;
    host_.reactor().schedule(*this);
}

void Session::observe_latency() noexcept {
    sys::PeerState peer;
    const int fd = duplex_.server.fd.get();
    if (fd < 0 || sys::peer_state(fd, peer) != 0) return;
    backend_.get()->latency().observe(std::chrono::microseconds{peer.rtt_us},
                                      host_.reactor().now());
}

std::optional<Duration> Session::quiet() const noexcept {
    if (phase_ != Phase::relaying || !duplex_.at_rest()) return std::nullopt;
    return host_.reactor().now() - duplex_.last_progress();
}

void Session::settle() noexcept {
    settled_ = true;
    if (phase_ == Phase::relaying) keep_server_alive();
}

// The client's socket has inherited its keepalive.
void Session::keep_server_alive() noexcept {
    if (!duplex_.server.fd.valid()) return;  // it broke, and the client is being flushed
    if (!backend_.get()->address().is_unix())
        set_keepalive(duplex_.server.fd, service().config().socket.keepalive);
}

void Session::provided() noexcept {
    if (std::exchange(starving_, false)) host_.on_provided(*this);
}

void Session::wake() noexcept {
    woken_ = true;
    host_.reactor().schedule(*this);
}

Next Session::give_up() noexcept {
    if (failed() == nullptr)
        return end(service().removed() ? EndReason::removed : EndReason::no_backend);
    const FailedAttempt& last = failed()->list().back();
    if (!last.option.empty()) rare_->problem = last.option;
    return end(reason_of(last), last.error);
}

Next Session::end(EndReason reason, int error) noexcept {
    if (phase_ != Phase::relaying) connect_time_ = age();
    leave_waiting_room();
    phase_ = Phase::ended;
    duplex_.reset(reason, error);
    provided();
    return Next::done;
}

const FailedAttempts* Session::failed() const noexcept {
    return rare_ && !rare_->failed.empty() ? &rare_->failed : nullptr;
}

// In the queue, that is, and for us to look.
Duration Session::age_without_waiting() const noexcept {
    return age() - (rare_ ? rare_->waited : Duration{0});
}

Duration Session::age() const noexcept { return host_.reactor().now() - duplex_.started(); }

}  // namespace eplb
