#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>

/// Every system call of the data path: what the reactor and the proxy do once they run. The seam is
/// at link time: the real kernel is in sys_linux.cpp; tests/sim defines the same functions over a
/// simulated one.
///
/// Conventions: no call blocks but epoll_wait(); every descriptor it returns is nonblocking and
/// close-on-exec; EINTR is handled here, and returned by epoll_wait() alone. Calls that make something return it, or
/// -errno. Calls that only do something return 0 or an errno. Calls that move bytes return an
/// IoResult.
namespace eplb::sys {

enum class Io : std::uint8_t {
    moved,        ///< `bytes` (at least one) went through
    eof,          ///< the other end finished sending
    would_block,  ///< EAGAIN: an edge will come
    error,        ///< `error` says why
};

struct IoResult {
    Io status = Io::error;
    int error = 0;
    std::size_t bytes = 0;
};

/// What the kernel knows of a TCP peer; of TCP_INFO, tcp(7).
struct PeerState {
    bool unacknowledged = false;  ///< something was sent that it has not acknowledged
    std::uint8_t probes = 0;      ///< of its closed window, in a row, that it has not answered
    std::uint32_t silent_ms = 0;  ///< since it last acknowledged anything
    std::uint32_t rtt_us = 0;     ///< smoothed round-trip time
};

// --- moving bytes

/// recv(2).
[[nodiscard]] IoResult recv(int fd, std::span<std::byte> buffer) noexcept;
/// recv(2) with MSG_PEEK: what is read stays to be read.
[[nodiscard]] IoResult peek(int fd, std::span<std::byte> buffer) noexcept;
/// send(2) with MSG_NOSIGNAL, never MSG_MORE.
[[nodiscard]] IoResult send(int fd, std::span<const std::byte> bytes) noexcept;
/// The same with MSG_MORE: the kernel may keep the bytes back for those that follow, for 200 ms at
/// most. Only where some follow at once.
[[nodiscard]] IoResult send_ahead(int fd, std::span<const std::byte> bytes) noexcept;
/// splice(2) between a socket and a pipe, either way. `count` is capped (a length near SIZE_MAX is
/// EINVAL); always SPLICE_F_NONBLOCK, which governs the pipe; never SPLICE_F_MORE, which holds the
/// last segment back for 200 ms. Into a closed socket it raises SIGPIPE.
[[nodiscard]] IoResult splice(int from, int to, std::size_t count) noexcept;
/// read(2) and write(2): pipes, eventfd, signalfd.
[[nodiscard]] IoResult read(int fd, std::span<std::byte> buffer) noexcept;
[[nodiscard]] IoResult write(int fd, std::span<const std::byte> bytes) noexcept;

// --- sockets

[[nodiscard]] int socket(int family) noexcept;
[[nodiscard]] int bind(int fd, const sockaddr_storage& address, socklen_t length) noexcept;
[[nodiscard]] int listen(int fd, int backlog) noexcept;
/// accept4(2). `length` is the size of what was written to `peer`.
[[nodiscard]] int accept(int fd, sockaddr_storage& peer, socklen_t& length) noexcept;
/// connect(2): 0 when connected already, EINPROGRESS when an edge will tell.
[[nodiscard]] int connect(int fd, const sockaddr_storage& address, socklen_t length) noexcept;
/// getsockname(2).
[[nodiscard]] int local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept;
[[nodiscard]] int set_option(int fd, int level, int name, int value) noexcept;
/// For options whose value is a text, like SO_BINDTODEVICE.
[[nodiscard]] int set_text_option(int fd, int level, int name, std::string_view value) noexcept;
/// SO_ERROR: returns the socket's pending error and clears it. Only while connecting: on an
/// established connection it would turn a reset into a clean end of stream for the read that
/// follows.
[[nodiscard]] int take_error(int fd) noexcept;
/// SIOCOUTQ, tcp(7): bytes that the peer has not acknowledged and still could. 0 for a connection
/// that is dead, and when it cannot be told.
[[nodiscard]] std::size_t unsent_bytes(int fd) noexcept;
/// TCP_INFO. Returns an errno for what is no TCP socket.
[[nodiscard]] int peer_state(int fd, PeerState& state) noexcept;
/// shutdown(SHUT_WR): sends FIN after what is queued.
int shutdown_write(int fd) noexcept;
/// Makes close() send RST and drop what is queued: SO_LINGER with 0 seconds, socket(7).
void reset_on_close(int fd) noexcept;

// --- pipes, epoll, the rest

/// pipe2(2): 0 or an errno.
[[nodiscard]] int pipe(int& read_end, int& write_end) noexcept;
/// F_SETPIPE_SZ, which returns the size that the kernel made of `bytes`, or -errno.
[[nodiscard]] int set_pipe_size(int fd, std::size_t bytes) noexcept;
/// F_GETPIPE_SZ, or -errno.
[[nodiscard]] int pipe_size(int fd) noexcept;

/// Fresh pages, mmap(2); nullptr: there is no memory.
[[nodiscard]] void* map(std::size_t bytes) noexcept;
/// munmap(2), also of a part.
void unmap(void* memory, std::size_t bytes) noexcept;

[[nodiscard]] int epoll_create() noexcept;
[[nodiscard]] int epoll_add(int epoll, int fd, std::uint32_t events, void* data) noexcept;
void epoll_remove(int epoll, int fd) noexcept;
/// Waits for at most `timeout_ms` (-1: no limit) and returns how many events it wrote: 0, if there
/// are none. -EINTR after a signal, SIGCONT too: then there may well be some.
[[nodiscard]] int epoll_wait(int epoll, std::span<epoll_event> events, int timeout_ms) noexcept;

/// How many events are to be asked for at once: fewer than that have come back, so there are no
/// more.
[[nodiscard]] std::size_t events_per_wait() noexcept;

[[nodiscard]] int eventfd() noexcept;
[[nodiscard]] int signalfd(const sigset_t& signals) noexcept;
/// close(2). Never repeated: Linux has freed the descriptor even when it says EINTR.
void close(int fd) noexcept;

}  // namespace eplb::sys
