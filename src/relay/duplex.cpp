#include "relay/duplex.hpp"

#include "base/saturating.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace eplb {
namespace {

// The kernel tells when a send queue has room, not when it is empty: ask, ever less often.
constexpr Duration first_flush_poll = std::chrono::milliseconds{1};
constexpr Duration last_flush_poll = std::chrono::milliseconds{64};
constexpr int most_doublings = 6;
// That a peer with a closed window has not answered before it is gone.
constexpr std::uint8_t least_probes = 2;
// For a survivor that takes nothing more, where the half-close timeout is off.
constexpr Duration longest_flush = std::chrono::seconds{60};

// Zero is never.
TimePoint later(TimePoint from, Duration timeout) noexcept {
    return timeout == Duration{0} ? TimePoint::max() : saturating_add(from, timeout);
}

// This machine could not go on, with a peer that knows nothing of it.
bool is_our_fault(int error) noexcept {
    return error == ENOMEM || error == ENOBUFS || error == EIO;
}

// Why it broke: this machine could not go on, the peer fell silent, or somebody said no.
EndReason reason_for(int error, EndReason reset, EndReason timeout) noexcept {
    if (is_our_fault(error)) return EndReason::local_error;
    switch (error) {
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH: return timeout;
    default: return reset;
    }
}

}  // namespace

Duplex::Duplex(Reactor& reactor, Task& owner, RelayContext& context,
               const RelayTimeouts& timeouts) noexcept
    : client{reactor, owner},
      server{reactor, owner},
      timer_{reactor, owner},
      reactor_{reactor},
      context_{context},
      timeouts_{timeouts},
      up_{client.watch, server.watch, context},
      down_{server.watch, client.watch, context},
      started_{reactor.now()},
      last_progress_{started_} {}

void Duplex::begin(bool client_is_tcp, bool server_is_tcp) noexcept {
    if (client_is_tcp) up_.trust_short_reads();
    if (server_is_tcp) down_.trust_short_reads();
    timer_.cancel();
    last_progress_ = reactor_.now();
}

Next Duplex::step() noexcept {
    if (survivor_ != Survivor::none) return flush_survivor();

    const std::size_t turn_bytes = context_.turn_bytes();
    const std::uint64_t bytes_before = bytes();
    const std::uint64_t bytes_down_before = bytes_down();
    const bool up_was_over = up_.over();
    const bool down_was_over = down_.over();
    up_.pump(turn_bytes);
    if (up_.state() == Flow::State::destination_failed) down_.source_is_broken(up_.error());
    if (up_.state() == Flow::State::finished) down_.leave_end_to_close();
    down_.pump(turn_bytes);
    if (down_.state() == Flow::State::finished) up_.leave_end_to_close();
    if (down_.state() == Flow::State::destination_failed && !up_.over()) {
        up_.source_is_broken(down_.error());
        up_.pump(turn_bytes);
    }
    if (bytes() != bytes_before) {
        last_progress_ = reactor_.now();
        client_spoke_last_ = bytes_down() == bytes_down_before;
    }

    // Who finished first is who ended it.
    if (!up_was_over && !down_was_over && (up_.over() || down_.over())) {
        reason_ = up_.over() ? EndReason::client_fin : EndReason::server_fin;
    }
    return judge();
}

Next Duplex::judge() noexcept {
    using State = Flow::State;
    if (up_.state() == State::source_failed) return client_broke(up_.error());
    if (down_.state() == State::source_failed) return server_broke(down_.error());
    // Bytes were lost on the way to somebody who may go on waiting for them: no end will come from there.
    if (up_.state() == State::destination_failed && is_our_fault(up_.error()))
        return server_broke(up_.error());
    if (down_.state() == State::destination_failed && is_our_fault(down_.error()))
        return client_broke(down_.error());

    // Nobody reads from a side whose flow has finished, so only the watch tells that it broke
    // afterwards; and since nobody will, asking for the error takes it away from nobody.
    if (up_.state() == State::finished && client.watch.failed()) {
        return client_broke(sys::take_error(client.fd.get()));
    }
    if (down_.state() == State::finished && server.watch.failed()) {
        return server_broke(sys::take_error(server.fd.get()));
    }
    if (up_.over() && down_.over()) {
        if (up_.state() == State::destination_failed) return server_broke(up_.error());
        if (down_.state() == State::destination_failed) return client_broke(down_.error());
        client.close();
        server.close();
        return Next::done;
    }
    if (timed_out()) return Next::done;
    const bool runnable = up_.state() == State::runnable || down_.state() == State::runnable;
    return runnable ? Next::again : Next::wait;
}

Next Duplex::client_broke(int error) noexcept {
    const EndReason reason = reason_for(error, EndReason::client_rst, EndReason::client_timeout);
    return break_off(client, Survivor::server, reason, error);
}

Next Duplex::server_broke(int error) noexcept {
    const EndReason reason = reason_for(error, EndReason::server_rst, EndReason::server_timeout);
    return break_off(server, Survivor::client, reason, error);
}

Next Duplex::break_off(Side& broken, Survivor survivor, EndReason reason, int error) noexcept {
    reason_ = reason;
    error_ = error;
    // If it is we who could not go on, its peer must not see a clean end either.
    sys::reset_on_close(broken.fd.get());
    broken.close();
    survivor_ = survivor;
    timer_.cancel();
    return flush_survivor();
}

