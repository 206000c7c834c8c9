#pragma once

#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"

#include <sys/types.h>

namespace eplb {

class Service;

/// A listening socket of a service. Removes the path of a Unix socket when it is closed, unless
/// somebody has put another file there by then.
class Listener {
public:
    /// Throws std::system_error.
    Listener(Reactor& reactor, Service& service, const Address& address,
             Acceptor::Handler on_accept, Acceptor::ShortageHandler on_shortage);
    ~Listener();

    [[nodiscard]] Service& service() const noexcept { return service_; }
    /// What it really listens on.
    [[nodiscard]] const Address& address() const noexcept { return address_; }
    [[nodiscard]] Acceptor& acceptor() noexcept { return acceptor_; }
    /// Accepts what is waiting, and closes.
    void close();

private:
    void remove_path() noexcept;

    Service& service_;
    Acceptor acceptor_;
    Address address_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace eplb
