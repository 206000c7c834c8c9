#include "base/local_interfaces.hpp"

#include "support/catch.hpp"

#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>

using eplb::Address;
using eplb::is_on_this_machine;

TEST_CASE("local interfaces: loopback and wildcard are on this machine",
          "[base][local_interfaces]") {
    for (const char* const text :
         {"127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "0.0.0.0:80", "[::]:80", ":80"}) {
        INFO(text);
        CHECK(is_on_this_machine(Address::parse(text)));
    }
}

TEST_CASE("local interfaces: addresses of others and Unix sockets are not",
          "[base][local_interfaces]") {
    for (const char* const text : {"192.0.2.1:80", "[2001:db8::1]:80", "unix:/x", "unix:@x"}) {
        INFO(text);
        CHECK_FALSE(is_on_this_machine(Address::parse(text)));
    }
    CHECK_FALSE(is_on_this_machine(Address{}));
}

TEST_CASE("local interfaces: every address of every interface is on this machine, with any port",
          "[base][local_interfaces]") {
    ifaddrs* found = nullptr;
    REQUIRE(::getifaddrs(&found) == 0);
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> release{found, ::freeifaddrs};
    for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr) continue;
        sockaddr_storage raw{};
        socklen_t length = 0;
        if (entry->ifa_addr->sa_family == AF_INET) {
            reinterpret_cast<sockaddr_in&>(raw) =
                *reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
            length = sizeof(sockaddr_in);
        } else if (entry->ifa_addr->sa_family == AF_INET6) {
            reinterpret_cast<sockaddr_in6&>(raw) =
                *reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr);
            length = sizeof(sockaddr_in6);
        } else {
            continue;
        }
        const Address address = Address::from(raw, length).with_port(4711);
        INFO(address.to_string());
        CHECK(is_on_this_machine(address));
    }
}
