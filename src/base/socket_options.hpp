#pragma once

#include "eplb/fd.hpp"

namespace eplb {

// What every TCP socket of ours has, tcp(7). Accepted sockets inherit all of it from their listener.
// Errors do not matter: a kernel that lacks one still serves.

/// No delay of small segments: TCP_NODELAY.
void set_no_delay(const Fd& fd) noexcept;
/// Keepalive that finds a peer which vanished while idle within two minutes (60 s, then 6 probes
/// 10 s apart), before common NAT gateways forget the connection. Four system calls.
void set_keepalive(const Fd& fd) noexcept;

}  // namespace eplb
