#include "backend.hpp"

#include "eplb/fd.hpp"
#include "net.hpp"
#include "wire.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <fmt/format.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <vector>

namespace eplb::bench {
namespace {

constexpr std::size_t chunk_bytes = 128 * 1024;

class Backend {
public:
    explicit Backend(SharedCounters& counters)
        : counters_{counters}, epoll_{::epoll_create1(EPOLL_CLOEXEC)}, buffer_(chunk_bytes, 'x') {
        std::string line;
        for (const char* host : {"127.0.0.2", "127.0.0.3"}) {
            Listener listener = listen_on_free_port(host);
            line += fmt::format("{}{}:{}", line.empty() ? "" : " ", host, listener.port);
            const int fd = listener.socket.get();
            remember(fd, {.socket = std::move(listener.socket), .does = Does::accept});
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
        }
        fmt::print("{}\n", line);
        std::fflush(stdout);
    }

    [[noreturn]] void serve() {
        std::array<epoll_event, 256> events;
        for (;;) {
            const int count =
                ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
            for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
        }
    }

private:
    enum class Does : std::uint8_t { accept, start, echo, flush, sink, source };
    struct Peer {
        Fd socket;
        Does does = Does::start;
        std::string unsent{};  // of an echo
    };

    void remember(int fd, Peer peer) {
        const auto index = static_cast<std::size_t>(fd);
        if (peers_.size() <= index) peers_.resize(index + 1);
        peers_[index] = std::move(peer);
    }
    void watch(int operation, int fd, std::uint32_t what) {
        epoll_event event{.events = what, .data = {.fd = fd}};
        ::epoll_ctl(epoll_.get(), operation, fd, &event);
    }
    // Closing takes it out of epoll; an event of this turn that is left finds the slot closed.
    void drop(Peer& peer) { peer = Peer{}; }

    void handle(int fd) {
        Peer& peer = peers_[static_cast<std::size_t>(fd)];
        if (!peer.socket.valid()) return;
        switch (peer.does) {
        case Does::accept: return accept_some(fd);
        case Does::start:
        case Does::echo: return echo(peer);
        case Does::flush: return flush(peer);
        case Does::sink: return sink(peer);
        case Does::source: return source(peer);
        }
    }

    void accept_some(int listener) {
        for (int i = 0; i < 64; ++i) {
            Fd socket{::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
            if (!socket.valid())
                return;  // EAGAIN; or no descriptors: the limit is the same for all
            const int fd = socket.get();
            remember(fd, {.socket = std::move(socket)});
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
        }
    }

    void echo(Peer& peer) {
        const int fd = peer.socket.get();
        const auto got = ::recv(fd, buffer_.data(), buffer_.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return drop(peer);
        if (peer.does == Does::start) {
            peer.does = Does::echo;
            if (buffer_[0] == opcode::push) peer.does = Does::sink;
            if (buffer_[0] == opcode::pull) {
                peer.does = Does::source;
                watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
                return source(peer);
            }
        }
        const auto sent = ::send(fd, buffer_.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
        if (sent == got) return;
        if (sent < 0 && errno != EAGAIN) return drop(peer);
        const auto taken = static_cast<std::size_t>(sent < 0 ? 0 : sent);
        peer.unsent.assign(buffer_.data() + taken, static_cast<std::size_t>(got) - taken);
        peer.does = Does::flush;
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    }

    void flush(Peer& peer) {
        const int fd = peer.socket.get();
        const auto sent = ::send(fd, peer.unsent.data(), peer.unsent.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) return drop(peer);
        peer.unsent.erase(0, static_cast<std::size_t>(sent));
        if (!peer.unsent.empty()) return;
        peer.does = Does::echo;
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }

    void sink(Peer& peer) {
        const auto got = ::recv(peer.socket.get(), buffer_.data(), buffer_.size(), 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return drop(peer);
        counters_.pushed_bytes.fetch_add(static_cast<std::uint64_t>(got),
                                         std::memory_order_relaxed);
    }

    void source(Peer& peer) {
        const auto sent = ::send(peer.socket.get(), buffer_.data(), buffer_.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) drop(peer);
    }

    SharedCounters& counters_;
    Fd epoll_;
    std::vector<Peer> peers_;  // by descriptor
    std::vector<char> buffer_;
};

}  // namespace

void serve_as_backend() {
    Backend backend{map_counters(counters_descriptor)};
    backend.serve();
}

}  // namespace eplb::bench
