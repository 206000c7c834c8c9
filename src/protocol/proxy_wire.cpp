#include "protocol/proxy_wire.hpp"

#include <netinet/in.h>

namespace eplb::proxy_wire {

Address inet_address(int family, const void* host, std::uint16_t port) {
    if (family == AF_INET) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, host, sizeof v4.sin_addr);
        return address_from(v4);
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, host, sizeof v6.sin6_addr);
    return address_from(v6);
}

}  // namespace eplb::proxy_wire
