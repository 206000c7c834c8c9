#pragma once

#include "eplb/address.hpp"
#include "eplb/fd.hpp"
#include "support/net.hpp"

#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>

namespace eplb::test {

/// A port on 127.0.0.1 at which nobody listens, and that nobody else is given; but whoever sets
/// SO_REUSEADDR, as we do, can listen there.
struct ReservedPort {
    ReservedPort() : socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_storage raw{};
        const socklen_t length = Address::parse("127.0.0.1:0").to_sockaddr(raw);
        set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
        if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0)
            throw std::runtime_error("no port");
        address = address_of(socket);
    }
    Fd socket;
    Address address;
};

}  // namespace eplb::test