Next Duplex::flush_survivor() noexcept {
    const Side& side = survivor_ == Survivor::client ? client : server;
    const auto unsent = static_cast<std::uint32_t>(sys::unsent_bytes(side.fd.get()));
    if (unsent < unsent_) last_progress_ = reactor_.now();
    unsent_ = unsent;

    const Duration limit =
        timeouts_.half_close > Duration{0} ? timeouts_.half_close : longest_flush;
    if (unsent == 0 || reactor_.now() - reactor_.end_of_turn(last_progress_) >= limit) {
        reset(reason_, error_);
        return Next::done;
    }
    if (timer_.take_fired() || !timer_.armed()) {
        timer_.start(std::min(first_flush_poll * (1 << flush_polls_), last_flush_poll));
        if (flush_polls_ < most_doublings) ++flush_polls_;
    }
    return Next::wait;
}

void Duplex::reset(EndReason reason, int error) noexcept {
    reason_ = reason;
    error_ = error;
    timer_.cancel();
    for (Side* side : {&client, &server}) {
        if (side->fd.valid()) sys::reset_on_close(side->fd.get());
        side->close();
    }
}

// Or is known to: the rest of it may be stuck behind a slow peer.
bool Duplex::one_side_ended() const noexcept {
    return up_.over() || down_.over() || client.watch.hung_up() || server.watch.hung_up();
}

// Keeps the timer running for whichever timeout comes first. It is not moved for every byte: when
// it fires too early, it is started again with what remains.
bool Duplex::timed_out() noexcept {
    if (!half_closed_ && one_side_ended()) {
        half_closed_ = true;
        last_progress_ = reactor_.now();  // the end of a stream is progress too
    }

    TimePoint due = later(last_progress_, timeouts_.idle);
    EndReason reason = EndReason::idle;
    const auto consider = [&](TimePoint other, EndReason its_reason) {
        if (other >= due) return;
        due = other;
        reason = its_reason;
    };
    if (half_closed_) consider(later(last_progress_, timeouts_.half_close), EndReason::half_close);
    consider(end_of_life(), EndReason::lifetime);
    if (due == TimePoint::max()) return false;

    if (reactor_.now() >= due) {
        // What moved in a turn that was held up may have moved at its end.
        const TimePoint latest = reactor_.end_of_turn(last_progress_);
        if (latest > std::exchange(last_progress_, latest)) return timed_out();
        reset(reason);
        return true;
    }
    if (timer_.take_fired() || !timer_.armed() || due < armed_until_) {
        timer_.start_at(due);
        armed_until_ = due;
    }
    return false;
}

TimePoint Duplex::end_of_life() const noexcept {
    if (timeouts_.lifetime == Duration{0}) return TimePoint::max();
    // Of those that began in the same turn each has another descriptor.
    const auto seed = static_cast<std::uint64_t>(started_.time_since_epoch().count()) ^
                      static_cast<std::uint64_t>(client.fd.get()) << 48;
    const std::uint64_t share = (seed * 0x9e37'79b9'7f4a'7c15U >> 32) * 1000 >> 32;  // of 1000
    const Duration most =
        timeouts_.lifetime / 100 * std::min(timeouts_.lifetime_jitter_percent, 100U);
    return later(started_, timeouts_.lifetime - most / 1000 * static_cast<std::int64_t>(share));
}

bool Duplex::at_rest() const noexcept {
    return survivor_ == Survivor::none && !client_spoke_last_ && !one_side_ended() &&
           !up_.has_stuck_bytes() && !down_.has_stuck_bytes() && !client.watch.readable() &&
           !server.watch.readable() && sys::unsent_bytes(client.fd.get()) == 0 &&
           sys::unsent_bytes(server.fd.get()) == 0;
}

Next Duplex::check_peers(Duration interval) noexcept {
    if (timeouts_.dead_peer == Duration{0} || survivor_ != Survivor::none) return Next::wait;
    if (is_gone(client, client_silent_rounds_, interval)) return client_broke(ETIMEDOUT);
    if (is_gone(server, server_silent_rounds_, interval)) return server_broke(ETIMEDOUT);
    return Next::wait;
}

// What is unacknowledged may have been sent just now, after an hour in which there was nothing to
// acknowledge. But what was unacknowledged in one round, with no acknowledgement by the next, has
// been so all the time between.
// If its window is closed, nothing is sent that it could acknowledge, but for probes (tcp_info's
// tcpi_probes counts those since the last answer; keepalive's, too). Of these a single one is in
// vain when it is lost on the way, and the next may be two minutes away.
bool Duplex::is_gone(const Side& side, std::uint16_t& silent_rounds,
                     Duration interval) const noexcept {
    sys::PeerState peer;
    const bool silent = side.fd.valid() && sys::peer_state(side.fd.get(), peer) == 0 &&
                        (peer.unacknowledged || peer.probes > 0) &&
                        std::chrono::milliseconds{peer.silent_ms} >= interval;
    if (!silent) {
        silent_rounds = 0;
        return false;
    }
    if (silent_rounds < UINT16_MAX) ++silent_rounds;
    const bool for_long = (silent_rounds - 1) * interval >= timeouts_.dead_peer;
    return (for_long || silent_rounds == UINT16_MAX) &&
           (peer.unacknowledged || peer.probes >= least_probes) &&
           std::chrono::milliseconds{peer.silent_ms} >= timeouts_.dead_peer;
}

}  // namespace eplb
