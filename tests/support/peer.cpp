#include "support/peer.hpp"

#include "eplb/reactor.hpp"
#include "support/net.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <sys/socket.h>
#include <system_error>

namespace eplb::test {
namespace {

// So that one peer with much to move does not keep the reactor waiting.
constexpr std::size_t chunk_bytes = 64 * 1024;

}  // namespace

void Peer::send(const Bytes& bytes) {
    outgoing_.append(bytes.view());
    write_some();
}

void Peer::send_urgent(char byte) {
    if (unsent() != 0 || ::send(socket_.get(), &byte, 1, MSG_OOB | MSG_NOSIGNAL) != 1) {
        throw std::system_error{errno, std::system_category(), "urgent byte"};
    }
}

void Peer::half_close() {
    want_half_close_ = true;
    write_some();
}

void Peer::reset() {
    if (socket_.valid()) reset_connection(std::move(socket_));
}

void Peer::close() { socket_.reset(); }

// EPIPE is what a reset is called on a connection whose peer had finished already.
bool Peer::was_reset() const { return error_ == ECONNRESET || error_ == EPIPE; }

bool Peer::act() {
    if (!socket_.valid()) return false;
    const bool wrote = write_some();
    const bool read = read_some();
    return wrote || read;
}

void Peer::poll_for(std::vector<pollfd>& entries) const {
    if (!socket_.valid()) return;
    unsigned events = 0;
    if (may_read_ != 0 && !over()) events |= POLLIN;
    if (unsent() != 0 && write_error_ == 0) events |= POLLOUT;
    if (events != 0) entries.push_back({socket_.get(), static_cast<short>(events), 0});
}

bool Peer::write_some() {
    if (!socket_.valid() || write_error_ != 0) return false;
    bool progress = false;
    while (unsent() != 0) {
        const std::size_t size = std::min(unsent(), chunk_bytes);
        const ssize_t n = ::send(socket_.get(), outgoing_.data() + sent_, size, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) return progress;
            write_error_ = errno;  // told by error() once everything that came before is read
            return true;
        }
        sent_ += static_cast<std::size_t>(n);
        sent_bytes_ += static_cast<std::size_t>(n);
        progress = true;
    }
    outgoing_.clear();
    sent_ = 0;
    if (want_half_close_) {
        want_half_close_ = false;
        ::shutdown(socket_.get(), SHUT_WR);
        progress = true;
    }
    return progress;
}

bool Peer::read_some() {
    if (may_read_ == 0 || over()) return false;
    std::array<char, chunk_bytes> buffer;
    const std::size_t size = std::min(may_read_, buffer.size());
    const ssize_t n = ::recv(socket_.get(), buffer.data(), size, 0);
    if (n > 0) {
        const auto count = static_cast<std::size_t>(n);
        received_.append({buffer.data(), count});
        received_bytes_ += count;
        if (may_read_ != unlimited) may_read_ -= count;
        return true;
    }
    if (n == 0) {
        // Writing may have met the reset, and taken it away from reading.
        error_ = write_error_;
        finished_ = error_ == 0;
        return true;
    }
    if (errno == EAGAIN) return false;
    error_ = errno;
    return true;
}

ScriptedBackend::ScriptedBackend(Script script)
    : script_{std::move(script)}, listener_{listener()}, address_{address_of(listener_)} {}

bool ScriptedBackend::act() {
    bool progress = false;
    while (listener_.valid()) {
        Fd fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (!fd.valid()) break;
        progress = true;
        Peer& peer = peers_.emplace_back(std::move(fd));
        answered_fin_.push_back(false);
        if (!script_.greeting.empty()) peer.send(script_.greeting);
        if (script_.reset_at_once) peer.reset();
        if (script_.close_at_once) peer.close();
    }
    for (std::size_t i = 0; i < peers_.size(); ++i) {
        Peer& peer = peers_[i];
        progress |= peer.act();
        if (script_.echo && !peer.received().empty()) peer.send(peer.take());
        if (script_.finish_with_peer && peer.finished() && !answered_fin_[i]) {
            answered_fin_[i] = true;
            peer.half_close();
            progress = true;
        }
    }
    return progress;
}

void ScriptedBackend::poll_for(std::vector<pollfd>& entries) const {
    if (listener_.valid()) entries.push_back({listener_.get(), POLLIN, 0});
    for (const Peer& peer : peers_) peer.poll_for(entries);
}

bool Loop::turn() {
    bool progress = reactor_.run_once(Duration{0});
    for (Actor* const actor : actors_) progress |= actor->act();
    return progress;
}

bool Loop::settle() {
    // What one side sends on the loopback interface is with the other side when send(2) returns, or
    // soon after, when the kernel's softirq ran: a few idle turns in a row mean that it is over.
    constexpr int enough = 5;
    int idle = 0;
    for (int turns = 0; turns < max_turns; ++turns) {
        idle = turn() || wait(0) ? 0 : idle + 1;
        if (idle == enough) return true;
    }
    return false;
}

bool Loop::wait(int timeout_ms) const {
    std::vector<pollfd> entries{{reactor_.fd(), POLLIN, 0}};
    for (const Actor* const actor : actors_) actor->poll_for(entries);
    return ::poll(entries.data(), entries.size(), timeout_ms) > 0;
}

}  // namespace eplb::test
