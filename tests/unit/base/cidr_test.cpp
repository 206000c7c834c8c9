#include "eplb/cidr.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::Cidr;
using eplb::CidrSet;
using eplb::test::contains;

namespace {

std::vector<Cidr> networks(const std::vector<std::string>& texts) {
    std::vector<Cidr> result;
    for (const std::string& text : texts) result.push_back(Cidr::parse(text));
    return result;
}

CidrSet set_of(const std::vector<std::string>& texts) { return CidrSet{networks(texts)}; }

// Few different bits, in places all over an address, so that networks nest, touch and miss by one.
std::string some_ipv4(std::mt19937_64& random) {
    const auto octet = [&] { return random() % 2 == 0 ? random() % 3 : 253 + random() % 3; };
    const auto a = octet(), b = octet(), c = octet(), d = octet();
    return fmt::format("{}.{}.{}.{}", a, b, c, d);
}

std::string some_ipv6(std::mt19937_64& random) {
    const auto group = [&] { return random() % 2 == 0 ? random() % 2 : 0xfffe + random() % 2; };
    const auto a = group(), b = group(), c = group(), d = group(), e = group();
    return fmt::format("2001:{:x}:{:x}:{:x}:{:x}::{:x}", a, b, c, d, e);
}

// Cidr::parse() insists on a network, and says which it would be.
Cidr network_around(const std::string& text) {
    try {
        return Cidr::parse(text);
    } catch (const std::invalid_argument& error) {
        const std::string message = error.what();
        const std::string question = "did you mean ";
        const std::size_t begin = message.rfind(question) + question.size();
        return Cidr::parse(message.substr(begin, message.size() - 1 - begin));
    }
}

Cidr some_network(std::mt19937_64& random) {
    if (random() % 2 == 0)
        return network_around(fmt::format("{}/{}", some_ipv4(random), random() % 33));
    return network_around(fmt::format("{}/{}", some_ipv6(random), random() % 129));
}

Address some_address(std::mt19937_64& random) {
    if (random() % 20 == 0) return Address{};
    if (random() % 2 == 0) return Address::parse(some_ipv4(random) + ":80");
    return Address::parse('[' + some_ipv6(random) + "]:80");
}

}  // namespace

TEST_CASE("cidr: every valid form is read and formats as its canonical text", "[base][cidr]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"128.0.0.0/1", "128.0.0.0/1"},
        {"10.1.2.2/31", "10.1.2.2/31"},
        {"10.1.2.3/32", "10.1.2.3"},
        {"10.1.2.3", "10.1.2.3"},
        {"255.255.255.255", "255.255.255.255"},
        {"10.0.0.0/08", "10.0.0.0/8"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"2001:DB8:0:0::/32", "2001:db8::/32"},
        {"::/0", "::/0"},
        {"::/64", "::/64"},
        {"2001:db8:0:1::/64", "2001:db8:0:1::/64"},
        {"2001:db8:0:0:8000::/65", "2001:db8:0:0:8000::/65"},
        {"2001:db8::1/128", "2001:db8::1"},
        {"::1", "::1"},
        {"::", "::"},
        {"fe80::/10", "fe80::/10"},
        {"::10.0.0.0/104", "::10.0.0.0/104"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
        {"::ffff:a00:0/104", "10.0.0.0/8"},
        {"::ffff:0:0/96", "0.0.0.0/0"},
        {"::ffff:10.1.2.3", "10.1.2.3"},
        {"2001:db8::ffff:a00:1", "2001:db8::ffff:a00:1"},
        {"unix:", "unix:"},
        {"unix", "unix:"},
    };
    for (const auto& [text, canonical] : table) {
        INFO(text);
        const Cidr network = Cidr::parse(text);
        CHECK(network.to_string() == canonical);
        CHECK(Cidr::parse(canonical) == network);
    }
}

