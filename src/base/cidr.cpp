#include "eplb/cidr.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <endian.h>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb {
namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr unsigned mapped_bits = 96;  // of ::ffff:0:0/96, RFC 4291, 2.5.5.2

[[noreturn]] void reject(std::string_view text, std::string_view why) {
    throw std::invalid_argument(fmt::format("bad network \"{}\": {}", text, why));
}

unsigned parse_bits(std::string_view text, std::string_view digits, std::string_view family,
                    unsigned max_bits) {
    unsigned bits = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, bits);
    if (error != std::errc{} || rest != end || bits > max_bits) {
        reject(text, fmt::format("an {} prefix has 0 to {} bits", family, max_bits));
    }
    return bits;
}

// What C functions would not see, and what is right elsewhere but not here.
void reject_lookalikes(std::string_view text, std::string_view host) {
    if (text.empty()) reject(text, "it is empty");
    if (text.starts_with(unix_prefix)) {
        reject(text, "clients of Unix sockets have no path; write unix: for all of them");
    }
    if (host.find('\0') != std::string_view::npos) reject(text, "it contains a NUL byte");
    if (host.find_first_of("[]") != std::string_view::npos) {
        reject(text, "a network has neither brackets nor a port; write it like 2001:db8::/32");
    }
    if (host.find('%') != std::string_view::npos) {
        reject(text, "a network has no interface; leave the '%' and what follows out");
    }
}

}  // namespace

Cidr Cidr::parse(std::string_view text) {
    if (text == unix_prefix || text == "unix") return {Family::unix_socket, {}, 0};

    const std::size_t slash = text.find('/');
    const std::string host{text.substr(0, slash)};
    reject_lookalikes(text, host);
    auto [family, point] = parse_host(text, host);
    const bool is_ipv4 = family == Family::ipv4;
    unsigned bits = is_ipv4 ? 32 : 128;
    if (slash != std::string_view::npos) {
        bits = parse_bits(text, text.substr(slash + 1), is_ipv4 ? "IPv4" : "IPv6", bits);
    }
    const bool mapped = !is_ipv4 && point.high == 0 && point.low >> 32 == 0xffff;
    if (mapped && bits >= mapped_bits) {
        family = Family::ipv4;
        point = {point.low << 32, 0};
        bits -= mapped_bits;
    }
    const Point wanted = mask(bits);
    const Cidr network{family, {point.high & wanted.high, point.low & wanted.low}, bits};
    if (network.first_ != point) {
        reject(text, fmt::format("it has bits set behind the prefix; did you mean {}?",
                                 network.to_string()));
    }
    return network;
}

Cidr::Place Cidr::parse_host(std::string_view text, const std::string& host) {
    in_addr v4{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        return {Family::ipv4, {std::uint64_t{ntohl(v4.s_addr)} << 32, 0}};
    }
    std::uint64_t v6[2] = {};
    if (inet_pton(AF_INET6, host.c_str(), v6) == 1) {
        return {Family::ipv6, {be64toh(v6[0]), be64toh(v6[1])}};
    }
    reject(text, fmt::format("\"{}\" is not an IP address; networks are like 10.0.0.0/8, "
                             "2001:db8::/32 or unix:",
                             host));
}

Cidr::Place Cidr::locate(const Address& address) noexcept {
    sockaddr_storage raw;
    static_cast<void>(address.to_sockaddr(raw));
    switch (raw.ss_family) {
    case AF_INET: {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(raw);
        return {Family::ipv4, {std::uint64_t{ntohl(v4.sin_addr.s_addr)} << 32, 0}};
    }
    case AF_INET6: {
        std::uint64_t v6[2];
        std::memcpy(v6, &reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr, sizeof v6);
        return {Family::ipv6, {be64toh(v6[0]), be64toh(v6[1])}};
    }
    default: return {};  // the client of a Unix socket has a name or, mostly, nothing
    }
}

bool Cidr::contains(const Address& address) const noexcept {
    const auto [family, point] = locate(address);
    const Point wanted = mask(bits_);
    return family == family_ && (point.high & wanted.high) == first_.high &&
           (point.low & wanted.low) == first_.low;
}

std::string Cidr::to_string() const {
    char host[INET6_ADDRSTRLEN] = "";
    switch (family_) {
    case Family::unix_socket: return std::string{unix_prefix};
    case Family::ipv4: {
        const in_addr v4{htonl(static_cast<std::uint32_t>(first_.high >> 32))};
        inet_ntop(AF_INET, &v4, host, sizeof host);
        break;
    }
    case Family::ipv6: {
        const std::uint64_t v6[2] = {htobe64(first_.high), htobe64(first_.low)};
        inet_ntop(AF_INET6, v6, host, sizeof host);
        break;
    }
    }
    if (bits_ == max_bits()) return host;
    return fmt::format("{}/{}", host, bits_);
}

// Shifting by all 64 bits is undefined.
Cidr::Point Cidr::mask(unsigned bits) noexcept {
    constexpr std::uint64_t all = ~std::uint64_t{0};
    if (bits == 0) return {0, 0};
    if (bits <= 64) return {all << (64 - bits), 0};
    return {all, all << (128 - bits)};
}

unsigned Cidr::max_bits() const noexcept { return family_ == Family::ipv4 ? 32 : 128; }

Cidr::Point Cidr::last() const noexcept {
    const Point wanted = mask(bits_);
    return {first_.high | ~wanted.high, first_.low | ~wanted.low};
}

CidrSet::CidrSet(std::span<const Cidr> networks) {
    for (const Cidr& network : networks) {
        switch (network.family_) {
        case Cidr::Family::ipv4: ipv4_.push_back({network.first_, network.last()}); break;
        case Cidr::Family::ipv6: ipv6_.push_back({network.first_, network.last()}); break;
        case Cidr::Family::unix_socket: unix_ = true; break;
        }
    }
    ipv4_ = merged(std::move(ipv4_));
    ipv6_ = merged(std::move(ipv6_));
}

CidrSet::Ranges CidrSet::merged(Ranges ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
    const auto touches = [](const Range& range, const Cidr::Point& point) {
        const std::uint64_t low = range.last.low + 1;
        const Cidr::Point next{range.last.high + (low == 0 ? 1 : 0), low};
        return point <= range.last || point == next;
    };
    Ranges result;
    for (const Range& range : ranges) {
        if (result.empty() || !touches(result.back(), range.first)) {
            result.push_back(range);
        } else {
            result.back().last = std::max(result.back().last, range.last);
        }
    }
    result.shrink_to_fit();
    return result;
}

bool CidrSet::contains(const Address& address) const noexcept {
    const auto [family, point] = Cidr::locate(address);
    switch (family) {
    case Cidr::Family::ipv4: return contains(ipv4_, point);
    case Cidr::Family::ipv6: return contains(ipv6_, point);
    default: return unix_;
    }
}

bool CidrSet::contains(const Ranges& ranges, const Cidr::Point& point) noexcept {
    const auto behind =
        std::upper_bound(ranges.begin(), ranges.end(), point,
                         [](const Cidr::Point& p, const Range& range) { return p < range.first; });
    return behind != ranges.begin() && point <= std::prev(behind)->last;
}

}  // namespace eplb
