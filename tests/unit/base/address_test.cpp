#include "eplb/address.hpp"

#include "support/catch.hpp"

#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <map>
#include <net/if.h>
#include <stdexcept>
#include <string>
#include <sys/un.h>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::test::contains;

namespace {

// What the kernel would hand back for `address`.
Address through_sockaddr(const Address& address) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    return Address::from(raw, length);
}

sockaddr_storage raw_v6(const char* host, std::uint16_t port) {
    sockaddr_storage raw{};
    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    REQUIRE(inet_pton(AF_INET6, host, &v6.sin6_addr) == 1);
    return raw;
}

std::string loopback_interface() {
    char name[IF_NAMESIZE] = "";
    return if_indextoname(1, name) == nullptr ? std::string{} : std::string{name};
}

}  // namespace

TEST_CASE("address: every valid form is read and formats as its canonical text",
          "[base][address]") {
    struct Row {
        std::string text;
        std::string canonical;
        int family;
        std::uint16_t port;
    };
    const std::vector<Row> table{
        {"127.0.0.1:80", "127.0.0.1:80", AF_INET, 80},
        {"0.0.0.0:0", "0.0.0.0:0", AF_INET, 0},
        {"255.255.255.255:65535", "255.255.255.255:65535", AF_INET, 65535},
        {"10.1.2.3:05555", "10.1.2.3:5555", AF_INET, 5555},
        {":80", "[::]:80", AF_INET6, 80},
        {":0", "[::]:0", AF_INET6, 0},
        {"[::1]:80", "[::1]:80", AF_INET6, 80},
        {"[::]:443", "[::]:443", AF_INET6, 443},
        {"[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1", AF_INET6, 1},
        {"[::ffff:1.2.3.4]:80", "1.2.3.4:80", AF_INET, 80},
        {"[::ffff:7f00:1]:80", "127.0.0.1:80", AF_INET, 80},
        {"[::10.0.0.7]:80", "[::10.0.0.7]:80", AF_INET6, 80},
        {"unix:/run/x.sock", "unix:/run/x.sock", AF_UNIX, 0},
        {"unix:relative.sock", "unix:relative.sock", AF_UNIX, 0},
        {"unix:/with:colons:80", "unix:/with:colons:80", AF_UNIX, 0},
        {"unix:@name", "unix:@name", AF_UNIX, 0},
    };
    for (const Row& row : table) {
        INFO(row.text);
        const Address address = Address::parse(row.text);
        CHECK(address.to_string() == row.canonical);
        CHECK(address.family() == row.family);
        CHECK(address.port() == row.port);
        CHECK(address.is_unix() == (row.family == AF_UNIX));
        CHECK(Address::parse(address.to_string()) == address);
        CHECK(Address::resolve(row.text) == std::vector<Address>{address});
    }
}

TEST_CASE("address: survives the way through a sockaddr", "[base][address]") {
    const std::string longest = "/" + std::string(106, 'x');
    for (const std::string& text :
         {std::string{"127.0.0.1:80"}, std::string{"[2001:db8::1]:65535"}, std::string{"[::]:1"},
          std::string{"unix:/run/x.sock"}, std::string{"unix:@name"}, "unix:" + longest,
          "unix:@" + std::string(106, 'y')}) {
        INFO(text);
        const Address address = Address::parse(text);
        CHECK(through_sockaddr(address) == address);
        CHECK(through_sockaddr(address).to_string() == text);
    }
}

TEST_CASE("address: bad text is rejected with a message that quotes it", "[base][address]") {
    const std::vector<std::string> table{
        "",
        " ",
        "80",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999999999999",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1: 80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "127.0.0.1:8o",
        "127.0.0.1:0x50",
        "127.0.0.1:80:90",
        "127.0.0:80",
        "127.1:80",
        "127.0.0.256:80",
        "127.0.0.1.1:80",
        "0127.0.0.1:80",
        "localhost:80",
        "example.org:80",
        "::1:80",
        "::1",
        ":",
        "::",
        "[]:80",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1",
        "[::1:80",
        "[127.0.0.1]:80",
        "[::g]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[::1]:65536",
        "[fe80::1%]:80",
        "[fe80::1%nosuchif0]:80",
        "[fe80::1%0]:80",
        "[fe80::1%-1]:80",
        "[fe80::1%4294967296]:80",
        "[fe80::1%99999999999]:80",
        "unix:",
        "unix:@",
        "tcp:127.0.0.1:80",
        "http://127.0.0.1:80",
    };
    for (const std::string& text : table) {
        INFO('"' << text << '"');
        CHECK_THROWS_AS(Address::parse(text), std::invalid_argument);
        CHECK_THROWS_WITH(Address::parse(text), contains('"' + text + '"'));
    }
}

TEST_CASE("address: the message says what is wrong", "[base][address]") {
    const std::map<std::string, std::string> table{
        {"127.0.0.1", "port"},
        {"127.0.0.1:65536", "65535"},
        {"::1:80", "brackets"},
        {"[::1", "]"},
        {"[fe80::1%nosuchif0]:80", "nosuchif0"},
        {"unix:", "path"},
    };
    for (const auto& [text, reason] : table) {
        INFO(text);
        CHECK_THROWS_WITH(Address::parse(text), contains(reason));
    }
}

