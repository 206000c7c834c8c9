#pragma once

#include "eplb/acceptor.hpp"
#include "proxy/frontend.hpp"
#include "reactor/socket_file.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace eplb {

/// A listening socket of a worker, on the address of a frontend. Removes the path of a Unix socket
/// when it is closed, unless somebody has put another file there by then.
class Listener {
public:
    /// What it tells its owner; as Acceptor does.
    struct Handlers {
        std::function<void(Listener&, Fd client, const Address& peer)> on_accept;
        std::function<void(Listener&, int error)> on_shortage;
        std::function<bool(Listener&)> take_place;
        std::function<void(Listener&)> give_place_back;
    };

    /// `socket` listens on the frontend's address; `id` is what FrontendSpec::socket says of it.
    /// Throws std::system_error when it cannot be watched.
    Listener(Reactor& reactor, std::uint32_t id, Frontend& frontend, Fd socket, Handlers handlers);
    ~Listener();

    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
    [[nodiscard]] Frontend& frontend() const noexcept { return *frontend_; }
    [[nodiscard]] Acceptor& acceptor() noexcept { return acceptor_; }
    /// Clients that come from now on come in by `frontend`, which has the same address. Returns what
    /// could not be done, for people.
    [[nodiscard]] std::vector<std::string> serve(Frontend& frontend, const ListenOptions& options);
    /// The part of serve() that is about the file of a Unix socket, at which things may have happened
    /// although nothing else has changed.
    [[nodiscard]] std::vector<std::string> look_after_file(const ListenOptions& options) const;
    /// The file of its Unix socket is not there any more: nobody can connect, and another socket could
    /// take its path.
    [[nodiscard]] bool is_cut_off() const noexcept;
    /// Another listener has its path. It goes on for those who wait in its queue.
    void supersede() noexcept { file_ = {}, superseded_ = true; }
    /// Nobody waits in its queue, and nobody will.
    [[nodiscard]] bool is_of_no_use() const noexcept;
    /// As Acceptor::close(); and removes the file of a Unix socket.
    void close(std::function<void()> on_closed);
    [[nodiscard]] bool closed() const noexcept { return !acceptor_.listener().valid(); }

private:
    std::uint32_t id_;
    Frontend* frontend_;
    Handlers handlers_;
    Acceptor acceptor_;
    SocketFile file_;
    bool superseded_ = false;
};

}  // namespace eplb
