#pragma once

#include "eplb/acceptor.hpp"
#include "proxy/frontend.hpp"

#include <cstdint>
#include <functional>
#include <sys/types.h>

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
    /// Clients that come from now on come in by `frontend`, which has the same address.
    void serve(Frontend& frontend, const ListenOptions& options) noexcept;
    /// Accepts what is waiting, and closes.
    void close();

private:
    void remove_path() noexcept;

    std::uint32_t id_;
    Frontend* frontend_;
    Handlers handlers_;
    Acceptor acceptor_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace eplb
