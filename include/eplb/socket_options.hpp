// base: options of sockets.
#pragma once

#include "eplb/clock.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace eplb {

/// When the kernel asks a silent TCP peer whether it is still there, tcp(7). It counts in
/// whole seconds: what is between is rounded up.
struct Keepalive {
    Duration idle = std::chrono::seconds{60};  ///< zero: never
    /// From one question without an answer to the next.
    Duration interval = std::chrono::seconds{10};
    std::uint32_t count = 6;  ///< so many, and the connection is broken

    friend bool operator==(const Keepalive& a, const Keepalive& b) noexcept = default;
};

/// Options of TCP sockets: of listeners, from which accepted sockets inherit them, and of
/// connections to backends.
struct SocketOptions {
    bool no_delay = true;      ///< TCP_NODELAY
    Keepalive keepalive;       ///< SO_KEEPALIVE and its times
    std::string interface;     ///< SO_BINDTODEVICE; empty: any
    std::uint32_t mark = 0;    ///< SO_MARK; 0: none. CAP_NET_ADMIN
    std::string congestion;    ///< TCP_CONGESTION; empty: the system's
    bool transparent = false;  ///< IP_TRANSPARENT. CAP_NET_ADMIN or CAP_NET_RAW

    friend bool operator==(const SocketOptions& a, const SocketOptions& b) noexcept = default;
};

}  // namespace eplb
