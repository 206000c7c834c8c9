#pragma once

#include "eplb/fd.hpp"
#include "eplb/socket_options.hpp"

#include <vector>

namespace eplb {

/// Not of a Unix socket, however it came to be. One getsockname(2).
[[nodiscard]] bool is_internet_socket(const Fd& fd) noexcept;

/// An option that the kernel did not take.
struct OptionFailure {
    int error = 0;  ///< 0: none
    const char* option = "";

    [[nodiscard]] explicit operator bool() const noexcept { return error != 0; }
};

/// Whether what an errno of an option is about may come by itself: an interface or an address that is
/// not there now. All others stay as they are until somebody changes something.
[[nodiscard]] bool may_come_later(int error) noexcept;

// Of TCP sockets. Without either of these two a connection works all the same, so on the data path
// failure is ignored.

/// One setsockopt(2). Returns 0 or an errno.
int set_no_delay(const Fd& fd) noexcept;
/// Four; none, if it is off. Returns 0 or the first errno.
int set_keepalive(const Fd& fd, const Keepalive& keepalive) noexcept;

/// Those without which a connection would go another way than it should: interface, mark,
/// congestion control; and transparency, if it is `transparent`. No system call for those that have
/// their defaults.
[[nodiscard]] OptionFailure set_route(const Fd& fd, const SocketOptions& options, int family,
                                      bool transparent) noexcept;
/// The same, transparency as `options` have it; but what comes behind one that was refused is set,
/// too. Appends each refusal to `refused`.
void set_all_of_route(const Fd& fd, const SocketOptions& options, int family,
                      std::vector<OptionFailure>& refused);

/// For a socket that had other options before: those of keepalive and route that have their defaults
/// in `options` become what a new socket has. One or two system calls each; nothing is set that is so
/// already, since that takes the same capability. Appends each refusal to `refused`.
void unset_options(const Fd& fd, const SocketOptions& options, int family,
                   std::vector<OptionFailure>& refused);

}  // namespace eplb