TEST_CASE("cidr: bad text is rejected with a message that quotes it", "[base][cidr]") {
    const std::vector<std::string> table{
        "",
        " ",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        "10.0.0.0/ 8",
        " 10.0.0.0/8",
        "10.0.0.0/8/8",
        "10.0.0.0/0x8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/99999999999999999999",
        "10.0.0/24",
        "10/8",
        "10.0.0.256",
        "010.0.0.0/8",
        "10.0.0.1:80",
        "10.0.0.*",
        "10.0.0.0-10.0.0.9",
        "localhost",
        "[::1]",
        "[::1]:80",
        "[2001:db8::]/32",
        "2001:db8::/129",
        "2001:db8::/",
        "2001:db8::/x",
        "2001:db8/32",
        "2001:db8:::/32",
        "fe80::%eth0/10",
        "fe80::1%1",
        "::ffff:10.0.0.0/129",
        "unix:/run/x.sock",
        "unix:@name",
        "unix/8",
        "Unix",
    };
    for (const std::string& text : table) {
        INFO('"' << text << '"');
        CHECK_THROWS_AS(Cidr::parse(text), std::invalid_argument);
        CHECK_THROWS_WITH(Cidr::parse(text), contains("bad network \"" + text + '"'));
    }
    CHECK_THROWS_AS(Cidr::parse(std::string{"10.0.0.0\0/8", 11}), std::invalid_argument);
    CHECK_THROWS_AS(Cidr::parse(std::string{"10.0.0.0/8\0", 11}), std::invalid_argument);
    CHECK_THROWS_AS(Cidr::parse(std::string{"unix\0", 5}), std::invalid_argument);
}

TEST_CASE("cidr: the message says the way out", "[base][cidr]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"10.0.0.0/33", "bad network \"10.0.0.0/33\": an IPv4 prefix has 0 to 32 bits"},
        {"10.0.0.0/255.0.0.0", "an IPv4 prefix has 0 to 32 bits"},
        {"::/129", "an IPv6 prefix has 0 to 128 bits"},
        {"::ffff:0:0/129", "an IPv6 prefix has 0 to 128 bits"},
        {"10.0.0.1/8", "did you mean 10.0.0.0/8?"},
        {"10.1.2.3/31", "did you mean 10.1.2.2/31?"},
        {"10.1.2.3/0", "did you mean 0.0.0.0/0?"},
        {"2001:db8::1/32", "did you mean 2001:db8::/32?"},
        {"2001:db8::1/127", "did you mean 2001:db8::/127?"},
        {"2001:db8:0:0:8000::/64", "did you mean 2001:db8::/64?"},
        {"::1/0", "did you mean ::/0?"},
        {"::ffff:10.0.0.1/104", "did you mean 10.0.0.0/8?"},
        {"::ffff:10.0.0.0/95", "did you mean ::fffe:0:0/95?"},
        {"[::1]", "brackets"},
        {"[::1]:80", "port"},
        {"fe80::1%eth0", "interface"},
        {"unix:/run/x.sock", "write unix: for all of them"},
        {"localhost", "\"localhost\" is not an IP address"},
        {"", "empty"},
    };
    for (const auto& [text, way_out] : table) {
        INFO(text);
        CHECK_THROWS_WITH(Cidr::parse(text), contains(way_out));
    }
}

