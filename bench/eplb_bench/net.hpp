#pragma once

#include "eplb/fd.hpp"

#include <cstdint>
#include <netinet/in.h>
#include <string>

namespace eplb::bench {

/// "127.0.0.1:80". Throws std::invalid_argument for anything else.
[[nodiscard]] sockaddr_in to_sockaddr(const std::string& address);

struct Listener {
    Fd socket;
    std::uint16_t port = 0;
};

/// A nonblocking listening socket on a port that nobody uses. The port is below the range that
/// outgoing connections take theirs from, as a real server's is: some proxies work more for a
/// backend within it. Throws std::runtime_error when there is none.
[[nodiscard]] Listener listen_on_free_port(const std::string& host);

/// A port that nobody used a moment ago, for a program that opens it itself.
[[nodiscard]] std::uint16_t find_free_port(const std::string& host);

/// Connects, and waits for it; whether somebody listens there.
[[nodiscard]] bool accepts_connections(const std::string& address);

}  // namespace eplb::bench
