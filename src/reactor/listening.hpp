#pragma once

#include "base/socket_options.hpp"
#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"
#include "eplb/fd.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace eplb {

/// `count` sockets that listen on the same address, and share its clients; one, if it is a Unix
/// socket. Throws std::system_error as listen_on() does, also if anybody else listens there, or comes
/// to do so in the same moment: of two processes that try it, one gets the address.
[[nodiscard]] std::vector<Fd> listen_together(const Address& address, ListenOptions options,
                                              std::size_t count);

/// As change_options(), which see; each thing that the kernel did not take.
[[nodiscard]] std::vector<OptionFailure> change_listener(const Fd& listener,
                                                         const ListenOptions& options);

/// "cannot listen on [::]:80 (somebody listens there: ss -ltnp tells who)"; without the errno's text.
[[nodiscard]] std::string listen_problem(const Address& address, int error);

// What the kernel would say, found out with sockets that are thrown away at once: none of them
// listens. Loads modules of congestion controls, if we may: not for a thread that is in a hurry.

/// Of the options of TCP that are not a listener's defaults.
[[nodiscard]] std::vector<OptionFailure> try_options(const ListenOptions& options);
/// Whether connections can come from `source`: 0 or an errno.
[[nodiscard]] int try_source(const Address& source, const SocketOptions& options);
/// Whether `address` can be listened on: "listen", "unix_owner" and "unix_mode". In the folder of a
/// Unix socket a file appears, and is gone at once. Interfaces that are not there are not looked at.
[[nodiscard]] std::vector<OptionFailure> try_to_listen(const Address& address,
                                                       const ListenOptions& options);
/// Whether the Unix socket that listens on `address` could get the owner and mode of `options`;
/// likewise.
[[nodiscard]] std::vector<OptionFailure> try_permissions(const Address& address,
                                                         const ListenOptions& options);

}  // namespace eplb
