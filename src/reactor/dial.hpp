#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/fd.hpp"
#include "eplb/socket_options.hpp"
#include "eplb/watch.hpp"

#include <cstdint>

namespace eplb {

/// Where to, from where and how. All that it refers to outlives the call of dial().
struct DialTarget {
    const Address& to;
    /// For TCP; but not for their transparency, which is said below.
    const SocketOptions& options;
    /// Its port plays no role. nullptr: the kernel chooses.
    const Address* source = nullptr;
    /// `source` may be anybody's address (IP_TRANSPARENT).
    bool transparent = false;
    bool keepalive = false;
};

/// How far a connection has come.
struct Dialled {
    enum class Step : std::uint8_t {
        socket,   ///< none was to be had
        option,   ///< the kernel refused an option of our own socket; the peer was not asked
        connect,  ///< what connect(2) said
        watch,    ///< it could not be watched
    };
    /// 0: connected. EINPROGRESS: the watch will tell. Else an errno.
    int error = 0;
    Step step = Step::connect;
    const char* option = "";  ///< which one, as the configuration calls it

    /// Whether a Unix socket is there, but has no room in its backlog: it is to be asked again, after
    /// time_to_next_dial().
    [[nodiscard]] bool backlog_is_full(const Address& to) const noexcept;
};

/// Makes `socket` a new one in place of what it was and `watch` watched, nonblocking and close-on-exec, connects it and has `watch` watch it.
/// What was opened stays in `socket`, whatever the result. Two system calls, one for each option that is not the
/// kernel's default, two for a source, and one for the watch.
[[nodiscard]] Dialled dial(const DialTarget& target, Fd& socket, Watch& watch) noexcept;

/// What became of a connect(2) that was in progress, once its socket's watch is writable: 0 or an
/// errno. Takes SO_ERROR.
[[nodiscard]] int take_connect_error(const Watch& watch) noexcept;

/// 0, or ECONNREFUSED: the kernel chose the very port that was connected to as the local one, and so
/// connected the socket to itself, because nobody listens there (simultaneous open, RFC 9293, 3.5). Such
/// a socket is reset when it is closed. getsockname(2), but for Unix sockets.
[[nodiscard]] int refuse_connection_to_itself(const Fd& socket, const Address& to) noexcept;

/// When to ask again a Unix socket whose backlog was full (EAGAIN of connect(2)): from now, after
/// having tried for `waited`, of at most `limit` (zero: for ever). Where TCP would send another SYN,
/// nobody asks for us, and nobody tells that there is room.
[[nodiscard]] Duration time_to_next_dial(Duration waited, Duration limit) noexcept;

}  // namespace eplb
