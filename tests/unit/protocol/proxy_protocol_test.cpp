#include "protocol/proxy_protocol.hpp"

#include "base/crc32c.hpp"

#include "support/catch.hpp"
#include "support/proxy_headers.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/un.h>

using eplb::AcceptProxy;
using eplb::Address;
using eplb::max_proxy_header_bytes;
using eplb::ProxyParse;
using eplb::SendProxy;
using namespace eplb::test;
using Status = eplb::ProxyParse::Status;

using namespace std::string_literals;

namespace {

// The checksum's field has to be there, with zeros in it.
std::string with_checksum(std::string header, std::size_t field_at) {
    const std::uint32_t sum = eplb::crc32c(std::as_bytes(std::span{header.data(), header.size()}));
    header.replace(field_at, 4, u16(sum >> 16) + u16(sum & 0xffff));
    return header;
}

std::string padded_to(std::size_t size) {
    return v2_header(0x21, 0x11, inet + tlv(noop, std::string(size - 16 - inet.size() - 3, 'x')));
}

struct Valid {
    std::string name;
    std::string bytes;
    AcceptProxy version;
    std::string source = "unix:";  // no address
    std::string destination = "unix:";
    bool local = false;
};

std::vector<Valid> valid_headers() {
    using enum AcceptProxy;
    const std::string v4_source = "192.168.0.1:56324", v4_destination = "192.168.0.11:443";
    const std::string v6_source = "[2001:db8::1]:56324", v6_destination = "[2001:db8::b]:443";
    const std::string all_tlvs = tlv(noop, "") + tlv(alpn, "h2") + tlv(authority, "example.org") +
                                 tlv(noop, "padding") + tlv(unique_id, "id-1") +
                                 tlv(ssl, "\x01\0\0\0\0"s) + tlv(custom, "\x01vpce-0") +
                                 tlv(0xff, "");
    const std::string longest_v6 = "2001:0db8:ffff:ffff:ffff:ffff:ffff:fff";
    return {
        {"v1, the specification's example", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", v1,
         v4_source, v4_destination},
        {"v1, the longest IPv4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", v1,
         "255.255.255.255:65535", "255.255.255.255:65535"},
        {"v1, the least IPv4", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", v1, "0.0.0.0:0", "0.0.0.0:0"},
        {"v1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::b 56324 443\r\n", v1, v6_source,
         v6_destination},
        {"v1, IPv6 in capitals, with zeros",
         "PROXY TCP6 2001:0DB8:0000:0000:0000:0000:0000:0001 2001:DB8::B 56324 443\r\n", v1,
         v6_source, v6_destination},
        {"v1, the longest IPv6",
         "PROXY TCP6 " + longest_v6 + "1 " + longest_v6 + "2 65535 65535\r\n", v1,
         "[2001:db8:ffff:ffff:ffff:ffff:ffff:fff1]:65535",
         "[2001:db8:ffff:ffff:ffff:ffff:ffff:fff2]:65535"},
        {"v1, IPv4 in IPv6 clothes", "PROXY TCP6 ::ffff:10.0.0.7 ::ffff:a00:8 1 2\r\n", v1,
         "10.0.0.7:1", "10.0.0.8:2"},
        {"v1, IPv4 in IPv6 clothes next to IPv6", "PROXY TCP6 ::ffff:10.0.0.7 ::1 1 2\r\n", v1,
         "10.0.0.7:1", "[::1]:2"},
        {"v1, IPv6 of 45 characters",
         "PROXY TCP6 0000:0000:0000:0000:0000:ffff:255.255.255.255 ::1 1 2\r\n", v1,
         "255.255.255.255:1", "[::1]:2"},
        // As nginx's stream module sends them.
        {"v1, of an IPv4 client to an IPv6 socket", "PROXY TCP4 203.0.113.7 ::1 1234 57347\r\n", v1,
         "203.0.113.7:1234", "[::1]:57347"},
        {"v1, of an IPv6 client to an IPv4 socket",
         "PROXY TCP6 2001:db8::7 127.0.0.1 1234 44039\r\n", v1, "[2001:db8::7]:1234",
         "127.0.0.1:44039"},
        {"v1, to a Unix socket", "PROXY TCP4 203.0.113.7 unix:/run/x-y_z.sock 1234 0\r\n", v1,
         "203.0.113.7:1234", "0.0.0.0:0"},
        {"v1, of an IPv6 client to a Unix socket", "PROXY TCP6 2001:db8::7 unix:/x 1234 0\r\n", v1,
         "[2001:db8::7]:1234", "[::]:0"},
        {"v1, to a Unix socket without a name", "PROXY TCP4 203.0.113.7 unix: 1234 0\r\n", v1,
         "203.0.113.7:1234", "0.0.0.0:0"},

        {"v1, unknown", "PROXY UNKNOWN\r\n", v1, "unix:", "unix:", true},
        {"v1, unknown with addresses", "PROXY UNKNOWN 1.2.3.4 ::1 5 6\r\n", v1,
         "unix:", "unix:", true},
        {"v1, unknown with a space", "PROXY UNKNOWN \r\n", v1, "unix:", "unix:", true},
        {"v1, unknown with anything", "PROXY UNKNOWN \0\xff\xc3\xa4\x1b[31m \n\r \r\r\n"s, v1,
         "unix:", "unix:", true},
        {"v1, unknown of 107 bytes", "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n", v1,
         "unix:", "unix:", true},

        {"v2, IPv4", v2_header(0x21, 0x11, inet), v2, v4_source, v4_destination},
        {"v2, IPv4 with a checksum", v2_header(0x21, 0x11, inet + inet_crc), v2, v4_source,
         v4_destination},
        {"v2, IPv4 with TLVs", v2_header(0x21, 0x11, inet + all_tlvs), v2, v4_source,
         v4_destination},
        {"v2, IPv6", v2_header(0x21, 0x21, inet6), v2, v6_source, v6_destination},
        {"v2, IPv6 with TLVs", v2_header(0x21, 0x21, inet6 + all_tlvs), v2, v6_source,
         v6_destination},
        {"v2, Unix",
         v2_header(0x21, 0x31, unix_field("/run/client") + unix_field("/run/eplb.sock")), v2,
         "unix:/run/client", "unix:/run/eplb.sock"},
        {"v2, Unix with TLVs",
         v2_header(0x21, 0x31, unix_field("\0client"s) + unix_field("/run/eplb.sock") + all_tlvs),
         v2, "unix:@client", "unix:/run/eplb.sock"},
        {"v2, Unix without a name", v2_header(0x21, 0x31, unix_field("") + unix_field("/x")), v2,
         "unix:", "unix:/x"},
        {"v2, local", v2_header(0x20, 0x00, ""), v2, "unix:", "unix:", true},
        {"v2, local with addresses", v2_header(0x20, 0x11, inet), v2, "unix:", "unix:", true},
        {"v2, local with anything", v2_header(0x20, 0xff, "\x03\x00\x04oops\xff"s), v2,
         "unix:", "unix:", true},
        {"v2, unspecified", v2_header(0x21, 0x00, ""), v2, "unix:", "unix:", true},
        {"v2, unspecified with anything", v2_header(0x21, 0x00, "\x03\x00\x04oops\xff"s), v2,
         "unix:", "unix:", true},
        {"v2, IPv4 without a transport, so without a layout", v2_header(0x21, 0x10, "\x04"), v2,
         "unix:", "unix:", true},
        {"v2, streams without a family", v2_header(0x21, 0x01, inet + "\x04"), v2,
         "unix:", "unix:", true},
        {"v2, datagrams", v2_header(0x21, 0x12, inet + all_tlvs), v2, "unix:", "unix:", true},
        {"v2, of 4096 bytes", padded_to(max_proxy_header_bytes), v2, v4_source, v4_destination},
    };
}

bool same(const ProxyParse& a, const ProxyParse& b) {
    return a.status == b.status && a.header_bytes == b.header_bytes &&
           a.header.local == b.header.local && a.header.source == b.header.source &&
           a.header.destination == b.header.destination &&
           a.header.authority == b.header.authority && a.header.unique_id == b.header.unique_id &&
           a.header.crc32c == b.header.crc32c;
}

}  // namespace

TEST_CASE("proxy_protocol: a valid header gives the addresses that it tells",
          "[proxy][proxy_protocol]") {
    for (const Valid& row : valid_headers()) {
        INFO(row.name);
        for (const AcceptProxy accepted : {row.version, AcceptProxy::any}) {
            const ProxyParse result = parse(row.bytes, accepted);
            CHECK(result.status == Status::complete);
            CHECK(result.header_bytes == row.bytes.size());
            CHECK(result.header.local == row.local);
            CHECK(result.header.source.to_string() == row.source);
            CHECK(result.header.destination.to_string() == row.destination);
            CHECK(result.problem.empty());
        }
    }
}

TEST_CASE("proxy_protocol: a header that is cut anywhere is incomplete",
          "[proxy][proxy_protocol]") {
    for (const Valid& row : valid_headers()) {
        INFO(row.name);
        for (std::size_t size = 0; size < row.bytes.size(); ++size) {
            for (const AcceptProxy accepted : {row.version, AcceptProxy::any}) {
                const ProxyParse result = parse(row.bytes.substr(0, size), accepted);
                if (result.status == Status::incomplete) continue;  // most of 10,000
                CAPTURE(size, result.problem);
                CHECK(result.status == Status::incomplete);
            }
        }
    }
}

TEST_CASE("proxy_protocol: payload in the same segment changes nothing",
          "[proxy][proxy_protocol]") {
    const std::vector<std::string> payloads{
        "x",
        "\n",
        "\r\n",
        std::string(1, '\0'),
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n",
        v2_header(0x21, 0x11, inet),
        // what HAProxy once took for TLVs of the header
        tlv(authority, "evil.example"),
        tlv(unique_id, std::string(129, 'x')),
        tlv(crc32c, "oops"),
        "\x02\xff\xff"s,
        std::string(2 * max_proxy_header_bytes, 'x'),
    };
    for (const Valid& row : valid_headers()) {
        INFO(row.name);
        const ProxyParse alone = parse(row.bytes);
        for (const std::string& payload : payloads) {
            CAPTURE(payload.substr(0, 40));
            CHECK(same(parse(row.bytes + payload), alone));
            CHECK(same(parse(row.bytes + payload, row.version), alone));
        }
    }
}

TEST_CASE("proxy_protocol: only the version that is asked for is accepted",
          "[proxy][proxy_protocol]") {
    for (const Valid& row : valid_headers()) {
        INFO(row.name);
        const AcceptProxy other =
            row.version == AcceptProxy::v1 ? AcceptProxy::v2 : AcceptProxy::v1;
        CHECK(parse(row.bytes, other).status == Status::bad);
        CHECK(parse(row.bytes.substr(0, 1), other).status == Status::bad);
    }
}

TEST_CASE("proxy_protocol: when none is accepted, what looks like a header is payload",
          "[proxy][proxy_protocol]") {
    std::vector<std::string> table{"", "GET / HTTP/1.1\r\n\r\n"};
    for (const Valid& row : valid_headers()) table.push_back(row.bytes);
    for (const std::string& received : table) {
        CAPTURE(received.substr(0, 20));
        const ProxyParse result = parse(received, AcceptProxy::off);
        CHECK(result.status == Status::complete);
        CHECK(result.header_bytes == 0);
        CHECK(result.header.local);
    }
}

TEST_CASE("proxy_protocol: nothing received is incomplete", "[proxy][proxy_protocol]") {
    for (const AcceptProxy accepted : {AcceptProxy::v1, AcceptProxy::v2, AcceptProxy::any}) {
        CHECK(parse("", accepted).status == Status::incomplete);
        CHECK(eplb::parse_proxy_header({}, accepted).status == Status::incomplete);
    }
}

TEST_CASE("proxy_protocol: an invalid line of version 1 is rejected with the reason",
          "[proxy][proxy_protocol]") {
    struct Row {
        std::string line;
        std::string problem;
    };
    const std::string fields = "not two addresses and two ports", address = "an address is not",
                      port = "a port is not", byte = "a byte that is in no address",
                      beginning = "no \"PROXY \"", protocol = "the protocol is not";
    const std::vector<Row> table{
        {"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "no PROXY protocol header"},
        {"PROXy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", beginning},
        {"PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n", beginning},
        {"PROXYTCP4 1.2.3.4 5.6.7.8 1 2\r\n", beginning},
        {"PROXY\r\n", beginning},
        {"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY \r\n", protocol},
        {"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY TCP4\r\n", protocol},
        {"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", protocol},
        {"PROXY unknown\r\n", protocol},
        {"PROXY UNKNOW\r\n", protocol},

        {"PROXY UNKNOWNS\r\n", "after UNKNOWN"},
        {"PROXY UNKNOWN\t\r\n", "after UNKNOWN"},
        {"PROXY UNKNOWN\n", "after UNKNOWN"},
        {"PROXY UNKNOWN\r \r\n", "after UNKNOWN"},

        {"PROXY TCP4 \r\n", fields},
        {"PROXY TCP4 1.2.3.4\r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", fields},
        {"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", fields},
        {"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n", fields},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n", fields},

        {"PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8\r1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n"s, byte},
        {"PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n"s, byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 http\r\n", byte},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 0x2\r\n", byte},
        {"PROXY TCP4 localhost 5.6.7.8 1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.\xd9\xa4 5.6.7.8 1 2\r\n", byte},  // a digit, but an Arabic one
        {"PROXY TCP4 \x1b[31m1.2.3.4 5.6.7.8 1 2\r\n", byte},
        {"PROXY TCP6 fe80::1%1 ::1 1 2\r\n", byte},
        {"PROXY TCP6 [::1] ::1 1 2\r\n", byte},
        {"PROXY TCP6 ::g ::1 1 2\r\n", byte},

        {"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 02\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 00 2\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999999999999\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2.\r\n", port},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 a 2\r\n", port},

        {"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 1.2.3.4 5.6.7.08 1 2\r\n", address},
        {"PROXY TCP4 1.2.3.4 5.6.7.00 1 2\r\n", address},
        {"PROXY TCP4 1.2.3. 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 1..3.4 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 16909060 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 a.b.c.d 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP4 ::1 ::1 1 2\r\n", address},
        {"PROXY TCP4 ::ffff:1.2.3.4 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", address},
        {"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", address},
        {"PROXY TCP4 ::1 1.2.3.4 1 2\r\n", address},
        {"PROXY TCP4 1.2.3.4 unix:/a b 1 2\r\n", fields},
        {"PROXY TCP4 1.2.3.4 unix:/a\t 1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 unix:/a\r 1 2\r\n", byte},
        {"PROXY TCP4 1.2.3.4 unix/a 1 2\r\n", byte},
        {"PROXY TCP4 unix:/a 1.2.3.4 1 2\r\n", byte},
        {"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", address},
        {"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", address},
        {"PROXY TCP6 1::2::3 ::1 1 2\r\n", address},
        {"PROXY TCP6 :::1 ::1 1 2\r\n", address},
        {"PROXY TCP6 1:2:3:4:5:6:7: ::1 1 2\r\n", address},
        {"PROXY TCP6 ::00001 ::1 1 2\r\n", address},
        {"PROXY TCP6 ::1ffff ::1 1 2\r\n", address},
        {"PROXY TCP6 ::ffff:01.2.3.4 ::1 1 2\r\n", address},
        {"PROXY TCP6 " + std::string(44, '0') + ":: ::1 1 2\r\n", address},
        {"PROXY TCP6 " + std::string(60, '0') + ":: ::1 1 2\r\n", address},
    };
    for (const Row& row : table) {
        INFO(row.line);
        const ProxyParse result = parse(row.line + "GET / HTTP/1.1\r\n\r\n");
        CHECK(result.status == Status::bad);
        CHECK_THAT(std::string{result.problem}, contains(row.problem));
        CHECK(result.header_bytes == 0);
    }
}

TEST_CASE("proxy_protocol: a line of version 1 has its CRLF within 107 bytes",
          "[proxy][proxy_protocol]") {
    const std::string no_crlf = "v1: no CRLF within 107 bytes";
    const std::string start = "PROXY UNKNOWN ";
    const std::string longest = start + std::string(107 - 2 - start.size(), 'x') + "\r\n";
    CHECK(longest.size() == 107);
    CHECK(parse(longest).status == Status::complete);

    const std::string too_long = start + std::string(108 - 2 - start.size(), 'x') + "\r\n";
    CHECK(parse(too_long.substr(0, 106)).status == Status::incomplete);
    CHECK(parse(too_long.substr(0, 107)).status == Status::bad);
    CHECK(parse(too_long).problem == no_crlf);
    CHECK(parse(start + std::string(10'000, 'x')).problem == no_crlf);

    // Whatever the addresses look like: the CR may be the 107th byte.
    const std::string tcp = "PROXY TCP4 ";
    for (const std::size_t digits : {94U, 95U, 96U, 97U, 2000U}) {
        CAPTURE(digits);
        const std::string line = tcp + std::string(digits, '1') + "\r\n";
        CHECK((parse(line).problem == no_crlf) == (line.size() > 107));
        CHECK(parse(line.substr(0, 106)).status == Status::incomplete);
    }
}

TEST_CASE("proxy_protocol: version 2 is rejected for what the specification rules out",
          "[proxy][proxy_protocol]") {
    struct Row {
        std::string header;
        std::string problem;
    };
    const std::string two_unix = unix_field("/a") + unix_field("/b");
    const std::string stray = "stray bytes", overlong = "a TLV is longer",
                      family = "address family", transport = "transport",
                      addresses = "too short for its addresses";
    const std::vector<Row> table{
        {v2_header(0x11, 0x11, inet), "the version is not 2"},
        {v2_header(0x31, 0x11, inet), "the version is not 2"},
        {v2_header(0x01, 0x11, inet), "the version is not 2"},
        {v2_header(0x22, 0x11, inet), "unknown command"},
        {v2_header(0x2f, 0x00, ""), "unknown command"},
        {v2_header(0x21, 0x41, inet), family},
        {v2_header(0x21, 0xf0, ""), family},
        {v2_header(0x21, 0x13, inet), transport},
        {v2_header(0x21, 0x0f, ""), transport},

        {v2_header(0x21, 0x11, ""), addresses},
        {v2_header(0x21, 0x11, inet.substr(1)), addresses},
        {v2_header(0x21, 0x21, inet6.substr(1)), addresses},
        {v2_header(0x21, 0x31, two_unix.substr(1)), addresses},
        {v2_header(0x21, 0x12, inet.substr(1)), addresses},
        {v2_header(0x21, 0x22, inet6.substr(1)), addresses},
        {v2_header(0x21, 0x32, two_unix.substr(1)), addresses},

        {v2_header(0x21, 0x11, inet + "\x04"), stray},
        {v2_header(0x21, 0x11, inet + "\x04\0"s), stray},
        {v2_header(0x21, 0x11, inet + tlv(noop, "") + "\0\0"s), stray},
        {v2_header(0x21, 0x21, inet6 + "\x04"), stray},
        {v2_header(0x21, 0x31, two_unix + "\x04"), stray},
        {v2_header(0x21, 0x12, inet + "\x04"), stray},
        {v2_header(0x21, 0x11, inet + "\x04\x00\x01"s), overlong},
        {v2_header(0x21, 0x11, inet + "\x04\xff\xff"s), overlong},
        {v2_header(0x21, 0x11, inet + "\x04\x01\x00"s + std::string(255, 'x')), overlong},
        {v2_header(0x21, 0x11, inet + tlv(alpn, "h2") + "\xea\x00\x05vpce"s), overlong},

        {v2_header(0x21, 0x11, inet + tlv(authority, std::string(256, 'a'))),
         "an authority of more"},
        {v2_header(0x21, 0x11, inet + tlv(unique_id, std::string(129, 'i'))),
         "a unique id of more"},
        {v2_header(0x21, 0x11, inet + tlv(crc32c, "")), "not 4 bytes long"},
        {v2_header(0x21, 0x11, inet + tlv(crc32c, "abc")), "not 4 bytes long"},
        {v2_header(0x21, 0x11, inet + tlv(crc32c, "abcde")), "not 4 bytes long"},
        {v2_header(0x21, 0x11, inet + tlv(crc32c, "oops")), "wrong checksum"},
        {v2_header(0x21, 0x12, inet + tlv(crc32c, "oops")), "wrong checksum"},
    };
    for (const Row& row : table) {
        INFO(row.problem);
        for (const std::string& payload : {""s, "payload"s}) {
            const ProxyParse result = parse(row.header + payload);
            CHECK(result.status == Status::bad);
            CHECK_THAT(std::string{result.problem}, contains(row.problem));
        }
    }
}

TEST_CASE("proxy_protocol: a wrong header is bad at the first byte that is wrong, and stays so",
          "[proxy][proxy_protocol]") {
    struct Row {
        std::string received;
        std::size_t bytes;  // with so many it is bad, with one less it is not yet
    };
    const std::vector<Row> table{
        {"GET / HTTP/1.1\r\n", 1},
        {"\x16\x03\x01\x02\x00", 1},
        {"\nPROXY ", 1},
        {"proxy", 1},
        {"POST / HTTP/1.1\r\n", 2},
        {"PROXYX", 6},
        {"PROXY  TCP4 ", 7},
        {"PROXY TCP5 ", 10},
        {"PROXY TCP4\r\n", 11},
        {"PROXY UDP4 ", 8},
        {"PROXY UNKNOWNS\r\n", 14},
        {"PROXY UNKNOWN\rX", 15},
        {"PROXY TCP4 \n", 12},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", 31},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rG", 32},
        {"PROXY TCP4 1.2.3.4\x1b[31m", 19},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\nGET", 36},
        {"\r\nGET / HTTP/1.1\r\n", 3},
        {"\r\n\r\n\r\n", 5},
        {"\r\n\r\n\0\r\nQUIT\r\n"s, 12},
        {v2_header(0x31, 0x11, inet), 13},
        {v2_header(0x22, 0x11, inet), 13},
        {v2_header(0x21, 0x41, inet), 14},
        {v2_header(0x21, 0x13, inet), 14},
        {v2_header(0x21, 0x11, inet.substr(1)), 16},
        {padded_to(max_proxy_header_bytes + 1), 16},
        {v2_header(0x20, 0x00, std::string(65535, 'x')), 16},
    };
    for (const Row& row : table) {
        INFO(row.received.substr(0, 40));
        CHECK(parse(row.received.substr(0, row.bytes - 1)).status == Status::incomplete);
        for (std::size_t size = row.bytes; size <= std::min<std::size_t>(row.received.size(), 64);
             ++size) {
            CAPTURE(size);
            CHECK(parse(row.received.substr(0, size)).status == Status::bad);
        }
    }
}

TEST_CASE("proxy_protocol: whoever has peeked at 4096 bytes never has to wait for more",
          "[proxy][proxy_protocol]") {
    const std::string longest = padded_to(max_proxy_header_bytes);
    CHECK(longest.size() == 4096);
    CHECK(parse(longest.substr(0, 4095)).status == Status::incomplete);
    CHECK(parse(longest).status == Status::complete);
    CHECK(parse(padded_to(4097)).problem == "v2: more than 4096 bytes");
    for (std::size_t length = 0; length <= 0xffff; length += 0xff) {
        std::string header = v2_signature + "\x21" + '\0' + u16(length);
        header.resize(max_proxy_header_bytes);
        CAPTURE(length);
        CHECK(parse(header).status != Status::incomplete);
    }
}

TEST_CASE("proxy_protocol: families and transports are taken as the specification's table has them",
          "[proxy][proxy_protocol]") {
    const std::string block = unix_field("/a") + unix_field("/b");  // long enough for all
    for (unsigned family = 0; family < 16; ++family) {
        for (unsigned transport = 0; transport < 16; ++transport) {
            CAPTURE(family, transport);
            const auto both = static_cast<unsigned char>(family << 4 | transport);
            const std::size_t size = family == 1 ? 12 : family == 2 ? 36 : 216;
            const ProxyParse proxied = parse(v2_header(0x21, both, block.substr(0, size)));
            const bool valid = family <= 3 && transport <= 2;
            CHECK(proxied.status == (valid ? Status::complete : Status::bad));
            if (valid) CHECK(proxied.header.local == (family == 0 || transport != 1));

            const ProxyParse local = parse(v2_header(0x20, both, block.substr(0, size)));
            CHECK(local.status == Status::complete);
            CHECK(local.header.local);
            CHECK(local.header.source == Address{});
        }
    }
}

TEST_CASE("proxy_protocol: addresses of no use for a stream are not told",
          "[proxy][proxy_protocol]") {
    for (const std::string& header :
         {v2_header(0x20, 0x11, inet), v2_header(0x21, 0x12, inet), v2_header(0x21, 0x10, inet),
          v2_header(0x21, 0x01, inet), v2_header(0x21, 0x22, inet6),
          "PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n"s}) {
        const ProxyParse result = parse(header);
        CHECK(result.status == Status::complete);
        CHECK(result.header.local);
        CHECK(result.header.source == Address{});
        CHECK(result.header.destination == Address{});
    }
}

TEST_CASE("proxy_protocol: authority and unique id are kept, the rest is skipped",
          "[proxy][proxy_protocol]") {
    const std::string id = "\x00\xff\r\nid"s;
    const ProxyParse result = parse(
        v2_header(0x21, 0x11,
                  inet + tlv(alpn, "h2") + tlv(authority, "example.org") + tlv(noop, "\x02\x00"s) +
                      tlv(custom, "x") + tlv(unique_id, id) + tlv(0x00, "") + tlv(0xff, "future")));
    CHECK(result.status == Status::complete);
    CHECK(result.header.authority == "example.org");
    CHECK(result.header.unique_id == id);
    CHECK_FALSE(result.header.crc32c);

    const ProxyParse none = parse(v2_header(0x21, 0x11, inet));
    CHECK(none.header.authority.empty());
    CHECK(none.header.unique_id.empty());
    CHECK_FALSE(none.header.crc32c);
}

TEST_CASE("proxy_protocol: authority and unique id may be as long as their limits",
          "[proxy][proxy_protocol]") {
    const std::string name(255, 'a'), id(128, 'i');
    const ProxyParse result =
        parse(v2_header(0x21, 0x11, inet + tlv(authority, name) + tlv(unique_id, id)));
    CHECK(result.status == Status::complete);
    CHECK(result.header.authority == name);
    CHECK(result.header.unique_id == id);
}

TEST_CASE("proxy_protocol: of two authorities or ids the first that says something counts",
          "[proxy][proxy_protocol]") {
    const ProxyParse result = parse(
        v2_header(0x21, 0x11,
                  inet + tlv(authority, "first.example") + tlv(authority, "second.example") +
                      tlv(unique_id, "") + tlv(unique_id, "first") + tlv(unique_id, "second")));
    CHECK(result.status == Status::complete);
    CHECK(result.header.authority == "first.example");
    CHECK(result.header.unique_id == "first");
}

TEST_CASE("proxy_protocol: a checksum is right wherever it stands", "[proxy][proxy_protocol]") {
    const std::string zeros(4, '\0'), id = tlv(unique_id, "id-1"), sum = tlv(crc32c, zeros);
    struct Row {
        unsigned char family_transport;
        std::string before;
        std::string after;
    };
    const std::vector<Row> table{
        {0x11, inet, ""},
        {0x11, inet, id},
        {0x11, inet + id, ""},
        {0x11, inet + id, id},
        {0x21, inet6, id},
        {0x12, inet, id},
        {0x31, unix_field("/a") + unix_field(""), id},
    };
    for (const Row& row : table) {
        const std::string zeroed =
            v2_header(0x21, row.family_transport, row.before + sum + row.after);
        const std::string header = with_checksum(zeroed, 16 + row.before.size() + 3);
        const ProxyParse result = parse(header + "payload");
        CHECK(result.status == Status::complete);
        CHECK(result.header.crc32c);
        CHECK(parse(zeroed).problem == "v2: wrong checksum");
    }
}

TEST_CASE("proxy_protocol: a bit that flips in addresses, values or checksum is found",
          "[proxy][proxy_protocol]") {
    const std::string value = "example.org";
    const std::string header = with_checksum(
        v2_header(0x21, 0x11, inet + tlv(authority, value) + tlv(crc32c, std::string(4, '\0'))),
        16 + inet.size() + 3 + value.size() + 3);
    REQUIRE(parse(header).status == Status::complete);
    // A flip in a type or a length makes other TLVs, and perhaps none that is a checksum.
    const std::size_t first_head = 16 + inet.size(), second_head = first_head + 3 + value.size();
    const auto in_head = [](std::size_t at, std::size_t head) { return at - head < 3; };
    for (std::size_t bit = 16 * 8; bit < header.size() * 8; ++bit) {
        if (in_head(bit / 8, first_head) || in_head(bit / 8, second_head)) continue;
        std::string other = header;
        other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
        CAPTURE(bit / 8, bit % 8);
        CHECK(parse(other).problem == "v2: wrong checksum");
    }
}

TEST_CASE("proxy_protocol: two checksums are bad, even if both fit", "[proxy][proxy_protocol]") {
    const std::string zeros(4, '\0');
    const std::string one_right =
        with_checksum(v2_header(0x21, 0x11, inet + tlv(crc32c, zeros) + tlv(crc32c, zeros)),
                      16 + inet.size() + 3);
    CHECK(parse(one_right).problem == "v2: two checksums");
}

TEST_CASE("proxy_protocol: a Unix address ends where its name ends", "[proxy][proxy_protocol]") {
    struct Row {
        std::string field;
        Address address;
    };
    const auto abstract = [](const std::string& name) {
        sockaddr_storage raw{};
        auto& un = reinterpret_cast<sockaddr_un&>(raw);
        un.sun_family = AF_UNIX;
        std::memcpy(&un.sun_path[1], name.data(), name.size());
        return Address::from(
            raw, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size()));
    };
    const std::vector<Row> table{
        {"", Address{}},
        {"/run/x.sock", Address::parse("unix:/run/x.sock")},
        {"/run/x.sock\0what was there before"s, Address::parse("unix:/run/x.sock")},
        {"relative", Address::parse("unix:relative")},
        {"/" + std::string(106, 'x'), Address::parse("unix:/" + std::string(106, 'x'))},
        {"\0name"s, Address::parse("unix:@name")},
        {"\0"s + std::string(107, 'y'), abstract(std::string(107, 'y'))},
        {"\0a\0b"s, abstract("a\0b"s)},
    };
    for (const Row& row : table) {
        INFO(row.address.to_string());
        const ProxyParse result =
            parse(v2_header(0x21, 0x31, unix_field(row.field) + unix_field("/destination")));
        CHECK(result.status == Status::complete);
        CHECK_FALSE(result.header.local);
        CHECK(result.header.source == row.address);
        CHECK(result.header.destination == Address::parse("unix:/destination"));
    }

    // A path without a terminating zero, all of its field.
    const ProxyParse full =
        parse(v2_header(0x21, 0x31, std::string(108, 'p') + unix_field("/destination")));
    CHECK(full.header.source.path() == std::string(108, 'p'));
    CHECK(encode(SendProxy::v2, full.header.source, full.header.destination) ==
          v2_header(0x21, 0x31, std::string(108, 'p') + unix_field("/destination")));
}

TEST_CASE("proxy_protocol: an address from a header cannot write into a log",
          "[proxy][proxy_protocol]") {
    const std::vector<std::string> paths{"/x\nsession client=1.2.3.4:5", "/\x1b[31mred\x1b[0m",
                                         "/quo\"te and space", "\0\r\n\0\xff"s, "/\xe2\x80\xae"};
    for (const std::string& path : paths) {
        const ProxyParse result = parse(v2_header(0x21, 0x31, unix_field(path) + unix_field(path)));
        REQUIRE(result.status == Status::complete);
        const std::string text = result.header.source.to_string();
        INFO(text);
        CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; }));
        CHECK(text.find('"') == std::string::npos);
    }
}

TEST_CASE("proxy_protocol: IPv4 in IPv6 clothes is IPv4 in version 2, too",
          "[proxy][proxy_protocol]") {
    const std::string mapped = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x07"s;
    const ProxyParse result =
        parse(v2_header(0x21, 0x21, mapped + inet6.substr(16, 16) + "\x00\x01\x00\x02"s));
    CHECK(result.header.source == Address::parse("10.0.0.7:1"));
    CHECK(result.header.destination == Address::parse("[2001:db8::b]:2"));
}
