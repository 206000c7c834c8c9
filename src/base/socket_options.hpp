#pragma once

#include "eplb/fd.hpp"

namespace eplb {

/// What every TCP socket of ours has: no delay of small segments (TCP_NODELAY), and keepalive that
/// finds a peer which vanished while idle within two minutes (60 s, then 6 probes 10 s apart),
/// before common NAT gateways forget the connection. See tcp(7). Accepted sockets inherit all of it
/// from their listener. Errors do not matter: a kernel that lacks one still serves.
void set_tcp_options(const Fd& fd) noexcept;

}  // namespace eplb
