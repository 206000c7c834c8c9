#include "sim/tcp.hpp"

#include "sim/kernel.hpp"
#include "sim/pipe.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/epoll.h>
#include <utility>

namespace sim {

using eplb::sys::Io;
using eplb::sys::IoResult;

namespace {

constexpr std::size_t largest_fragment = 32 * 1024;  // SKB_FRAG_PAGE_ORDER
constexpr std::uint32_t data_key = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;
constexpr std::uint32_t space_key = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

}  // namespace

void Endpoint::set_places(const Place& local, const Place& remote) noexcept {
    local_ = local;
    remote_ = remote;
}

void Endpoint::notify(std::uint32_t key) noexcept {
    wake(key);
    if (!on_wake_ || wake_pending_ || orphan_) return;
    wake_pending_ = true;
    kernel_.after(eplb::Duration{0}, [this] {
        wake_pending_ = false;
        if (!orphan_ && on_wake_) on_wake_();
    });
}

// --- tcp_poll(), sk_stream_is_writeable()

bool Endpoint::writable() const noexcept {
    return queued_ < link_.send_buffer && link_.send_buffer - queued_ >= queued_ / 2;
}

std::uint32_t Endpoint::poll() noexcept {
    std::uint32_t bits = 0;
    if ((read_shut_ && write_shut_) || state_ == State::closed) bits |= EPOLLHUP;
    if (read_shut_) bits |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
    if (state_ != State::syn_sent) {
        const std::size_t least = urgent_at_ && at_urgent_mark() ? 2 : 1;
        if (receive_bytes_ >= least) bits |= EPOLLIN | EPOLLRDNORM;
        if (write_shut_ || writable()) {
            bits |= EPOLLOUT | EPOLLWRNORM;
        } else {
            no_space_ = true;
        }
        if (urgent_at_) bits |= EPOLLPRI;
    }
    if (error_ != 0) bits |= EPOLLERR;
    return bits;
}

// --- tcp_recvmsg(), tcp_splice_read()

std::span<const std::byte> Endpoint::readable_piece(std::size_t limit) const noexcept {
    if (receive_queue_.empty()) return {};
    const Segment& front = receive_queue_.front();
    std::size_t size = std::min(front.size(), limit);
    if (urgent_at_ && *urgent_at_ >= read_position_) {
        size =
            static_cast<std::size_t>(std::min<std::uint64_t>(size, *urgent_at_ - read_position_));
    }
    return std::span{front.bytes}.subspan(front.begin, size);
}

void Endpoint::consume(std::size_t count) noexcept {
    Segment& front = receive_queue_.front();
    front.begin += count;
    if (front.size() == 0) receive_queue_.pop_front();
    read_position_ += count;
    receive_bytes_ -= count;
    // The window opens: the peer learns of it one trip later.
    if (peer_ != nullptr) {
        kernel_.after(link_.latency, [peer = peer_] { peer->transmit(); });
    }
}

IoResult Endpoint::nothing_to_read() noexcept {
    if (fin_received_) return {Io::eof, 0, 0};
    if (error_ != 0) return {Io::error, take_error(), 0};
    if (read_shut_) return {Io::eof, 0, 0};
    if (state_ == State::closed) return {Io::error, ENOTCONN, 0};
    return {Io::would_block, 0, 0};
}

IoResult Endpoint::recv(std::span<std::byte> buffer) noexcept {
    std::size_t copied = 0;
    while (copied < buffer.size() && !receive_queue_.empty()) {
        if (at_urgent_mark()) {
            if (copied > 0) break;  // stops at the mark once, and skips it the next time
            urgent_at_.reset();
            consume(1);
            continue;
        }
        const auto piece = readable_piece(buffer.size() - copied);
        std::copy(piece.begin(), piece.end(), buffer.begin() + static_cast<std::ptrdiff_t>(copied));
        copied += piece.size();
        consume(piece.size());
    }
    if (copied > 0) return {Io::moved, 0, copied};
    return nothing_to_read();
}

IoResult Endpoint::peek(std::span<std::byte> buffer) noexcept {
    std::size_t seen = 0;
    std::uint64_t position = read_position_;
    for (const Segment& segment : receive_queue_) {
        for (std::size_t i = segment.begin; i < segment.bytes.size() && seen < buffer.size(); ++i) {
            if (urgent_at_ && *urgent_at_ == position++) {
                if (seen > 0) return {Io::moved, 0, seen};
                continue;  // as recv(), past the mark at once
            }
            buffer[seen++] = segment.bytes[i];
        }
    }
    if (seen > 0) return {Io::moved, 0, seen};
    return nothing_to_read();
}

IoResult Endpoint::splice_to(Pipe& pipe, std::size_t count) noexcept {
    if (pipe.full()) return {Io::would_block, 0, 0};  // before the socket is looked at
    count = std::min(count, pipe.free_slots() * Pipe::page);
    std::size_t moved = 0;
    while (moved < count && !pipe.full()) {
        // It never gets past an urgent mark; and if there is nothing before the mark, the end of
        // the stream or an error is told although bytes wait behind it. Seen on Linux 6.18.
        const auto piece = readable_piece(std::min(count - moved, largest_fragment));
        if (piece.empty()) break;
        pipe.push(piece);
        moved += piece.size();
        consume(piece.size());
    }
    if (moved > 0) return {Io::moved, 0, moved};
    return nothing_to_read();
}

// --- tcp_sendmsg(), splice_to_socket()

IoResult Endpoint::send(std::span<const std::byte> bytes) noexcept {
    if (error_ != 0) return {Io::error, take_error(), 0};
    if (write_shut_) return {Io::error, EPIPE, 0};
    if (state_ == State::syn_sent) return {Io::would_block, 0, 0};
    if (state_ != State::established && state_ != State::close_wait) return {Io::error, EPIPE, 0};

    const std::size_t room = link_.send_buffer > queued_ ? link_.send_buffer - queued_ : 0;
    const std::size_t taken = std::min(room, bytes.size());
    if (taken < bytes.size()) no_space_ = true;
    if (taken == 0) return {Io::would_block, 0, 0};
    enqueue(bytes.first(taken), false);
    sent_at_ = kernel_.now();
    return {Io::moved, 0, taken};
}

IoResult Endpoint::splice_from(Pipe& pipe, std::size_t count) noexcept {
    if (pipe.empty()) {
        return pipe.writers == 0 ? IoResult{Io::eof, 0, 0} : IoResult{Io::would_block, 0, 0};
    }
    std::size_t moved = 0;
    while (moved < count && !pipe.empty()) {
        const auto piece = pipe.piece(0);
        const auto part = piece.first(std::min(piece.size(), count - moved));
        const IoResult result = send(part);
        if (result.status != Io::moved) {
            // An error met behind the first bytes is used up, and not told. So is it in the kernel.
            if (moved > 0) break;
            return result;
        }
        pipe.drop(result.bytes);
        moved += result.bytes;
    }
    return {Io::moved, 0, moved};
}

void Endpoint::send_urgent(std::byte byte) noexcept {
    if (state_ != State::established && state_ != State::close_wait) return;
    enqueue({&byte, 1}, true);
}

void Endpoint::enqueue(std::span<const std::byte> bytes, bool urgent) noexcept {
    queued_ += bytes.size();
    if (link_.coalesce && !urgent && !send_queue_.empty()) {
        Segment& last = send_queue_.back();
        const std::size_t room = link_.segment - std::min(link_.segment, last.bytes.size());
        const std::size_t part = last.urgent ? 0 : std::min(room, bytes.size());
        last.bytes.insert(last.bytes.end(), bytes.begin(),
                          bytes.begin() + static_cast<std::ptrdiff_t>(part));
        bytes = bytes.subspan(part);
    }
    while (!bytes.empty()) {
        const std::size_t part = std::min(link_.segment, bytes.size());
        send_queue_.push_back(
            {{bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(part)}, 0, urgent});
        bytes = bytes.subspan(part);
    }
    transmit();
}

int Endpoint::shutdown_write() noexcept {
    if (state_ == State::closed) return ENOTCONN;
    write_shut_ = true;
    send_fin();
    notify(0);
    return 0;
}

std::size_t Endpoint::unsent() const noexcept {
    // After a reset the difference of the sequence numbers stays as it was. Seen on Linux 6.18.
    return queued_ + (fin_unacked_ ? 1 : 0);
}

// --- the wire

void Endpoint::at_wire(std::function<void()> event) {
    wire_time_ = std::max(wire_time_, kernel_.now() + kernel_.jitter(link_.latency));
    kernel_.at(wire_time_, std::move(event));
}

void Endpoint::transmit() noexcept {
    if (state_ == State::closed || state_ == State::syn_sent || peer_ == nullptr) return;
    while (!send_queue_.empty()) {
        Segment& front = send_queue_.front();
        const std::size_t used = peer_->receive_bytes_ + in_flight_;
        const std::size_t limit = peer_->link_.receive_buffer;
        const std::size_t window = limit > used ? limit - used : 0;
        // A receiver does not offer slivers (RFC 9293, 3.8.6.2.2).
        if (window < std::min({front.size(), link_.segment, limit / 2})) return;
        Segment segment;
        if (front.size() <= window) {
            segment = std::move(front);
            send_queue_.pop_front();
        } else {
            const auto part = std::span{front.bytes}.subspan(front.begin, window);
            segment.bytes.assign(part.begin(), part.end());
            front.begin += part.size();
        }
        in_flight_ += segment.size();
        at_wire([peer = peer_, moved = std::move(segment)]() mutable {
            peer->on_segment(std::move(moved));
        });
    }
    if (fin_queued_ && !fin_sent_) {
        fin_sent_ = true;
        at_wire([peer = peer_] { peer->on_fin(); });
    }
}

void Endpoint::on_segment(Segment segment) noexcept {
    const std::size_t size = segment.size();
    peer_->in_flight_ -= size;
    if (orphan_ || state_ == State::closed) {
        // Nobody is there to read it: tcp_rcv_state_process() answers with a reset, and what the
        // closed end still had to send is gone with it.
        if (state_ != State::closed) send_reset();
        state_ = State::closed;
        return;
    }
    arrive_position_ += size;
    if (segment.urgent) {
        urgent_at_ = arrive_position_ - 1;
        bytes_arrived_ += size - 1;
    } else {
        bytes_arrived_ += size;
    }
    receive_bytes_ += size;
    segment.arrived = kernel_.now();
    receive_queue_.push_back(std::move(segment));
    kernel_.after(link_.latency, [peer = peer_, size] { peer->on_ack(size); });
    notify(data_key);
}

void Endpoint::on_ack(std::size_t bytes) noexcept {
    if (state_ == State::closed) return;
    const bool was_writable = writable();
    queued_ -= bytes;
    if (!was_writable && writable()) writable_since_ = kernel_.now();
    transmit();
    if (no_space_ && writable()) {  // sk_stream_write_space()
        no_space_ = false;
        notify(space_key);
    }
}

void Endpoint::on_fin() noexcept {
    if (state_ == State::closed) return;
    read_shut_ = true;
    fin_received_ = true;
    kernel_.after(link_.latency, [peer = peer_] { peer->on_fin_ack(); });
    switch (state_) {
    case State::established: state_ = State::close_wait; break;
    case State::fin_wait1: state_ = State::closing; break;
    case State::fin_wait2: done(); break;
    default: break;
    }
    notify(0);
}

void Endpoint::on_fin_ack() noexcept {
    fin_unacked_ = false;
    switch (state_) {
    case State::fin_wait1: state_ = State::fin_wait2; break;
    case State::closing:
    case State::last_ack: done(); break;
    default: return;
    }
    notify(0);
}

void Endpoint::on_reset() noexcept {
    if (state_ == State::closed) return;
    reset_received_ = true;
    switch (state_) {
    case State::syn_sent: error_ = ECONNREFUSED; break;
    case State::close_wait: error_ = EPIPE; break;
    default: error_ = ECONNRESET; break;
    }
    done();
    notify(EPOLLERR);
}

/// tcp_done(): what was received can still be read.
void Endpoint::done() noexcept {
    state_ = State::closed;
    send_queue_.clear();
    read_shut_ = write_shut_ = true;
    notify(0);
}

void Endpoint::send_fin() noexcept {
    switch (state_) {
    case State::established: state_ = State::fin_wait1; break;
    case State::close_wait: state_ = State::last_ack; break;
    default: return;
    }
    fin_queued_ = fin_unacked_ = true;
    transmit();
}

void Endpoint::send_reset() noexcept {
    send_queue_.clear();
    if (peer_ != nullptr) at_wire([peer = peer_] { peer->on_reset(); });
}

void Endpoint::abort() noexcept {
    set_linger_zero();
    release();
}

void Endpoint::release() noexcept {
    if (orphan_) return;
    orphan_ = true;
    on_wake_ = nullptr;
    at_close_ = {kernel_.now(), std::nullopt, std::nullopt, sent_at_};
    if (receive_bytes_ > (urgent_at_ ? 1U : 0U))
        at_close_.unread_since = receive_queue_.front().arrived;
    if (writable()) at_close_.writable_since = writable_since_;
    const bool unread = receive_bytes_ > 0;
    receive_queue_.clear();
    receive_bytes_ = 0;
    if (state_ == State::closed) return;
    if (state_ == State::syn_sent) {
        state_ = State::closed;
    } else if (unread || linger_zero_) {
        const bool over = (state_ == State::closing || state_ == State::last_ack) &&
                          send_queue_.empty() && fin_sent_ && !unread;
        if (!over) send_reset();
        state_ = State::closed;
    } else {
        write_shut_ = read_shut_ = true;
        send_fin();
    }
}

// --- the handshake

void Endpoint::join(Endpoint& peer) noexcept {
    peer_ = &peer;
    peer.peer_ = this;
}

void Endpoint::establish() noexcept {
    state_ = State::established;
    notify(0);
}

void Endpoint::fail_connecting(int error) noexcept {
    if (state_ != State::syn_sent) return;
    error_ = error;
    done();
    notify(EPOLLERR);
}

std::uint32_t Listener::poll() noexcept { return queue_.empty() ? 0 : EPOLLIN | EPOLLRDNORM; }

void Listener::push(Endpoint& connection) noexcept {
    queue_.push_back(&connection);
    wake(EPOLLIN | EPOLLRDNORM);
}

Endpoint& Listener::pop() noexcept {
    Endpoint& connection = *queue_.front();
    queue_.pop_front();
    return connection;
}

void Listener::release() noexcept {
    kernel_.forget(*this);
    for (Endpoint* connection : queue_) connection->abort();
    queue_.clear();
}

}  // namespace sim
