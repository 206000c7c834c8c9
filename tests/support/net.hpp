#pragma once

#include "eplb/address.hpp"
#include "eplb/fd.hpp"

#include <cstddef>
#include <string_view>

namespace eplb::test {

/// A connection over 127.0.0.1: real TCP, both ends nonblocking and close-on-exec.
struct Pair {
    Fd near;  ///< the end that connected
    Fd far;   ///< the end that was accepted
};

struct PairOptions {
    int near_send_buffer = 0;     ///< SO_SNDBUF; 0: the kernel's choice
    int near_receive_buffer = 0;  ///< SO_RCVBUF
    int far_send_buffer = 0;
    int far_receive_buffer = 0;
    int max_segment = 0;  ///< TCP_MAXSEG, both ways
};

/// Throws std::system_error when the system does not play along, as do all of these.
[[nodiscard]] Pair tcp_pair(const PairOptions& options = {});
/// socketpair(2): both ends nonblocking.
[[nodiscard]] Pair unix_pair();

/// A listening socket on 127.0.0.1, with a port that the kernel chose.
[[nodiscard]] Fd listener(int backlog = 128);
[[nodiscard]] Address address_of(const Fd& socket);
/// Accepts a connection that has been made already.
[[nodiscard]] Fd accept_one(const Fd& listener);
/// Starts to connect, without waiting: on the loopback interface it is done at once, or refused.
/// Returns no descriptor when refused, or when the backlog of a Unix socket is full.
[[nodiscard]] Fd connect_to(const Address& address, int receive_buffer = 0);
/// An address on 127.0.0.1 at which nobody listens. The port stays bound, so that nobody else gets
/// it.
struct RefusingPort {
    RefusingPort();
    Fd socket;
    Address address;
};

void set_option(const Fd& socket, int level, int name, int value);
[[nodiscard]] int get_option(const Fd& socket, int level, int name);
/// Makes close() send a reset, and closes.
void reset_connection(Fd socket);
/// Sends `text` over a Unix socket, and a duplicate of `descriptor` with it (SCM_RIGHTS).
void send_with_descriptor(const Fd& socket, std::string_view text, int descriptor);
/// Bytes that can be read at once, FIONREAD.
[[nodiscard]] std::size_t readable_bytes(const Fd& socket);
[[nodiscard]] bool is_nonblocking(int fd);
[[nodiscard]] bool is_close_on_exec(int fd);
[[nodiscard]] bool has_ipv6();

}  // namespace eplb::test
