// base: networks.
#pragma once

#include "eplb/address.hpp"
#include "eplb/export.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eplb {

/// A network of clients: an IPv4 or IPv6 prefix, or the clients of Unix sockets, who have no
/// address. A plain value. Networks are of one family: ::/0 is every IPv6 address, and no IPv4 one.
class EPLB_API Cidr {
public:
    /// Reads "10.0.0.0/8", "2001:db8::/32", "10.1.2.3" or "::1" (that one address), and "unix:" or
    /// "unix". Numbers only; no ports, brackets or scopes. IPv4 in IPv6 clothes
    /// (::ffff:10.0.0.0/104) becomes the IPv4 network that it is, as such clients become IPv4 ones.
    /// Throws std::invalid_argument with a message that quotes `text` and says what is wrong with
    /// it; so it does for 10.0.0.1/8, which is more often a slip than meant.
    [[nodiscard]] static Cidr parse(std::string_view text);

    /// Ports and scopes play no role.
    [[nodiscard]] bool contains(const Address& address) const noexcept;

    /// The shortest text that parse() reads back: "10.0.0.0/8", "10.1.2.3", "unix:".
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const Cidr& a, const Cidr& b) noexcept = default;

private:
    friend class CidrSet;

    enum class Family : std::uint8_t { ipv4, ipv6, unix_socket };
    // An IP address from its first bit on: IPv4 ones are the upper half of `high`, so that a prefix
    // means the same for both families.
    struct Point {
        std::uint64_t high = 0;
        std::uint64_t low = 0;
        friend auto operator<=>(const Point& a, const Point& b) noexcept = default;
    };
    struct Place {
        Family family = Family::unix_socket;
        Point point;
    };

    Cidr(Family family, Point first, unsigned bits) noexcept
        : first_{first}, bits_{static_cast<std::uint8_t>(bits)}, family_{family} {}
    [[nodiscard]] static Place locate(const Address& address) noexcept;
    [[nodiscard]] static Place parse_host(std::string_view text, const std::string& host);
    [[nodiscard]] static Point mask(unsigned bits) noexcept;
    [[nodiscard]] unsigned max_bits() const noexcept;
    [[nodiscard]] Point last() const noexcept;

    Point first_;
    std::uint8_t bits_;
    Family family_;
};

/// Networks, to ask whether an address is in one of them. Never changes once it is made, so any
/// thread may ask. 32 bytes for each network that neither overlaps nor touches another.
class EPLB_API CidrSet {
public:
    /// No networks.
    CidrSet() noexcept = default;
    /// Sorts and joins them: O(n log n).
    explicit CidrSet(std::span<const Cidr> networks);

    /// O(log networks); allocates nothing.
    [[nodiscard]] bool contains(const Address& address) const noexcept;
    /// Nobody is in any of them.
    [[nodiscard]] bool empty() const noexcept { return ipv4_.empty() && ipv6_.empty() && !unix_; }
    /// What the IP networks came down to, once those that overlap or touch were joined.
    [[nodiscard]] std::size_t ranges() const noexcept { return ipv4_.size() + ipv6_.size(); }

private:
    struct Range {
        Cidr::Point first;
        Cidr::Point last;
    };
    using Ranges = std::vector<Range>;  // apart from each other, in order

    [[nodiscard]] static Ranges merged(Ranges ranges);
    [[nodiscard]] static bool contains(const Ranges& ranges, const Cidr::Point& point) noexcept;

    Ranges ipv4_;
    Ranges ipv6_;
    bool unix_ = false;
};

}  // namespace eplb
