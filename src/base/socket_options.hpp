#pragma once

#include "eplb/fd.hpp"
#include "eplb/socket_options.hpp"

namespace eplb {

/// Not of a Unix socket, however it came to be. One getsockname(2).
[[nodiscard]] bool is_internet_socket(const Fd& fd) noexcept;

/// An option that the kernel did not take.
struct OptionFailure {
    int error = 0;  ///< 0: none
    const char* option = "";

    [[nodiscard]] explicit operator bool() const noexcept { return error != 0; }
};

// Of TCP sockets. Without either of these two a connection works all the same, so failure is
// ignored.

/// One setsockopt(2).
void set_no_delay(const Fd& fd) noexcept;
/// Four; none, if it is off.
void set_keepalive(const Fd& fd, const Keepalive& keepalive) noexcept;

/// Those without which a connection would go another way than it should: interface, mark,
/// congestion control, transparency. No system call for those that have their defaults.
[[nodiscard]] OptionFailure set_route(const Fd& fd, const SocketOptions& options,
                                      int family) noexcept;

/// For a socket that had other options before: those of keepalive and route that have their defaults
/// in `options` become what a new socket has. One system call each; failure is ignored.
void unset_options(const Fd& fd, const SocketOptions& options, int family) noexcept;

}  // namespace eplb
