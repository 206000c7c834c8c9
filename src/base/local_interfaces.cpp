#include "base/local_interfaces.hpp"

#include <cstring>
#include <ifaddrs.h>
#include <memory>

namespace eplb {

bool is_on_this_machine(const Address& address) {
    if (address.is_loopback() || address.is_wildcard()) return true;

    ifaddrs* found = nullptr;
    if (::getifaddrs(&found) != 0) return false;
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> release{found, ::freeifaddrs};
    for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != address.family()) continue;
        const socklen_t length =
            address.family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        sockaddr_storage raw{};
        std::memcpy(&raw, entry->ifa_addr, length);
        if (Address::from(raw, length).with_port(address.port()) == address) return true;
    }
    return false;
}

}  // namespace eplb
