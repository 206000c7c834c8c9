// reactor: connections to others.
#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/export.hpp"
#include "eplb/fd.hpp"
#include "eplb/socket_options.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace eplb {

class Reactor;

/// How a Connector connects.
struct ConnectOptions {
    /// How long the peer may take to answer. Zero: as long as the kernel tries, about two minutes
    /// (tcp_syn_retries, tcp(7)). A Unix socket whose backlog is full is asked again and again until
    /// then; with zero, for ever.
    Duration timeout = std::chrono::seconds{10};
    /// For TCP only.
    SocketOptions socket;
    /// Where connections come from: an address of this machine, or anybody's with
    /// SocketOptions::transparent. Its port plays no role: the kernel chooses one. Not used towards
    /// addresses of another family.
    std::optional<Address> source = std::nullopt;
};

/// Connects to an address, or to the first of several that answers, and hands the socket on.
///
/// Belongs to the thread of its reactor, which outlives it. Destroying it early gives up, and calls
/// nobody.
class EPLB_API Connector final {
public:
    /// `socket` is connected, nonblocking and close-on-exec; or not valid, and `error` says why:
    /// ECONNREFUSED, EHOSTUNREACH and the like, connect(2); ETIMEDOUT, also for our own timeout;
    /// EAGAIN for a Unix socket whose backlog was full all that time; EMFILE and the like of this
    /// machine, and what the kernel says of an option that it refuses, like ENODEV or, of a congestion
    /// control, ENOENT.
    ///
    /// Called once, in a later turn. May do anything, also destroy the connector, and may throw: the
    /// exception leaves Reactor::run_once().
    using Handler = std::function<void(Fd socket, int error)>;

    /// Begins at once. Throws nothing but std::bad_alloc: what is wrong is told to `on_end`.
    Connector(Reactor& reactor, const Address& to, Handler on_end, ConnectOptions options = {});
    /// To the first of `to` that answers: one after the other, a turn for each at least, and each has
    /// the whole timeout. The `error` is that of the last one; when this machine lacks something (EMFILE,
    /// ENFILE, ENOBUFS, ENOMEM) the rest is not tried. EDESTADDRREQ, if there are none.
    Connector(Reactor& reactor, std::vector<Address> to, Handler on_end,
              ConnectOptions options = {});
    ~Connector();
    Connector(const Connector&) = delete;
    Connector& operator=(const Connector&) = delete;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace eplb