TEST_CASE("cidr: a network has the addresses from its first to its last, of its family",
          "[base][cidr]") {
    struct Row {
        std::string network;
        std::vector<std::string> inside;
        std::vector<std::string> outside;
    };
    const std::vector<Row> table{
        {"10.0.0.0/8",
         {"10.0.0.0:1", "10.255.255.255:65535", "[::ffff:10.1.2.3]:80"},
         {"9.255.255.255:1", "11.0.0.0:1", "[::10.1.2.3]:80", "[a00::]:80", "unix:/x"}},
        {"10.1.2.3", {"10.1.2.3:1", "10.1.2.3:2"}, {"10.1.2.2:1", "10.1.2.4:1"}},
        {"10.1.2.2/31", {"10.1.2.2:1", "10.1.2.3:1"}, {"10.1.2.1:1", "10.1.2.4:1"}},
        {"0.0.0.0/0",
         {"0.0.0.0:1", "255.255.255.255:1", "[::ffff:1.2.3.4]:1"},
         {"[::]:1", "[::1]:1", "unix:@x"}},
        {"::ffff:10.0.0.0/104", {"10.1.2.3:1"}, {"11.0.0.0:1"}},
        {"::/0",
         {"[::]:1", "[::1]:1", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1", "[fe80::1%77]:1"},
         {"0.0.0.0:1", "[::ffff:1.2.3.4]:1", "unix:/x"}},
        {"2001:db8::/32",
         {"[2001:db8::]:1", "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:1"},
         {"[2001:db7:ffff:ffff:ffff:ffff:ffff:ffff]:1", "[2001:db9::]:1", "32.1.13.184:1"}},
        {"2001:db8:0:1::/64",
         {"[2001:db8:0:1::]:1", "[2001:db8:0:1:ffff:ffff:ffff:ffff]:1"},
         {"[2001:db8:0:0:ffff:ffff:ffff:ffff]:1", "[2001:db8:0:2::]:1"}},
        {"2001:db8:0:0:8000::/65",
         {"[2001:db8:0:0:8000::]:1", "[2001:db8::ffff:ffff:ffff:ffff]:1"},
         {"[2001:db8:0:0:7fff:ffff:ffff:ffff]:1", "[2001:db8:0:1::]:1"}},
        {"::1", {"[::1]:1"}, {"[::]:1", "[::2]:1", "127.0.0.1:1"}},
        {"fe80::/10", {"[fe80::1%77]:1", "[fe80::1]:1"}, {"[fec0::1]:1"}},
        {"unix:", {"unix:/x", "unix:@x"}, {"0.0.0.0:1", "[::]:1", "127.0.0.1:1"}},
    };
    for (const Row& row : table) {
        const Cidr network = Cidr::parse(row.network);
        const CidrSet set = set_of({row.network});
        for (const std::string& text : row.inside) {
            INFO(text << " in " << row.network);
            CHECK(network.contains(Address::parse(text)));
            CHECK(set.contains(Address::parse(text)));
        }
        for (const std::string& text : row.outside) {
            INFO(text << " not in " << row.network);
            CHECK_FALSE(network.contains(Address::parse(text)));
            CHECK_FALSE(set.contains(Address::parse(text)));
        }
    }
}

TEST_CASE("cidr: a client that has no address is one of a Unix socket", "[base][cidr]") {
    CHECK(Cidr::parse("unix:").contains(Address{}));
    CHECK(set_of({"10.0.0.0/8", "unix"}).contains(Address{}));
    CHECK_FALSE(Cidr::parse("0.0.0.0/0").contains(Address{}));
    CHECK_FALSE(Cidr::parse("::/0").contains(Address{}));
    CHECK_FALSE(set_of({"0.0.0.0/0", "::/0"}).contains(Address{}));
}

TEST_CASE("cidr: equal means same family, address and prefix", "[base][cidr]") {
    const std::vector<std::string> table{
        "0.0.0.0/0",  "0.0.0.0/8", "0.0.0.0",   "10.0.0.0/8", "10.0.0.0/9",
        "11.0.0.0/8", "::/0",      "::/8",      "::",         "::1",
        "unix:",      "a00::/8",   "2001::/16", "2002::/16",  "2001:db8::/32",
    };
    for (const std::string& a : table) {
        for (const std::string& b : table) {
            INFO(a << " and " << b);
            CHECK((Cidr::parse(a) == Cidr::parse(b)) == (a == b));
        }
    }
}

TEST_CASE("cidr set: none contains nothing, and any network makes it not empty", "[base][cidr]") {
    CHECK(CidrSet{}.empty());
    CHECK(set_of({}).empty());
    for (const std::string text : {"0.0.0.0:1", "[::]:1", "unix:/x"}) {
        CHECK_FALSE(CidrSet{}.contains(Address::parse(text)));
    }
    CHECK_FALSE(CidrSet{}.contains(Address{}));
    for (const std::string text : {"0.0.0.0/0", "10.1.2.3", "::/0", "::1", "unix:"}) {
        INFO(text);
        CHECK_FALSE(set_of({text}).empty());
    }
}

TEST_CASE("cidr set: networks that nest, touch or repeat leave no gap and add nothing",
          "[base][cidr]") {
    const std::vector<std::vector<std::string>> sets{
        {"10.0.0.0/8"},
        {"10.0.0.0/9", "10.128.0.0/9"},
        {"10.128.0.0/9", "10.64.0.0/10", "10.0.0.0/10"},
        {"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.255.255.255"},
        {"10.1.2.3", "10.0.0.0/8", "10.0.0.0/8"},
    };
    for (const auto& texts : sets) {
        INFO(texts.front() << " and " << texts.size() - 1 << " more");
        const CidrSet set = set_of(texts);
        CHECK(set.ranges() == 1);
        for (const std::string inside : {"10.0.0.0", "10.63.255.255", "10.64.0.0", "10.127.255.255",
                                         "10.128.0.0", "10.255.255.255"}) {
            CHECK(set.contains(Address::parse(inside + ":1")));
        }
        for (const std::string outside : {"0.0.0.0", "9.255.255.255", "11.0.0.0"}) {
            CHECK_FALSE(set.contains(Address::parse(outside + ":1")));
        }
    }
}

TEST_CASE("cidr set: networks that miss by one address, or are of two families, stay apart",
          "[base][cidr]") {
    CHECK(set_of({"10.0.0.0/8", "11.0.0.1"}).ranges() == 2);
    CHECK(set_of({"10.0.0.0/32", "10.0.0.2/32", "10.0.0.4/31"}).ranges() == 3);
    CHECK(set_of({"2001:db8::/64", "2001:db8:0:1::1"}).ranges() == 2);
    CHECK(set_of({"0.0.0.0/0", "::/0", "unix:"}).ranges() == 2);
    CHECK(set_of({"unix:"}).ranges() == 0);
}

TEST_CASE("cidr set: the last address of a family is not followed by its first", "[base][cidr]") {
    const CidrSet set = set_of({"255.255.255.255", "128.0.0.0/1", "8000::/1", "ffff::/16",
                                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"});
    CHECK(set.ranges() == 2);
    CHECK(set.contains(Address::parse("255.255.255.255:1")));
    CHECK(set.contains(Address::parse("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1")));
    CHECK_FALSE(set.contains(Address::parse("0.0.0.0:1")));
    CHECK_FALSE(set.contains(Address::parse("127.255.255.255:1")));
    CHECK_FALSE(set.contains(Address::parse("[::]:1")));
    CHECK_FALSE(set.contains(Address::parse("[7fff::]:1")));
}

TEST_CASE("cidr set: a carry joins networks across the middle of an IPv6 address", "[base][cidr]") {
    const CidrSet set = set_of({"2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"});
    CHECK(set.ranges() == 1);
    CHECK(set.contains(Address::parse("[2001:db8::ffff:ffff:ffff:ffff]:1")));
    CHECK(set.contains(Address::parse("[2001:db8:0:1::]:1")));
    CHECK_FALSE(set.contains(Address::parse("[2001:db8::ffff:ffff:ffff:fffe]:1")));
    CHECK_FALSE(set.contains(Address::parse("[2001:db8:0:1::1]:1")));
}

TEST_CASE("cidr set: answers as asking each network would", "[base][cidr]") {
    std::mt19937_64 random{20240229};
    std::size_t inside = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<Cidr> list;
        for (std::uint64_t count = random() % 40; count > 0; --count) {
            list.push_back(some_network(random));
        }
        if (random() % 3 == 0) list.push_back(Cidr::parse("unix:"));
        // The wide ones would hide all others.
        if (round % 3 != 0) {
            std::erase_if(list, [](const Cidr& network) {
                return network.contains(Address::parse("77.77.77.77:1")) ||
                       network.contains(Address::parse("[2001:77::]:1"));
            });
        }
        const CidrSet set{list};
        CHECK(set.empty() == list.empty());
        for (int i = 0; i < 200; ++i) {
            const Address address = some_address(random);
            const bool expected = std::any_of(list.begin(), list.end(), [&](const Cidr& network) {
                return network.contains(address);
            });
            INFO("round " << round << ": " << address.to_string());
            REQUIRE(set.contains(address) == expected);
            if (expected) ++inside;
        }
    }
    CHECK(inside > 10'000);  // of 60,000: neither answer is the rare one
    CHECK(inside < 50'000);
}
