#include "protocol/proxy_protocol.hpp"

#include "support/catch.hpp"
#include "support/proxy_headers.hpp"

#include <cstddef>
#include <string>
#include <vector>

using eplb::AcceptProxy;
using eplb::Address;
using eplb::max_encoded_proxy_header;
using eplb::ProxyParse;
using eplb::ProxyTlvs;
using eplb::SendProxy;
using namespace eplb::test;
using Status = eplb::ProxyParse::Status;

using namespace std::string_literals;

namespace {

std::string encode_local(SendProxy version, const std::string& own, const std::string& peer) {
    HeaderBuffer buffer{};
    const std::size_t size =
        encode_local_proxy_header(version, Address::parse(own), Address::parse(peer), buffer);
    return text_of(buffer, size);
}

}  // namespace

TEST_CASE("proxy_protocol: what we send is this, byte by byte", "[proxy][proxy_protocol]") {
    using enum SendProxy;
    const ProxyTlvs tlvs{.crc32c = true, .unique_id = "id-1", .authority = "example.org"};
    CHECK(encode(off, "192.168.0.1:56324", "192.168.0.11:443", tlvs).empty());

    const std::string v4_source = "192.168.0.1:56324", v4_destination = "192.168.0.11:443";
    const std::string spec_example = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    CHECK(encode(v1, v4_source, v4_destination) == spec_example);
    CHECK(encode(v1, v4_source, v4_destination, tlvs) == spec_example);
    CHECK(encode(v1, "255.255.255.255:65535", "0.0.0.0:0") ==
          "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n");
    CHECK(encode(v1, "[2001:db8::1]:56324", "[::]:443") ==
          "PROXY TCP6 2001:db8::1 :: 56324 443\r\n");

    CHECK(encode(v2, v4_source, v4_destination) ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c"
          "\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"s);
    CHECK(encode(v2, "[2001:db8::1]:56324", "[2001:db8::b]:443") ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x21\x00\x24"s + inet6);
    CHECK(encode(v2, v4_source, v4_destination, {.crc32c = true}) ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x13"s + inet + inet_crc);
    CHECK(encode(v2, v4_source, v4_destination, tlvs) ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x28"s + inet +
              "\x02\x00\x0b"s + "example.org" + "\x05\x00\x04"s + "id-1" +
              "\x03\x00\x04\x48\x28\x4f\xfc"s);
    CHECK(encode(v2, "unix:@client", "unix:/run/eplb.sock") ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x31\x00\xd8"s +
              unix_field("\0client"s) + unix_field("/run/eplb.sock"));
}

TEST_CASE("proxy_protocol: IPv4 next to IPv6 is told in IPv6 clothes", "[proxy][proxy_protocol]") {
    CHECK(encode(SendProxy::v1, "10.0.0.7:1", "[::1]:2") == "PROXY TCP6 ::ffff:a00:7 ::1 1 2\r\n");
    CHECK(encode(SendProxy::v1, "[::1]:2", "255.255.0.1:1") ==
          "PROXY TCP6 ::1 ::ffff:ffff:1 2 1\r\n");
    CHECK(encode(SendProxy::v1, "0.0.0.0:0", "[::1]:2") == "PROXY TCP6 ::ffff:0:0 ::1 0 2\r\n");

    const std::string mapped = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x07"s;
    const std::string one = std::string(15, '\0') + '\x01';
    CHECK(encode(SendProxy::v2, "10.0.0.7:1", "[::1]:2") ==
          v2_header(0x21, 0x21, mapped + one + "\0\x01\0\x02"s));
    CHECK(encode(SendProxy::v2, "[::1]:2", "10.0.0.7:1") ==
          v2_header(0x21, 0x21, one + mapped + "\0\x02\0\x01"s));
}

TEST_CASE("proxy_protocol: a line of version 1 has no dots in IPv6", "[proxy][proxy_protocol]") {
    // inet_ntop(3) puts some into this one.
    CHECK(encode(SendProxy::v1, "[::10.0.0.7]:1", "[::1]:2") == "PROXY TCP6 ::a00:7 ::1 1 2\r\n");
    CHECK(encode(SendProxy::v1, "[fe80::1%77777]:1", "[::1]:2") ==
          "PROXY TCP6 fe80::1 ::1 1 2\r\n");  // nor a scope
}

TEST_CASE("proxy_protocol: what a version cannot tell is UNKNOWN or LOCAL",
          "[proxy][proxy_protocol]") {
    const std::string unknown = "PROXY UNKNOWN\r\n", local = v2_header(0x20, 0x00, "");
    const Address none, v4 = Address::parse("1.2.3.4:5"), v6 = Address::parse("[::1]:2"),
                        path = Address::parse("unix:/x");
    const ProxyTlvs tlvs{.crc32c = true, .unique_id = "id-1", .authority = "example.org"};
    for (const Address& inet_address : {v4, v6}) {
        for (const Address& other : {none, path}) {
            CHECK(encode(SendProxy::v1, inet_address, other, tlvs) == unknown);
            CHECK(encode(SendProxy::v1, other, inet_address, tlvs) == unknown);
            CHECK(encode(SendProxy::v2, inet_address, other, tlvs) == local);
            CHECK(encode(SendProxy::v2, other, inet_address, tlvs) == local);
        }
    }
    CHECK(encode(SendProxy::v1, path, path) == unknown);
    CHECK(encode(SendProxy::v1, none, none) == unknown);
    CHECK(encode(SendProxy::v2, none, none, tlvs) == local);
}

TEST_CASE("proxy_protocol: the nameless client of a Unix socket is told with an empty name",
          "[proxy][proxy_protocol]") {
    const Address none, path = Address::parse("unix:/x");
    CHECK(encode(SendProxy::v2, none, path) ==
          v2_header(0x21, 0x31, unix_field("") + unix_field("/x")));
    CHECK(encode(SendProxy::v2, path, none) ==
          v2_header(0x21, 0x31, unix_field("/x") + unix_field("")));
}

TEST_CASE("proxy_protocol: a connection of our own is LOCAL, or its own addresses",
          "[proxy][proxy_protocol]") {
    CHECK(encode_local(SendProxy::off, "10.0.0.1:1", "10.0.0.2:2").empty());
    CHECK(encode_local(SendProxy::v1, "10.0.0.1:1", "10.0.0.2:2") ==
          "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    CHECK(encode_local(SendProxy::v1, "unix:@a", "unix:/b") == "PROXY UNKNOWN\r\n");
    CHECK(encode_local(SendProxy::v2, "10.0.0.1:1", "10.0.0.2:2") ==
          "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00"s);
}

TEST_CASE("proxy_protocol: too long an authority or unique id is left out, not cut",
          "[proxy][proxy_protocol]") {
    const std::string name(256, 'a'), id(129, 'i');
    CHECK(encode(SendProxy::v2, "192.168.0.1:56324", "192.168.0.11:443",
                 {.unique_id = id, .authority = name}) == v2_header(0x21, 0x11, inet));
    CHECK(encode(SendProxy::v2, "192.168.0.1:56324", "192.168.0.11:443",
                 {.unique_id = id, .authority = "example.org"}) ==
          v2_header(0x21, 0x11, inet + tlv(authority, "example.org")));
}

TEST_CASE("proxy_protocol: the longest header that we make fits exactly",
          "[proxy][proxy_protocol]") {
    const std::string name(255, 'a'), id(128, 'i');
    const ProxyTlvs tlvs{.crc32c = true, .unique_id = id, .authority = name};
    CHECK(encode(SendProxy::v2, "unix:/a", "unix:/b", tlvs).size() == max_encoded_proxy_header);
    CHECK(encode(SendProxy::v2, "[::1]:1", "[::1]:2", tlvs).size() <= 536);
    const std::string longest = "[fff1:fff2:fff3:fff4:fff5:fff6:fff7:fff8]:65535";
    CHECK(encode(SendProxy::v1, longest, longest).size() == 104);
}

TEST_CASE("proxy_protocol: what we send, we read back as it was", "[proxy][proxy_protocol]") {
    const std::string name(255, 'a'), id = "\0\xff\r\n"s + std::string(124, 'i');
    const std::vector<ProxyTlvs> all_tlvs{
        {},
        {.crc32c = true},
        {.unique_id = "id-1"},
        {.authority = "example.org"},
        {.crc32c = true, .unique_id = "id-1", .authority = "example.org"},
        {.crc32c = true, .unique_id = id, .authority = name},
    };
    std::vector<Address> addresses{Address{}};
    for (const std::string& text :
         {"10.0.0.7:41022"s, "255.255.255.255:65535"s, "0.0.0.0:0"s, "[::1]:80"s,
          "[2001:db8::1]:65535"s, "[::10.0.0.7]:1"s, "[1:0:0:2:0:0:0:3]:1"s,
          "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"s, "unix:/run/x.sock"s, "unix:@name"s,
          "unix:/" + std::string(106, 'x'), "unix:@" + std::string(106, 'y')}) {
        addresses.push_back(Address::parse(text));
    }
    const auto is_inet = [](const Address& a) { return !a.is_unix() && !(a == Address{}); };

    for (const Address& source : addresses) {
        for (const Address& destination : addresses) {
            CAPTURE(source.to_string(), destination.to_string());
            const bool both_inet = is_inet(source) && is_inet(destination);
            const bool both_unix = !is_inet(source) && !is_inet(destination) &&
                                   (source.is_unix() || destination.is_unix());
            const ProxyParse line =
                parse(encode(SendProxy::v1, source, destination), AcceptProxy::v1);
            CHECK(line.status == Status::complete);
            CHECK(line.header.local == !both_inet);
            CHECK(line.header.source == (both_inet ? source : Address{}));
            CHECK(line.header.destination == (both_inet ? destination : Address{}));

            for (const ProxyTlvs& tlvs : all_tlvs) {
                const std::string sent = encode(SendProxy::v2, source, destination, tlvs);
                const ProxyParse result = parse(sent + "payload", AcceptProxy::v2);
                const bool told = both_inet || both_unix;
                CHECK(result.status == Status::complete);
                CHECK(result.header_bytes == sent.size());
                CHECK(result.header.local == !told);
                CHECK(result.header.source == (told ? source : Address{}));
                CHECK(result.header.destination == (told ? destination : Address{}));
                CHECK(result.header.authority == (told ? tlvs.authority : ""));
                CHECK(result.header.unique_id == (told ? tlvs.unique_id : ""));
                CHECK(result.header.crc32c == (told && tlvs.crc32c));
            }
        }
    }
}
