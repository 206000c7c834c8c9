#include "discovery/dns_message.hpp"

#include "discovery/ares.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <netinet/in.h>
#include <string>

namespace eplb::control {
namespace {

using Message = std::span<const unsigned char>;

// RFC 1035, 4.1 and 3.2.
constexpr std::size_t header_bytes = 12;
constexpr std::size_t question_tail_bytes = 4;
constexpr std::size_t record_tail_bytes = 10;
constexpr std::size_t srv_head_bytes = 6;
constexpr std::size_t most_name_bytes = std::size_t{4} * 255;  // each of which may become \DDD
constexpr unsigned type_cname = 5;

unsigned read_16(Message message, std::size_t at) {
    return static_cast<unsigned>(message[at] << 8 | message[at + 1]);
}

std::uint32_t read_32(Message message, std::size_t at) {
    return read_16(message, at) << 16 | read_16(message, at + 2);
}

struct ExpandedName {
    std::string text;
    std::size_t end;  // behind it
};

// c-ares follows compression, bounded, and writes what is not printable as \DDD; but it does not limit
// the length of a name.
std::optional<ExpandedName> expand_name(Message message, std::size_t at) {
    if (at >= message.size()) return std::nullopt;
    char* text = nullptr;
    long length = 0;
    if (ares_expand_name(message.data() + at, message.data(), static_cast<int>(message.size()),
                         &text, &length) != ARES_SUCCESS)
        return std::nullopt;
    ExpandedName name{text, at + static_cast<std::size_t>(length)};
    ares_free_string(text);
    if (name.text.size() > most_name_bytes) return std::nullopt;
    return name;
}

// More than 2^31 is to be taken for zero, RFC 2181, 8.
Duration ttl_of(std::uint32_t seconds) {
    return std::chrono::seconds{seconds > INT32_MAX ? 0 : seconds};
}

struct Record {
    unsigned type;
    std::size_t data;  // where it begins
    std::size_t end;
};

struct Records {
    std::vector<Record> records;  // of the type that was asked for
    Duration ttl = Duration::max();
};

// The answer section. Aliases lead from one name to the next; whose the records are that come of it is
// not looked at, for whoever can answer can say what they like.
std::optional<Records> parse_records(Message message, unsigned wanted) {
    if (message.size() < header_bytes || message.size() > 65535) return std::nullopt;
    const unsigned questions = read_16(message, 4);
    const unsigned answers = read_16(message, 6);
    std::size_t at = header_bytes;
    for (unsigned i = 0; i < questions; ++i) {
        const auto name = expand_name(message, at);
        if (!name || name->end + question_tail_bytes > message.size()) return std::nullopt;
        at = name->end + question_tail_bytes;
    }
    Records found;
    for (unsigned i = 0; i < answers; ++i) {
        const auto owner = expand_name(message, at);
        if (!owner || owner->end + record_tail_bytes > message.size()) return std::nullopt;
        const unsigned type = read_16(message, owner->end);
        const bool internet = read_16(message, owner->end + 2) == class_in;
        const Duration its_ttl = ttl_of(read_32(message, owner->end + 4));
        const std::size_t data = owner->end + record_tail_bytes;
        const std::size_t end = data + read_16(message, owner->end + 8);
        if (end > message.size()) return std::nullopt;
        at = end;
        if (!internet || (type != wanted && type != type_cname)) continue;
        found.ttl = std::min(found.ttl, its_ttl);
        if (type == wanted) found.records.push_back({type, data, end});
    }
    if (found.ttl == Duration::max()) found.ttl = Duration{0};
    return found;
}

}  // namespace

std::optional<ServiceRecords> parse_service_records(Message message) {
    const auto found = parse_records(message, type_srv);
    if (!found) return std::nullopt;
    ServiceRecords result;
    result.ttl = found->ttl;
    for (const auto& [type, data, end] : found->records) {
        if (data + srv_head_bytes >= end) return std::nullopt;
        const auto target = expand_name(message, data + srv_head_bytes);
        if (!target || target->end != end) return std::nullopt;
        if (target->text.empty()) continue;
        result.records.push_back(
            {.host = target->text,
             .port = static_cast<std::uint16_t>(read_16(message, data + 4)),
             .priority = static_cast<std::uint16_t>(read_16(message, data)),
             .weight = static_cast<std::uint16_t>(read_16(message, data + 2))});
    }
    return result;
}

std::optional<AddressRecords> parse_address_records(Message message, int family) {
    const auto found = parse_records(message, type_of(family));
    if (!found) return std::nullopt;
    AddressRecords result;
    result.ttl = found->ttl;
    for (const auto& [type, data, end] : found->records) {
        sockaddr_storage raw{};
        socklen_t length = 0;
        if (family == AF_INET) {
            auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
            if (end - data != sizeof v4.sin_addr) return std::nullopt;
            std::memcpy(&v4.sin_addr, message.data() + data, sizeof v4.sin_addr);
            v4.sin_family = AF_INET;
            length = sizeof v4;
        } else {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
            if (end - data != sizeof v6.sin6_addr) return std::nullopt;
            std::memcpy(&v6.sin6_addr, message.data() + data, sizeof v6.sin6_addr);
            v6.sin6_family = AF_INET6;
            length = sizeof v6;
        }
        result.addresses.push_back(Address::from(raw, length));
    }
    return result;
}

}  // namespace eplb::control
