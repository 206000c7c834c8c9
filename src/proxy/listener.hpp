#pragma once

#include "eplb/acceptor.hpp"
#include "proxy/frontend.hpp"

#include <sys/types.h>

namespace eplb {

/// A listening socket of a worker, on the address of a frontend. Removes the path of a Unix socket when it is closed, unless
/// somebody has put another file there by then.
class Listener {
public:
    /// `socket` listens on the frontend's address. Throws std::system_error when it cannot be
    /// watched.
    Listener(Reactor& reactor, const Frontend& frontend, Fd socket, Acceptor::Handler on_accept,
             Acceptor::ShortageHandler on_shortage, Acceptor::Places places);
    ~Listener();

    [[nodiscard]] const Frontend& frontend() const noexcept { return frontend_; }
    [[nodiscard]] Acceptor& acceptor() noexcept { return acceptor_; }
    /// Accepts what is waiting, and closes.
    void close();

private:
    void remove_path() noexcept;

    const Frontend& frontend_;
    Acceptor acceptor_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace eplb
