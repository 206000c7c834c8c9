// The sockets of c-ares, and all time limits.
#include "discovery/resolver_impl.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <sys/epoll.h>
#include <utility>

namespace eplb::control {
namespace {

// A turn does not take so long: we were stopped.
constexpr Duration tolerated_lateness = std::chrono::milliseconds{100};
// Turns in a row in which something is read, before time goes on: an answer may come in many pieces, and
// a flood of datagrams is no answer.
constexpr int most_reads = 256;
// What there is no memory for is tried again.
constexpr Duration patience = std::chrono::milliseconds{100};

}  // namespace

// c-ares says so before it closes a socket, too. Level-triggered, unlike all others: it reads one
// piece of a TCP answer at a time, and stops at a datagram from a stranger, both without having
// seen EAGAIN.
void Resolver::Impl::watch(AresChannel& channel, int fd, bool readable, bool writable) noexcept {
    sockets_.erase(fd);
    if (!readable && !writable) return;
    const std::uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
    // Without it the question is not answered in time; which is then told.
    try {
        const auto added = sockets_.try_emplace(fd, channel, reactor_, *this).first;
        static_cast<void>(added->second.watch.attach(fd, events));
    } catch (const std::bad_alloc&) {
        return;
    }
}

// Late is not dead: while something comes, it is read, and time stands still. An answer may have
// several pieces, of which c-ares reads one at a time, and other answers may lie behind it.
void Resolver::Impl::go_on() {
    if (process() && ++reads_in_a_row_ < most_reads) {
        reactor_.schedule(*this);
    } else {
        reads_in_a_row_ = 0;
        for (Server& server : servers_) {
            for (const auto& channel : server.channels)
                ares_process_fd(channel->get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        }
        const TimePoint due = std::exchange(due_, TimePoint::min());
        if (look_until_ <= due) begin_waiting();
        expire(due);
        attempt_due(due);
    }
    start_waiting();
    cancel_unawaited();
}

// Whether anything had come. A channel is told only of its own sockets: of whatever it is told, it
// gives up what has taken too long.
bool Resolver::Impl::process() {
    struct Ready {
        AresChannel* channel;
        ares_socket_t readable;
        ares_socket_t writable;
    };
    std::vector<Ready> ready;
    ready.reserve(sockets_.size());
    bool some_readable = false;
    for (auto& [fd, socket] : sockets_) {
        const ares_socket_t readable = socket.watch.readable() ? fd : ARES_SOCKET_BAD;
        const ares_socket_t writable = socket.watch.writable() ? fd : ARES_SOCKET_BAD;
        socket.watch.clear_readable();
        socket.watch.clear_writable();
        some_readable = some_readable || readable == fd;
        if (readable != writable || readable != ARES_SOCKET_BAD)
            ready.push_back({socket.channel, readable, writable});
    }
    // Some may be closed and opened anew meanwhile, by another channel; then there is nothing to
    // read for this one.
    for (const auto& [channel, readable, writable] : ready)
        ares_process_fd(channel->get(), readable, writable);
    return some_readable;
}

void Resolver::Impl::expire(TimePoint due) {
    for (auto next = questions_.begin(); next != questions_.end();) {
        const auto current = next++;
        if (current->second.deadline <= due && !may_have_been_us(current->second))
            finish_late(current);
    }
}

// Whoever was stopped for a while cannot tell how long a server took, and has not asked what comes
// next. So there is the same time once more, and whoever was silent is asked again. Once, or a
// machine that is always late would never be answered.
bool Resolver::Impl::may_have_been_us(Question& question) {
    if (reactor_.now() - question.deadline < tolerated_lateness ||
        std::exchange(question.excused, true))
        return false;
    question.deadline = reactor_.now() + timeout_;
    for (const std::uint64_t id : question.lookups) {
        Lookup& lookup = lookups_.at(id);
        if (!lookup.active) continue;
        lookup.round = 0;
        lookup.next = reactor_.now();
    }
    return true;
}

// c-ares goes by CLOCK_MONOTONIC, which may be a little behind the turn's now() or before it; then
// the timer fires again.
void Resolver::Impl::rearm() noexcept {
    if (!finished_.empty()) reactor_.schedule(*this);
    timer_.cancel();
    TimePoint next = look_until_;
    for (const auto& [id, question] : questions_) next = std::min(next, question.deadline);
    for (const std::uint64_t id : active_) next = std::min(next, lookups_.at(id).next);
    for (const Server& server : servers_) {
        for (const auto& channel : server.channels) {
            timeval wait{};
            if (ares_timeout(channel->get(), nullptr, &wait) == nullptr) continue;
            next = std::min(next, reactor_.now() + std::chrono::seconds{wait.tv_sec} +
                                      std::chrono::microseconds{wait.tv_usec});
        }
    }
    if (std::exchange(starved_, false)) next = reactor_.now() + patience;
    armed_for_ = next;
    if (next != TimePoint::max()) timer_.start_at(next);
}

}  // namespace eplb::control
