// relay: both directions between two sockets.
#pragma once

#include "eplb/clock.hpp"
#include "eplb/export.hpp"
#include "eplb/fd.hpp"
#include "eplb/flow.hpp"
#include "eplb/task.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace eplb {

class Reactor;

/// Why a session, or a relay, ended. Names follow who acted first.
enum class EndReason : std::uint8_t {
    client_fin,      ///< both sides finished, the client first
    server_fin,      ///< both sides finished, the server first
    client_rst,      ///< the client's connection was reset
    server_rst,      ///< the server's connection was reset; by the last backend tried, maybe, right
                     ///< behind its accept
    client_timeout,  ///< the client stopped answering: keepalive or retransmission gave up
    server_timeout,  ///< the server stopped answering
    idle,            ///< no byte moved for the idle timeout
    lifetime,        ///< it was as old as it may get
    half_close,      ///< one side finished and nothing moved for the half-close timeout
    connect_refused,       ///< the last backend tried refused
    connect_timeout,       ///< the last backend tried did not answer in time
    connect_unreachable,   ///< no way to the last backend tried
    connect_failed,        ///< connecting to the last backend tried failed in another way
    no_backend,            ///< there was none to try
    backends_full,         ///< all had as many sessions as they may have, and so had the queue
    queue_timeout,         ///< none of them had room in time
    local_error,           ///< this machine lacks something: descriptors, ports, memory, permission
    backend_down,          ///< its backend's checks said that it is down
    rebalance,             ///< its backend had more than its share, and it was quiet
    drain,                 ///< shut down before it was finished
    removed,               ///< its backend or listener was taken out of the configuration
    denied,                ///< the client's address is not allowed
    service_connections,   ///< the service has as many sessions as it may have
    service_rate,          ///< the service's clients connect more often than they may
    source_connections,    ///< the client's address has as many connections as it may have
    source_rate,           ///< the client's address connects more often than it may
    untrusted_proxy,       ///< a PROXY header was due, from somebody who is not trusted to send one
    bad_proxy_header,      ///< what came was no PROXY header
    proxy_header_timeout,  ///< no whole PROXY header came in time
};

/// "client_fin" and so on.
[[nodiscard]] EPLB_API std::string_view to_string(EndReason reason) noexcept;

/// When a relay ends although its peers go on.
struct RelayTimeouts {
    /// No byte in either direction for so long ends it; zero: never.
    Duration idle{0};
    /// The same once one side has finished or failed; zero: never.
    Duration half_close = std::chrono::seconds{60};
    /// It ends when it is so old, whatever moves; zero: never.
    Duration lifetime{0};
    /// And up to this share of the lifetime earlier, each at another age: clients that came at once
    /// do not all come back at once. At most 100.
    std::uint32_t lifetime_jitter_percent = 10;
    /// A peer that has not acknowledged what was sent to it for so long is gone, and the session
    /// broken. It is no matter how slowly a peer reads. Zero: never. Seen by sessions of a Proxy.
    Duration dead_peer = std::chrono::seconds{120};

    friend bool operator==(const RelayTimeouts& a, const RelayTimeouts& b) noexcept = default;
};

/// How a relay went.
struct RelayResult {
    /// From client_fin to half_close, or local_error.
    EndReason reason = EndReason::drain;
    std::uint64_t bytes_up = 0;    ///< client to server
    std::uint64_t bytes_down = 0;  ///< server to client
    int error = 0;                 ///< the errno behind the reason, or 0
};

class Duplex;

/// Joins two connected sockets until both directions are done.
///
/// A FIN on one side becomes a FIN on the other, behind the last byte, and the other direction goes
/// on. A reset becomes a reset, after what was received before it. Running into a timeout resets
/// both, so that neither peer takes a cut stream for a whole one. Belongs to the thread of its
/// reactor. Destroying it early closes both sockets.
class EPLB_API Relay final : public Task {
public:
    /// Called once, when it is over and both sockets are closed. May do anything, also destroy the
    /// relay, and may throw: the exception leaves Reactor::run_once().
    using Handler = std::function<void(const RelayResult&)>;

    /// `client` and `server` are connected, nonblocking stream sockets. `context` outlives the
    /// relay. Throws std::system_error when they cannot be watched, and closes both.
    Relay(Reactor& reactor, RelayContext& context, Fd client, Fd server, RelayTimeouts timeouts,
          Handler on_end);
    ~Relay() override;

    /// Bytes of the client that have moved so far.
    [[nodiscard]] std::uint64_t bytes_up() const noexcept;
    /// The same of the server.
    [[nodiscard]] std::uint64_t bytes_down() const noexcept;
    /// Ends it now: both connections are reset, and the handler is told `reason` in the next turn.
    /// Nothing happens once it is over.
    void close(EndReason reason) noexcept;

    Next run() override;
    void retire() override;

private:
    Reactor& reactor_;
    bool over_ = false;
    RelayTimeouts timeouts_;
    std::unique_ptr<Duplex> duplex_;
    Handler on_end_;
};

}  // namespace eplb