TEST_CASE("address: a NUL byte does not hide what follows it", "[base][address]") {
    const std::vector<std::string> table{
        std::string{"127.0.0.1\0.example.org:80", 25},
        std::string{"127.0.0.1:80\0", 13},
        std::string{"[::1\0]:80", 9},
        std::string{"[::1\0%x]:80", 11},
        std::string{"unix:/run/x\0y", 13},
        std::string{"unix:@a\0b", 9},
        std::string{"\0", 1},
    };
    for (const std::string& text : table) {
        CAPTURE(text);
        CHECK_THROWS_AS(Address::parse(text), std::invalid_argument);
        CHECK_THROWS_AS(Address::resolve(text), std::invalid_argument);
    }
}

TEST_CASE("address: a scope is kept, as a name or as a number", "[base][address]") {
    const std::string name = loopback_interface();
    if (name.empty()) EPLB_SKIP("no network interface has index 1");

    const Address by_name = Address::parse("[fe80::1%" + name + "]:80");
    CHECK(by_name.to_string() == "[fe80::1%" + name + "]:80");
    CHECK(Address::parse("[fe80::1%1]:80") == by_name);
    CHECK(through_sockaddr(by_name) == by_name);
    CHECK_FALSE(Address::parse("[fe80::1]:80") == by_name);

    sockaddr_storage raw{};
    CHECK(by_name.to_sockaddr(raw) == sizeof(sockaddr_in6));
    CHECK(reinterpret_cast<const sockaddr_in6&>(raw).sin6_scope_id == 1);
}

TEST_CASE("address: the scope of an interface that has no name formats as its number",
          "[base][address]") {
    const Address address = Address::parse("[fe80::1%123456]:80");
    CHECK(address.to_string() == "[fe80::1%123456]:80");
    CHECK(Address::parse(address.to_string()) == address);
}

TEST_CASE("address: IPv4 in IPv6 clothes from the kernel is IPv4", "[base][address]") {
    const sockaddr_storage raw = raw_v6("::ffff:10.0.0.7", 4711);
    const Address address = Address::from(raw, sizeof(sockaddr_in6));
    CHECK(address.family() == AF_INET);
    CHECK(address.to_string() == "10.0.0.7:4711");
    CHECK(address == Address::parse("10.0.0.7:4711"));
}

TEST_CASE("address: an IPv6 address that only looks mapped stays IPv6", "[base][address]") {
    for (const char* const host : {"::10.0.0.7", "::1", "64:ff9b::a00:7", "::fffe:10.0.0.7"}) {
        INFO(host);
        CHECK(Address::from(raw_v6(host, 1), sizeof(sockaddr_in6)).family() == AF_INET6);
    }
}

TEST_CASE("address: a Unix path fits up to 107 bytes", "[base][address]") {
    const std::string longest = "unix:/" + std::string(106, 'x');
    CHECK(Address::parse(longest).path().size() == 107);

    const std::string too_long = longest + 'x';
    CHECK_THROWS_AS(Address::parse(too_long), std::invalid_argument);
    CHECK_THROWS_WITH(Address::parse(too_long), contains(too_long));
    CHECK_THROWS_WITH(Address::parse(too_long), contains("107"));
    CHECK_THROWS_AS(Address::resolve(too_long), std::invalid_argument);
}

TEST_CASE("address: an abstract name begins with a zero byte and is as long as the length says",
          "[base][address]") {
    sockaddr_storage raw{};
    const socklen_t length = Address::parse("unix:@name").to_sockaddr(raw);
    const auto& un = reinterpret_cast<const sockaddr_un&>(raw);
    CHECK(un.sun_family == AF_UNIX);
    CHECK(length == offsetof(sockaddr_un, sun_path) + 5);
    CHECK(std::memcmp(un.sun_path, "\0name", 5) == 0);
    CHECK(Address::parse("unix:@name").path() == "@name");
}

TEST_CASE("address: the peer of a Unix socket has no address", "[base][address]") {
    sockaddr_storage raw{};
    raw.ss_family = AF_UNIX;
    const Address none = Address::from(raw, sizeof raw.ss_family);
    CHECK(none == Address{});
    CHECK(none.to_string() == "unix:");
    CHECK(none.family() == AF_UNSPEC);
    CHECK_FALSE(none.is_unix());
    CHECK(none.port() == 0);
    CHECK(none.path().empty());
    CHECK_FALSE(none.is_wildcard());
    CHECK_FALSE(none.is_loopback());
    CHECK(none.with_port(80) == none);
    CHECK(through_sockaddr(none) == none);
}

