#pragma once

namespace eplb::bench {

/// The process behind the proxy: two listening sockets on two loopback addresses ("two backends"),
/// one thread, plain epoll. Prints "ADDR ADDR\n" and serves until it is killed. The same for every
/// design. Written without the library, so that the yardstick does not change with what it
/// measures.
[[noreturn]] void serve_as_backend();

}  // namespace eplb::bench
