#pragma once

#include <cerrno>

namespace eplb {

/// Whether who was connected to, or the way there, is at fault for an errno of connect(2). Everything
/// else is about this machine, and says nothing of the peer: no port left (EADDRNOTAVAIL), no such
/// protocol, not permitted. Only of connect(2): what setsockopt(2) or bind(2) said of our own socket
/// before is never the peer's fault, whatever its number.
[[nodiscard]] inline bool is_peers_fault(int error, bool is_unix) noexcept {
    switch (error) {
    case ECONNREFUSED:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:  // it finished, and reset
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN: return true;
    case ENOENT: return is_unix;  // elsewhere it is no errno of connect(2) at all
    case EAGAIN: return is_unix;  // its backlog is full; elsewhere: no port left, connect(2)
    default: return false;
    }
}

}  // namespace eplb
