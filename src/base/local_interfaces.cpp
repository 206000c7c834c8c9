#include "base/local_interfaces.hpp"

#include <algorithm>
#include <cstring>
#include <ifaddrs.h>
#include <memory>

namespace eplb {

bool is_on_this_machine(const Address& address) {
    if (address.is_loopback() || address.is_wildcard()) return true;
    if (address.family() != AF_INET && address.family() != AF_INET6) return false;
    return std::ranges::any_of(local_addresses(), [&](const Address& own) {
        return own.with_port(address.port()) == address;
    });
}

std::vector<Address> local_addresses() {
    std::vector<Address> addresses;
    ifaddrs* found = nullptr;
    if (::getifaddrs(&found) != 0) return addresses;
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> release{found, ::freeifaddrs};
    for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr) continue;
        const int family = entry->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        sockaddr_storage raw{};
        std::memcpy(&raw, entry->ifa_addr, length);
        addresses.push_back(Address::from(raw, length).with_port(0));
    }
    return addresses;
}

}  // namespace eplb