TEST_CASE("address: what a Unix peer is called cannot write into a log", "[base][address]") {
    struct Row {
        std::string path;
        std::string text;
    };
    const std::vector<Row> table{
        {"/with space", R"(unix:/with\x20space)"},  {"/two\nlines", R"(unix:/two\x0alines)"},
        {"/\x1b[31mred", R"(unix:/\x1b[31mred)"},   {"/quo\"te", R"(unix:/quo\x22te)"},
        {"/back\\slash", R"(unix:/back\x5cslash)"}, {"/umlaut\xc3\xa4", R"(unix:/umlaut\xc3\xa4)"},
        {"/delete\x7f", R"(unix:/delete\x7f)"},     {"@abstract name", R"(unix:@abstract\x20name)"},
    };
    for (const Row& row : table) {
        INFO(row.text);
        const Address address = Address::parse("unix:" + row.path);
        CHECK(address.path() == row.path);
        CHECK(address.to_string() == row.text);
        CHECK(through_sockaddr(address) == address);
    }

    // An abstract name may hold zero bytes, which parse() does not let through.
    sockaddr_storage raw{};
    auto& un = reinterpret_cast<sockaddr_un&>(raw);
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, "\0a\0b", 4);
    const Address abstract = Address::from(raw, offsetof(sockaddr_un, sun_path) + 4);
    CHECK(abstract.to_string() == R"(unix:@a\x00b)");
    CHECK(through_sockaddr(abstract) == abstract);
}

TEST_CASE("address: a Unix path that fills its field has no terminating zero", "[base][address]") {
    sockaddr_storage raw{};
    auto& un = reinterpret_cast<sockaddr_un&>(raw);
    un.sun_family = AF_UNIX;
    std::memset(un.sun_path, 'p', sizeof un.sun_path);
    const Address address = Address::from(raw, sizeof un);
    CHECK(address.path() == std::string(sizeof un.sun_path, 'p'));
    CHECK(through_sockaddr(address).path() == address.path());
}

TEST_CASE("address: equal means same family, host, scope and port", "[base][address]") {
    const std::vector<std::string> table{
        "127.0.0.1:80",       "127.0.0.1:81",       "127.0.0.2:80", "[::1]:80",   "[::1]:81",
        "[::2]:80",           "[::127.0.0.1]:80",   "unix:/a",      "unix:/b",    "unix:@a",
        "[fe80::1%77777]:80", "[fe80::1%77778]:80", "[fe80::1]:80", "0.0.0.0:80", "[::]:80",
    };
    for (const std::string& a : table) {
        for (const std::string& b : table) {
            INFO(a << " and " << b);
            CHECK((Address::parse(a) == Address::parse(b)) == (a == b));
        }
    }
    CHECK(Address{} == Address{});
    CHECK_FALSE(Address{} == Address::parse("0.0.0.0:0"));
}

TEST_CASE("address: wildcard and loopback are told apart from the rest", "[base][address]") {
    struct Row {
        std::string text;
        bool wildcard;
        bool loopback;
    };
    const std::vector<Row> table{
        {"0.0.0.0:1", true, false},    {"[::]:1", true, false},        {":1", true, false},
        {"127.0.0.1:1", false, true},  {"127.255.0.9:1", false, true}, {"[::1]:1", false, true},
        {"128.0.0.1:1", false, false}, {"0.0.0.1:1", false, false},    {"[::2]:1", false, false},
        {"[fe80::1]:1", false, false}, {"unix:/x", false, false},      {"unix:@x", false, false},
    };
    for (const Row& row : table) {
        INFO(row.text);
        CHECK(Address::parse(row.text).is_wildcard() == row.wildcard);
        CHECK(Address::parse(row.text).is_loopback() == row.loopback);
    }
}

TEST_CASE("address: with_port changes the port and nothing else", "[base][address]") {
    CHECK(Address::parse("127.0.0.1:80").with_port(81) == Address::parse("127.0.0.1:81"));
    CHECK(Address::parse("[::1]:80").with_port(65535) == Address::parse("[::1]:65535"));
    CHECK(Address::parse("[fe80::1%77777]:80").with_port(1) == Address::parse("[fe80::1%77777]:1"));
    CHECK(Address::parse("unix:/x").with_port(81) == Address::parse("unix:/x"));
}

TEST_CASE("address: localhost resolves to IPv4 and keeps the port", "[base][address]") {
    const std::vector<Address> found = Address::resolve("localhost:5555");
    CHECK(found == std::vector<Address>{Address::parse("127.0.0.1:5555")});
}

TEST_CASE("address: a name that does not exist is a runtime error that quotes it",
          "[base][address]") {
    CHECK_THROWS_AS(Address::resolve("nosuch.invalid:80"), std::runtime_error);
    CHECK_THROWS_WITH(Address::resolve("nosuch.invalid:80"), contains("\"nosuch.invalid:80\""));
}

TEST_CASE("address: text that cannot be a name is never looked up", "[base][address]") {
    const std::vector<std::string> table{
        "localhost", "localhost:",   "localhost:99999", "two words:80",
        "a/b:80",    "user@host:80", "300.1.1.1:80",    "10.0.0:80",
        "1:80",      "a,b:80",       "[localhost]:80",  std::string(254, 'a') + ":80",
    };
    for (const std::string& text : table) {
        INFO(text);
        CHECK_THROWS_AS(Address::resolve(text), std::invalid_argument);
        CHECK_THROWS_WITH(Address::resolve(text), contains('"' + text + '"'));
    }
}
