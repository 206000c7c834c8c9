#pragma once

#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// Takes requests of a line each on a Unix socket, and answers each with a line and the end of the
/// connection. Only its owner, and root, can connect. Whoever says nothing, or does not listen, is
/// cut off after a few seconds, and so is whoever there is no memory for; whoever comes while there are
/// most_clients waits.
///
/// Belongs to the thread of the reactor, which outlives it, as does what the handler refers to.
class ControlServer {
public:
    static constexpr std::size_t most_clients = 16;

    /// To be called once, now or later; harmless when the client is gone. When it, and all copies of it,
    /// are gone without having been called, so is the client.
    using Answer = std::function<void(std::string line)>;
    /// May throw: then the client is cut off.
    using Handler = std::function<void(std::string_view line, Answer answer)>;

    /// Throws std::system_error when it cannot listen there.
    ControlServer(Reactor& reactor, const Address& address, Handler handler);
    /// As close().
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Takes nobody any more, and leaves its path to a successor. Who has come is still answered.
    void close() noexcept;

private:
    class Client;
    void on_accept(Fd socket) noexcept;
    void on_gone(const Client& client) noexcept;

    Reactor& reactor_;
    Address address_;
    Handler handler_;
    dev_t device_ = 0;  // of the socket at the path
    ino_t inode_ = 0;   // 0: there is none of ours
    std::vector<std::shared_ptr<Client>> clients_;
    std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace eplb::control
