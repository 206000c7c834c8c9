// What the clients of the load process do when their sockets have news.

#include "load.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;
using Role = Client::Role;
using Stage = Client::Stage;

constexpr Duration answer_limit = 3s;

TimePoint now() noexcept { return std::chrono::steady_clock::now(); }

}  // namespace

// Edge-triggered and for both directions, so that no client needs a second epoll_ctl(2); only bulk
// streams, which must take turns, become level-triggered.
void Load::open(std::size_t index) {
    Client& client = clients_[index];
    const std::size_t number = opened_++;
    client.stage = Stage::connecting;
    client.since = now();
    if (client.role != Role::churn) ++opening_;
    deadlines_.push_back({client.since + answer_limit, index, client.generation + 1});
    if (const int error = begin_connect(client, targets_[number % targets_.size()], number))
        return lose(index, error);
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u64 = index}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.socket.get(), &event) != 0)
        lose(index, errno);
}

void Load::on_event(std::size_t index, std::uint32_t events) {
    Client& client = clients_[index];
    if (client.stage == Stage::closed) return;
    if ((events & EPOLLERR) != 0) return lose(index, socket_error(client.socket));
    if (client.stage == Stage::connecting && (events & EPOLLOUT) != 0) return on_connected(client);
    const bool readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
    if (client.stage == Stage::verifying) {
        if (readable) on_answer(index);
        return;
    }
    switch (client.role) {
    case Role::ping: return on_ping(index, events);
    case Role::pull: return pull_some(index);
    case Role::push: return (events & EPOLLRDHUP) != 0 ? lose(index, 0) : push_some(index);
    case Role::idle:
    case Role::churn:
        if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) lose(index, 0);
        return;
    }
}

void Load::on_connected(Client& client) {
    client.stage = Stage::verifying;
    const char byte = client.role == Role::push   ? opcode::push
                      : client.role == Role::pull ? opcode::pull
                                                  : opcode::echo;
    // A failure is reported by epoll as well; a fresh socket has room for a byte.
    static_cast<void>(::send(client.socket.get(), &byte, 1, MSG_NOSIGNAL));
}

void Load::on_answer(std::size_t index) {
    const auto got = ::recv(clients_[index].socket.get(), buffer_.data(), buffer_.size(), 0);
    if (got > 0) return on_verified(index);
    if (got == 0) return lose(index, 0);
    if (errno != EAGAIN) lose(index, errno);
}

void Load::on_verified(std::size_t index) {
    Client& client = clients_[index];
    if (client.role == Role::churn) {
        close(client);
        latencies_.add((now() - client.since).count());
        ++operations_;
        to_reopen_.push_back(index);
        return;
    }
    client.stage = Stage::working;
    --opening_;
    ++answered_;
    last_success_ = now();
    if (client.role != Role::push && client.role != Role::pull) return;
    const std::uint32_t wanted = client.role == Role::push ? EPOLLOUT : EPOLLIN;
    epoll_event event{.events = wanted | EPOLLRDHUP, .data = {.u64 = index}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.socket.get(), &event);
}

void Load::on_ping(std::size_t index, std::uint32_t events) {
    Client& client = clients_[index];
    if (client.unsent > 0 && (events & EPOLLOUT) != 0) send_ping(index);
    if ((events & (EPOLLIN | EPOLLRDHUP)) == 0 || client.stage != Stage::working) return;
    const auto got = ::recv(client.socket.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return lose(index, got == 0 ? 0 : errno);
    client.missing -= std::min(client.missing, static_cast<std::size_t>(got));
    if (client.missing > 0) return;  // less was there than asked for: the rest makes a new edge
    latencies_.add((now() - client.since).count());
    ++operations_;
    if (!client.warm) {
        client.warm = true;
        --cold_;
    }
    if (traffic_) send_ping(index);
}

// Begins a ping, or goes on with one that did not fit.
void Load::send_ping(std::size_t index) {
    Client& client = clients_[index];
    if (client.unsent == 0) {
        client.unsent = client.missing = spec_.work.message_bytes;
        client.since = now();
    }
    const auto sent = ::send(client.socket.get(), buffer_.data(), client.unsent, MSG_NOSIGNAL);
    if (sent >= 0) client.unsent -= static_cast<std::size_t>(sent);
    if (sent < 0 && errno != EAGAIN) lose(index, errno);
}

void Load::pull_some(std::size_t index) {
    const auto got = ::recv(clients_[index].socket.get(), buffer_.data(), buffer_.size(), 0);
    if (got > 0) pulled_bytes_ += static_cast<std::uint64_t>(got);
    if (got == 0) lose(index, 0);
    if (got < 0 && errno != EAGAIN) lose(index, errno);
}

void Load::push_some(std::size_t index) {
    const auto sent =
        ::send(clients_[index].socket.get(), buffer_.data(), buffer_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) lose(index, errno);
}

}  // namespace eplb::bench
