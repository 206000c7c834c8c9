// reactor: a connected socket that is read and written.
#pragma once

#include "eplb/export.hpp"
#include "eplb/fd.hpp"
#include "eplb/watch.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace eplb {

class Reactor;
class Task;

/// A connected stream socket that a task reads and writes: the descriptor, its watch, and the rules
/// by which the watch's flags stay true, which are easy to get wrong by hand.
///
/// Whoever stops before receive() or send() said `blocked` knows of something left to do, and no
/// event will come for it: return Next::again.
///
/// 32 bytes. Belongs to the thread of its reactor, which outlives it, as does the task.
class EPLB_API Stream {
public:
    /// What came of receive() or send().
    enum class Status : std::uint8_t {
        moved,    ///< `bytes` (at least one) went through
        blocked,  ///< not now: the task runs when that has changed
        ended,    ///< the peer has finished sending, and all that it sent was received; not behind
                  ///< a failure
        failed,   ///< the connection is broken: `error`
    };
    /// One system call's worth.
    struct Result {
        Status status = Status::failed;  ///< says which of the others means something
        std::size_t bytes = 0;           ///< moved
        int error = 0;                   ///< an errno: ECONNRESET, EPIPE, ETIMEDOUT, …
    };

    /// Runs `task` whenever something new is known of `socket`, which is connected and nonblocking,
    /// as those of an Acceptor and a Connector are. Throws std::system_error when it cannot be
    /// watched, and closes it.
    Stream(Reactor& reactor, Task& task, Fd socket);

    /// Reads what there is, up to the size of `buffer`. One recv(2), or none when there is known to
    /// be nothing. `buffer` is not empty.
    [[nodiscard]] Result receive(std::span<std::byte> buffer) noexcept;
    /// Looks at what has come, from its first byte, up to the size of `buffer`, and leaves it to be
    /// received. `bytes` is how much there is, also where the status is another than `moved`:
    ///
    ///   moved    `at_least` bytes, or a full buffer
    ///   blocked  fewer: the task runs when more have come
    ///   ended    fewer, and no more will come
    ///
    /// One recv(2) with MSG_PEEK, or none when there is known to be nothing. Whoever waits for more than
    /// there is puts an end to that by a timer: more may not come.
    [[nodiscard]] Result peek(std::span<std::byte> buffer, std::size_t at_least = 1) noexcept;
    /// Writes what the kernel takes of `bytes`, which are not empty. One send(2), or none when it is
    /// known to take nothing. Raises no SIGPIPE.
    [[nodiscard]] Result send(std::span<const std::byte> bytes) noexcept;

    /// Tells the peer that nothing follows, behind what was sent: shutdown(2). Receiving goes on.
    void finish() noexcept;
    /// When it is closed, the peer sees a reset, and what is on its way to it is dropped
    /// (SO_LINGER, socket(7)).
    void reset_on_close() noexcept;

    /// Stops watching, and gives the socket up: to a Relay, for instance.
    [[nodiscard]] Fd release() noexcept;

    /// For its addresses and options: getpeername(2), setsockopt(2).
    [[nodiscard]] const Fd& socket() const noexcept { return socket_; }
    /// For what is known before it is met: hung_up(), failed().
    [[nodiscard]] const Watch& watch() const noexcept { return watch_; }

private:
    Result failed(int error) noexcept;

    Fd socket_;  // before its watch
    // Of TCP a read that returns less than was asked has emptied the socket. On a Unix socket it
    // also stops at a passed descriptor, unix(7).
    bool short_read_is_proof_;
    // The first failure, which the kernel tells once; what follows looks like a clean end.
    std::uint16_t error_ = 0;
    Watch watch_;
};

}  // namespace eplb
