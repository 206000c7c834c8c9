// Any bytes at all as the answer of a name server, against the promises of dns_message.hpp.

#include "base/escape.hpp"
#include "discovery/dns_message.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <string_view>
#include <sys/socket.h>

using eplb::control::parse_address_records;
using eplb::control::parse_service_records;
using eplb::control::ServiceRecord;
using eplb::control::ServiceRecords;

namespace {

// assert() may be compiled out; what is promised here may not.
void require(bool fact, std::string_view promise) {
    if (fact) return;
    fmt::print(stderr, "broken promise: {}\n", promise);
    std::abort();
}

// In a block of its own, so that a sanitizer sees a read beyond it.
std::optional<ServiceRecords> parse_exactly(const std::uint8_t* data, std::size_t size) {
    const auto exact = std::make_unique<unsigned char[]>(size);
    std::copy(data, data + size, exact.get());
    return parse_service_records({exact.get(), size});
}

void check_addresses(const std::uint8_t* data, std::size_t size, int family) {
    const auto exact = std::make_unique<unsigned char[]>(size);
    std::copy(data, data + size, exact.get());
    const auto found = parse_address_records({exact.get(), size}, family);
    if (!found) return;
    constexpr std::size_t least_bytes = 1 + 10 + 4;
    require(found->addresses.size() <= size / least_bytes,
            "addresses are what the message has room for");
    require(found->ttl >= eplb::Duration{0}, "a TTL is no less than zero");
    for (const eplb::Address& address : found->addresses) {
        // One that is IPv4 in disguise is one of these.
        require(address.family() == AF_INET || address.family() == family,
                "addresses are of their kind");
        require(address.port() == 0, "an address has no port");
    }
}

void check(const ServiceRecords& found, std::size_t size) {
    // The least that a record takes: a name, type, class, TTL, length, and data with a name.
    constexpr std::size_t least_bytes = 1 + 10 + 6 + 1;
    require(found.records.size() <= size / least_bytes,
            "records are what the message has room for");
    require(found.ttl >= eplb::Duration{0}, "a TTL is no less than zero");
    for (const ServiceRecord& record : found.records) {
        require(!record.host.empty(), "a host has a name");
        // 255 bytes on the wire, each of which may become \DDD.
        require(record.host.size() <= 4 * 255, "a name has a limit");
        require(record.host.find('\0') == std::string::npos, "C functions see all of a name");
        const std::string escaped = eplb::escaped(record.host);
        require(std::ranges::all_of(escaped, [](char c) { return c > ' ' && c < 0x7f; }),
                "a name cannot write into a log");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    check_addresses(data, size, AF_INET);
    check_addresses(data, size, AF_INET6);
    const auto found = parse_exactly(data, size);
    if (!found) return 0;
    check(*found, size);
    const auto again = parse_exactly(data, size);
    require(again && again->records.size() == found->records.size() && again->ttl == found->ttl,
            "what it says does not change");
    return 0;
}
