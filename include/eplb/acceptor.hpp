// reactor: listening sockets, and the clients that come by them.
#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/export.hpp"
#include "eplb/fd.hpp"
#include "eplb/socket_options.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <sys/types.h>

namespace eplb {

class Reactor;

/// How listen_on() opens a socket. What TCP alone has is not looked at for Unix sockets.
struct ListenOptions {
    /// Clamped by net.core.somaxconn.
    int backlog = 4096;
    /// SO_REUSEPORT, socket(7): others of this process may listen on the same address, and the
    /// kernel shares the clients out by a hash of the connection. Not for Unix sockets.
    bool share_port = false;
    /// Accepted sockets inherit them.
    SocketOptions socket{};
    /// TCP_FASTOPEN: clients that may wait for us with data in their SYN; 0: none.
    std::uint32_t fast_open = 0;
    /// TCP_DEFER_ACCEPT: a client is accepted when it has sent something, or after so long. Zero: at
    /// once. In seconds, rounded up. Not for protocols in which the server speaks first.
    Duration defer_accept{0};
    /// Who may connect to a Unix socket with a path, chmod(2): set before anybody can. Nothing: what
    /// the umask says.
    std::optional<mode_t> mode = std::nullopt;
    /// Whose it is, chown(2). Nothing: ours.
    std::optional<uid_t> owner = std::nullopt;
    std::optional<gid_t> group = std::nullopt;  ///< as `owner`
};

/// Opens a listening stream socket: nonblocking, close-on-exec, SO_REUSEADDR, and with
/// `options.socket`, which accepted sockets inherit (tcp(7)). A wildcard IPv6 address takes IPv4
/// clients too; on a machine without IPv6 it becomes 0.0.0.0. The path of a Unix socket on which
/// nobody listens any more is removed first. Of two processes that come for an address in the same
/// moment one gets it, unless both share it; that may take some milliseconds. Throws
/// std::system_error, naming the address.
[[nodiscard]] EPLB_API Fd listen_on(const Address& address, const ListenOptions& options = {});

/// Sets those of `options` that can change while a socket listens: backlog, keepalive, mark,
/// congestion control and the like; of a Unix socket the backlog alone, for what is at its path may be
/// somebody else's by now. What is off in `options` is switched off. What the kernel does not take
/// stays as it was; returns 0, or the first errno.
EPLB_API int change_options(const Fd& listener, const Address& address,
                            const ListenOptions& options) noexcept;

/// Throws as listen_on() would if somebody listens on `address` already. For the first of several
/// that share a port: SO_REUSEPORT would let it join another process of the same user unnoticed.
/// Unix sockets are not looked at.
EPLB_API void require_unused(const Address& address);

/// The address that `fd` is bound to: the port that the kernel chose for port 0. Throws
/// std::system_error when it is no socket.
[[nodiscard]] EPLB_API Address local_address(const Fd& fd);

/// Accepts connections from a listening socket and hands them on.
///
/// Edge-triggered, so it accepts until EAGAIN, or until its budget for a turn is spent. When the
/// process or the machine is out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM), no
/// edge will come for the clients that wait in the backlog: it tries again by itself after
/// `retry_delay`, or on resume(). Errors of a single connection (ECONNABORTED, EPROTO, … accept(2))
/// are passed over.
///
/// Its handlers may do anything, also close or destroy it, and may throw: the exception leaves
/// Reactor::run_once(), and accepting goes on in the next turn. Belongs to the thread of its
/// reactor, which outlives it. One accept4(2) a client, and one more that says EAGAIN.
class EPLB_API Acceptor final {
public:
    /// `socket` is connected, nonblocking and close-on-exec.
    using Handler = std::function<void(Fd socket, const Address& peer)>;
    /// `error` is what accept(2) said.
    using ShortageHandler = std::function<void(int error)>;
    /// For owners with a limit. Before each accept(2) a place is taken for the client; where there
    /// is none, the acceptor pauses. A place for which no client came is returned. These two may
    /// neither throw nor destroy the acceptor.
    struct Places {
        std::function<bool()> take;       ///< false: there is none. Empty: there always is
        std::function<void()> give_back;  ///< may be empty, too
    };
    /// Calls of accept(2) before other tasks get their turn.
    static constexpr int budget_per_turn = 64;
    /// How long it waits, after a shortage, for descriptors or memory to come free.
    static constexpr Duration retry_delay = std::chrono::milliseconds{100};

    /// `on_shortage` is told the errno each time accepting had to stop for lack of a resource.
    /// Throws std::system_error when the socket cannot be watched.
    Acceptor(Reactor& reactor, Fd listener, Handler on_accept, ShortageHandler on_shortage = {},
             Places places = {});
    /// Closes the listening socket; the kernel resets clients that nobody has accepted.
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    /// Leaves clients in the backlog until resume().
    void pause() noexcept;
    /// Goes on after pause() or a shortage: what waits in the backlog is accepted in the next turn.
    void resume() noexcept;
    /// By pause(), or because there was no place for a client.
    [[nodiscard]] bool paused() const noexcept;
    /// Whether clients wait for descriptors or memory.
    [[nodiscard]] bool short_of_resources() const noexcept;
    /// Accepts what the backlog holds, as far as pause() and resources allow, and closes the
    /// listening socket: closing it at once would reset clients whose connection the kernel had
    /// already accepted. `budget_per_turn` of them within this call, the others in the turns to
    /// come, and no more than 4096 in all, or those who keep coming would keep it open.
    ///
    /// Then calls `on_closed`, which may destroy it: maybe within this call; never, if it is
    /// destroyed before. When called again, the latest `on_closed` is the one. If a handler throws,
    /// it goes on in the next turn.
    void close(std::function<void()> on_closed = {});

    /// Not valid any more once it is closed.
    [[nodiscard]] const Fd& listener() const noexcept;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;  // shared with its own run(), whose handler may destroy us
};

}  // namespace eplb
