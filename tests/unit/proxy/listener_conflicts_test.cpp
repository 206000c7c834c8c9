#include "proxy/listener_conflicts.hpp"

#include "support/catch.hpp"

#include <string>
#include <vector>

using eplb::Address;
using eplb::overlap;

namespace {

struct Row {
    std::string a;
    std::string b;
    bool expected;
};

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
