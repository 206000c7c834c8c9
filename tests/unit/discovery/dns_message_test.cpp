#include "discovery/dns_message.hpp"

#include "support/catch.hpp"
#include "support/dns.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

using namespace std::chrono_literals;
using namespace eplb::control;
using namespace eplb::test;
using eplb::Address;

namespace {

std::optional<ServiceRecords> parse(std::string_view message) {
    // In a block of its own, so that a sanitizer sees a read beyond it.
    const auto exact = std::make_unique<unsigned char[]>(message.size());
    std::copy(message.begin(), message.end(), exact.get());
    return parse_service_records({exact.get(), message.size()});
}

}  // namespace

TEST_CASE("service records: they are read with their TTL", "[control][resolver]") {
    const auto found =
        parse(dns_message(1, "s.example", dns_srv,
                          {.records = {cname_record("s.example", 9, "t.example"),
                                       srv_record("t.example", 60, 1, 2, 3, "a.example"),
                                       a_record("a.example", 1, "10.0.0.1"),
                                       srv_record("t.example", 50, 4, 5, 6, "")}}));
    REQUIRE(found);
    CHECK(found->ttl == 9s);
    REQUIRE(found->records.size() == 1);
    CHECK(found->records[0].host == "a.example");
    CHECK(found->records[0].priority == 1);
    CHECK(found->records[0].weight == 2);
    CHECK(found->records[0].port == 3);
}

TEST_CASE("service records: a message that is cut is none", "[control][resolver]") {
    const std::string message =
        dns_message(1, "s.example", dns_srv,
                    {.records = {srv_record("s.example", 60, 1, 2, 3, "a.example"),
                                 srv_record("s.example", 60, 1, 2, 3, "b.example")}});
    REQUIRE(parse(message));
    for (std::size_t size = 0; size < message.size(); ++size) {
        INFO(size);
        CHECK_FALSE(parse(std::string_view{message}.substr(0, size)));
    }
    // Data that is shorter, or longer, than what is in it.
    for (const int change : {-1, 1}) {
        std::string wrong = message;
        const std::size_t length_at = 12 + 11 + 4 + 2 + 8 + 1;
        wrong[length_at] = static_cast<char>(wrong[length_at] + change);
        CHECK_FALSE(parse(wrong));
    }
}

TEST_CASE("service records: data that goes on behind its name is none", "[control][resolver]") {
    DnsRecord record = srv_record("s.example", 60, 1, 2, 3, "a.example");
    CHECK(parse(dns_message(1, "s.example", dns_srv, {.records = {record}})));
    record.data += 'x';
    CHECK_FALSE(parse(dns_message(1, "s.example", dns_srv, {.records = {record}})));
}

TEST_CASE("service records: a name has a limit, which c-ares does not know",
          "[control][resolver]") {
    const auto message_with = [](int labels) {
        std::string target;
        for (int i = 0; i < labels; ++i) target += std::string(60, 'a') + '.';
        return dns_message(1, "s.example", dns_srv,
                           {.records = {srv_record("s.example", 60, 1, 2, 3, target)}});
    };
    CHECK(parse(message_with(4)));
    CHECK_FALSE(parse(message_with(40)));
}

TEST_CASE("address records: they are read with their TTL, and what is cut is none",
          "[control][resolver]") {
    const std::string message = dns_message(
        1, "a.example", dns_a,
        {.records = {cname_record("a.example", 40, "b.example"),
                     a_record("b.example", 50, "10.0.0.1"), a_record("b.example", 60, "10.0.0.2"),
                     aaaa_record("b.example", 30, "::1")}});
    const auto parse_addresses = [](std::string_view text, int family) {
        const auto exact = std::make_unique<unsigned char[]>(text.size());
        std::copy(text.begin(), text.end(), exact.get());
        return parse_address_records({exact.get(), text.size()}, family);
    };
    const auto found = parse_addresses(message, AF_INET);
    REQUIRE(found);
    CHECK(found->ttl == 40s);
    CHECK(found->addresses ==
          std::vector{Address::parse("10.0.0.1:0"), Address::parse("10.0.0.2:0")});
    const auto v6 = parse_addresses(message, AF_INET6);
    REQUIRE(v6);
    CHECK(v6->ttl == 30s);
    CHECK(v6->addresses == std::vector{Address::parse("[::1]:0")});
    for (std::size_t size = 0; size < message.size(); ++size)
        CHECK_FALSE(parse_addresses(message.substr(0, size), AF_INET));
    // Data of another length than an address has.
    DnsRecord odd = a_record("a.example", 1, "10.0.0.1");
    odd.data += "x";
    CHECK_FALSE(parse_addresses(dns_message(1, "a.example", dns_a, {.records = {odd}}), AF_INET));
}
