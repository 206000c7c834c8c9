#include "proxy/listener_conflicts.hpp"

#include "support/catch.hpp"

#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <vector>

using eplb::Address;
using eplb::overlap;
using eplb::reaches;

namespace {

struct Row {
    std::string a;
    std::string b;
    bool expected;
};

// Those of this machine's interfaces, loopback ones too.
std::vector<Address> own_addresses() {
    ifaddrs* found = nullptr;
    REQUIRE(::getifaddrs(&found) == 0);
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> release{found, ::freeifaddrs};
    std::vector<Address> addresses;
    for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr) continue;
        const int family = entry->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        sockaddr_storage raw{};
        std::memcpy(&raw, entry->ifa_addr, length);
        addresses.push_back(Address::from(raw, length));
    }
    return addresses;
}

}  // namespace

TEST_CASE("listener conflicts: two listeners overlap if one would get the other one's clients",
          "[proxy][listener_conflicts]") {
    const std::vector<Row> table{
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {"127.0.0.1:80", "127.0.0.1:81", false},
        {"127.0.0.1:80", "127.0.0.2:80", false},
        {"[::1]:80", "[::1]:80", true},
        {"[::1]:80", "127.0.0.1:80", false},
        {"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
        // 0.0.0.0 is all of IPv4.
        {"0.0.0.0:80", "0.0.0.0:80", true},
        {"0.0.0.0:80", "127.0.0.1:80", true},
        {"0.0.0.0:80", "192.0.2.1:80", true},
        {"0.0.0.0:80", "127.0.0.1:81", false},
        {"0.0.0.0:80", "[::1]:80", false},
        // [::] is all there is.
        {"[::]:80", "[::]:80", true},
        {":80", "[::]:80", true},
        {"[::]:80", "[::1]:80", true},
        {"[::]:80", "127.0.0.1:80", true},
        {"[::]:80", "0.0.0.0:80", true},
        {"[::]:80", "[2001:db8::1]:81", false},
        // A scope is part of an address.
        {"[fe80::1%1]:80", "[fe80::1%1]:80", true},
        {"[fe80::1%1]:80", "[fe80::1%2]:80", false},
        // Any port is none of the others.
        {"127.0.0.1:0", "127.0.0.1:0", false},
        {"0.0.0.0:0", "127.0.0.1:0", false},
        {"[::]:0", "127.0.0.1:80", false},
        {"127.0.0.1:0", "[::]:80", false},
        // Unix sockets.
        {"unix:/run/x", "unix:/run/x", true},
        {"unix:/run/x", "unix:/run/y", false},
        {"unix:@x", "unix:@x", true},
        {"unix:@x", "unix:x", false},
        {"unix:/run/x", ":80", false},
        {"unix:/run/x", "[::]:0", false},
    };
    for (const Row& row : table) {
        INFO(row.a << " and " << row.b);
        CHECK(overlap(Address::parse(row.a), Address::parse(row.b)) == row.expected);
        CHECK(overlap(Address::parse(row.b), Address::parse(row.a)) == row.expected);
    }
    CHECK_FALSE(overlap(Address{}, Address{}));
    CHECK_FALSE(overlap(Address{}, Address::parse("[::]:80")));
}

TEST_CASE("listener conflicts: a target is reached through a listener that takes its clients",
          "[proxy][listener_conflicts]") {
    const std::vector<Row> table{
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {"127.0.0.1:80", "127.0.0.1:81", false},
        {"127.0.0.2:80", "127.0.0.1:80", false},
        {"192.0.2.1:80", "192.0.2.1:80", true},
        {"[::1]:80", "[::1]:80", true},
        // The whole of 127.0.0.0/8 is this machine.
        {"127.0.0.1:80", "0.0.0.0:80", true},
        {"127.1.2.3:80", "0.0.0.0:80", true},
        {"127.0.0.1:80", "[::]:80", true},
        {"[::1]:80", "[::]:80", true},
        {"[::1]:80", "0.0.0.0:80", false},
        {"127.0.0.1:81", ":80", false},
        // Other machines have the same port.
        {"192.0.2.1:80", "0.0.0.0:80", false},
        {"192.0.2.1:80", ":80", false},
        {"[2001:db8::1]:80", ":80", false},
        // Any port is none that anybody connects to.
        {"127.0.0.1:80", "127.0.0.1:0", false},
        {"127.0.0.1:80", ":0", false},
        {"unix:/run/x", "unix:/run/x", true},
        {"unix:/run/x", "unix:/run/y", false},
        {"unix:@x", "unix:@x", true},
        {"unix:/run/x", ":80", false},
        {"127.0.0.1:80", "unix:/run/x", false},
    };
    for (const Row& row : table) {
        INFO(row.a << " through " << row.b);
        CHECK(reaches(Address::parse(row.a), Address::parse(row.b)) == row.expected);
    }
}

TEST_CASE("listener conflicts: every address of this machine is reached through a wildcard",
          "[proxy][listener_conflicts]") {
    const std::vector<Address> addresses = own_addresses();
    REQUIRE_FALSE(addresses.empty());
    for (const Address& address : addresses) {
        INFO(address.to_string());
        const Address target = address.with_port(4711);
        CHECK(reaches(target, Address::parse("[::]:4711")));
        CHECK(reaches(target, Address::parse("0.0.0.0:4711")) == (target.family() == AF_INET));
        CHECK_FALSE(reaches(target, Address::parse("[::]:4712")));
    }
}
