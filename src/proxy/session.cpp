#include "proxy/session.hpp"

#include "base/connect_error.hpp"
#include "base/saturating.hpp"
#include "base/shortage.hpp"
#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"
#include "reactor/connecting.hpp"

#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <new>
#include <span>
#include <utility>

namespace eplb {
namespace {

// How long a session waits before it asks for a descriptor again, unless one comes free before.
constexpr Duration starved_retry = std::chrono::milliseconds{100};
// A proxy sends its header at once; whoever only connects does not stay.
constexpr Duration header_timeout = std::chrono::seconds{10};

// This machine ran out of something that comes back.
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

Next Session::expect_header() {
    if (!service().spec().access.trusted_proxies.contains(client_))
        return end(EndReason::untrusted_proxy);
    phase_ = Phase::greeting;
    duplex_.timer.start(header_timeout);
    return read_header();
}

// What is behind the header is not touched: the header is looked at where it lies, as often as more
// of it comes, and taken out when it is whole.
Next Session::read_header() {
    Watch& watch = duplex_.client.watch;
    if (watch.failed()) return end(EndReason::client_rst);
    if (!watch.readable()) return wait_for_header();
    // One more than a header has, to see whether something is behind it.
    const std::span<std::byte> buffer =
        service().relay_context().scratch().first(max_proxy_header_bytes + 1);
    const sys::IoResult peeked = sys::peek(watch.fd(), buffer);
    switch (peeked.status) {
    case sys::Io::would_block: watch.clear_readable(); return wait_for_header();
    case sys::Io::error: return end(EndReason::client_rst, peeked.error);
    case sys::Io::eof: return header_is_bad("the connection ended before it");
    case sys::Io::moved: break;
    }
    const ProxyParse parsed =
        parse_proxy_header(buffer.first(peeked.bytes), service().config().accept_proxy);
    switch (parsed.status) {
    case ProxyParse::Status::bad: return header_is_bad(parsed.problem);
    case ProxyParse::Status::incomplete:
        return watch.hung_up() ? header_is_bad("the connection ended within it")
                               : wait_for_header();
    case ProxyParse::Status::complete: break;
    }
    if (sys::recv(watch.fd(), buffer.first(parsed.header_bytes)).bytes != parsed.header_bytes)
        return end(EndReason::client_rst);
    duplex_.timer.cancel();
    Rare& told = rare();
    told.header = parsed.header;
    told.proxy = client_;
    told.nothing_behind_it = peeked.bytes == parsed.header_bytes;
    if (told.nothing_behind_it) note_drained();
    if (!parsed.header.local) client_ = parsed.header.source;
    return admit();
}

// A header that came in time is in time, even if it is we who are late to look.
Next Session::wait_for_header() noexcept {
    return has_passed(header_timeout, duplex_.started()) ? end(EndReason::proxy_header_timeout)
                                                         : Next::wait;
}

// Whether the timer, which runs for it, has fired and a peer has had that much time. If not, keeps
// the timer running: `since` may have been noted in a turn that was held up.
bool Session::has_passed(Duration timeout, TimePoint since) noexcept {
    if (!duplex_.timer.take_fired()) return false;
    const TimePoint due = saturating_add(host_.reactor().end_of_turn(since), timeout);
    if (host_.reactor().now() >= due) return true;
    duplex_.timer.start_at(due);
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

Next Session::header_is_bad(std::string_view problem) {
    rare().problem = problem;
    return end(EndReason::bad_proxy_header);
}

Next Session::admit() {
    const ServiceSpec& spec = service().spec();
    if (!spec.access.admits(client_)) return end(EndReason::denied);
    if (spec.source_limits) {
        SourceLimits::Decision decision = spec.source_limits->admit(client_, host_.reactor().now());
        if (decision.first_without_place) host_.on_sources_without_place(service());
        if (decision.admission == Admission::too_many) return end(EndReason::source_connections);
        if (decision.admission == Admission::too_fast) return end(EndReason::source_rate);
        ticket_ = std::move(decision.ticket);
    }
    return connect_to_next();
}

Session::Rare& Session::rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
}

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

// --- all backends are full

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
    duplex_.timer.start(limit - waited);
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
    duplex_.timer.cancel();
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

// --- connecting

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

Next Session::relay() noexcept {
    const Next next = duplex_.step();
    if (next != Next::done && duplex_.server_is_over() && !backend_.finished()) {
        backend_.finish();
        call_next();
    }
    return next;
}

// Where the client has sent something already, the header waits for it, and both go in one segment.
// Only then: the kernel keeps a segment that is said to be followed by more for 200 ms (MSG_MORE in
// send(2)), and whoever speaks only when he has the header would be that late. Returns 0 or an errno.
int Session::send_header() {
    const ServiceConfig& config = service().config();
    ProxyTlvs tlvs{.crc32c = config.proxy_tlvs.crc32c, .unique_id = {}, .authority = {}};
    if (config.proxy_tlvs.unique_id) {
        Rare& own = rare();
        if (own.unique_id.empty()) {
            own.unique_id =
                own.header.unique_id.empty() ? service().make_unique_id() : own.header.unique_id;
        }
        tlvs.unique_id = own.unique_id;
    }
    if (config.proxy_tlvs.authority && rare_) tlvs.authority = rare_->header.authority;

    std::array<std::byte, max_encoded_proxy_header> buffer;
    const std::size_t size =
        encode_proxy_header(config.send_proxy, client_, destination(), tlvs, buffer);
    const std::span<const std::byte> header = std::span{buffer}.first(size);
    const int fd = duplex_.server.fd.get();
    const bool more_follows =
        duplex_.client.watch.readable() && !(rare_ && rare_->nothing_behind_it);
    const sys::IoResult sent = more_follows ? sys::send_ahead(fd, header) : sys::send(fd, header);
    if (sent.bytes == size) return 0;
    return sent.status == sys::Io::error ? sent.error : ECONNABORTED;
}

// Where the client connected to, as far as it knows.
Address Session::destination() const noexcept {
    if (rare_ && rare_->proxy && !rare_->header.local) return rare_->header.destination;
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (sys::local_address(duplex_.client.fd.get(), raw, length) != 0) return frontend_.address;
    return Address::from(raw, length);
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
    duplex_.timer.start(starved_retry);
    host_.on_starved(*this, std::exchange(starving_, true), error);
    return Next::wait;
}

Next Session::try_again() {
    if (duplex_.client.watch.failed()) return end(EndReason::client_rst);
    if (!woken_ && !duplex_.timer.take_fired()) return Next::wait;
    duplex_.timer.cancel();
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
