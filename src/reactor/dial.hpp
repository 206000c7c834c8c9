#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/fd.hpp"
#include "eplb/watch.hpp"

namespace eplb {

/// What became of a connect(2) that was in progress, once its socket's watch is writable: 0 or an
/// errno. Takes SO_ERROR.
[[nodiscard]] int take_connect_error(const Watch& watch) noexcept;

/// When to ask again a Unix socket whose backlog was full (EAGAIN of connect(2)): from now, after
/// having tried for `waited`, of at most `limit` (zero: for ever). Where TCP would send another SYN,
/// nobody asks for us, and nobody tells that there is room.
[[nodiscard]] Duration time_to_next_dial(Duration waited, Duration limit) noexcept;

/// Whether the kernel chose the very port that was connected to as the local one, and so connected
/// the socket to itself: nobody listens there (simultaneous open, RFC 9293, 3.5). getsockname(2),
/// but for Unix sockets.
[[nodiscard]] bool is_connected_to_itself(const Fd& socket, const Address& target) noexcept;

}  // namespace eplb
