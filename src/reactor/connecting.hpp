#pragma once

#include "eplb/address.hpp"
#include "eplb/fd.hpp"
#include "eplb/watch.hpp"

namespace eplb {

/// What became of a connect(2) that was in progress, once its socket's watch is writable: 0 or an
/// errno. Takes SO_ERROR.
[[nodiscard]] int take_connect_error(const Watch& watch) noexcept;

/// Whether the kernel chose the very port that was connected to as the local one, and so connected
/// the socket to itself: nobody listens there (simultaneous open, RFC 9293, 3.5). getsockname(2),
/// but for Unix sockets.
[[nodiscard]] bool is_connected_to_itself(const Fd& socket, const Address& target) noexcept;

}  // namespace eplb
