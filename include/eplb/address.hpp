// base: addresses of sockets, as text and as the kernel has them.
#pragma once

#include "eplb/export.hpp"

#include <cstdint>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

namespace eplb {

/// Where a stream socket can listen or connect: IPv4, IPv6 (with scope), or a Unix socket that has
/// a path or an abstract name. A plain value; comparable, hashable by its text.
class EPLB_API Address {
public:
    /// No address: what the peer of a Unix socket has. Formats as "unix:".
    Address() noexcept = default;

    /// Reads "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", ":80" (every local address),
    /// "unix:/run/x.sock" or "unix:@name" (abstract, unix(7)). Numbers only: no name is looked up.
    /// An IPv4 address in IPv6 clothes (::ffff:1.2.3.4) becomes the IPv4 address that it is.
    /// Throws std::invalid_argument with a message that quotes `text` and says what is wrong with
    /// it.
    [[nodiscard]] static Address parse(std::string_view text);

    /// As parse(), but says nothing of a host name that could be looked up; for whoever wants to
    /// check a text, and to look up later.
    [[nodiscard]] static std::optional<Address> parse_unless_name(std::string_view text);

    /// As parse(), and also looks host names up, blocking, with getaddrinfo(3). Returns at least
    /// one address: every IPv4 address of the name or, if it has none, every IPv6 one, in the order
    /// the resolver gave them. Throws std::invalid_argument for bad text and std::runtime_error for
    /// a name that does not resolve.
    [[nodiscard]] static std::vector<Address> resolve(std::string_view text);

    /// From what accept(2), getsockname(2) and the like filled in. A dual-stack listener's IPv4
    /// peers (::ffff:1.2.3.4) become IPv4 addresses. No address, if there is no memory for the path of
    /// a Unix socket.
    [[nodiscard]] static Address from(const sockaddr_storage& raw, socklen_t length) noexcept;

    /// Fills `raw` for bind(2) and connect(2), and returns its length.
    [[nodiscard]] socklen_t to_sockaddr(sockaddr_storage& raw) const noexcept;

    /// AF_INET, AF_INET6, AF_UNIX, or AF_UNSPEC for none.
    [[nodiscard]] int family() const noexcept;
    /// It has a path or an abstract name. False for the peer of a Unix socket, which has neither.
    [[nodiscard]] bool is_unix() const noexcept { return family() == AF_UNIX; }
    /// 0 for Unix sockets.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The same host with another port; a Unix socket, which has none, as it is.
    [[nodiscard]] Address with_port(std::uint16_t port) const;
    /// Every local address: 0.0.0.0 or [::].
    [[nodiscard]] bool is_wildcard() const noexcept;
    /// 127.0.0.0/8 or ::1. Not a Unix socket, local as it is.
    [[nodiscard]] bool is_loopback() const noexcept;
    /// The path of a Unix socket; an abstract name begins with '@'. Empty for others.
    [[nodiscard]] const std::string& path() const noexcept;

    /// What parse() reads: "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock". In the path of a Unix
    /// socket, anything but printable ASCII, and blanks, quotes and backslashes, becomes `\xNN`:
    /// safe in a log.
    [[nodiscard]] std::string to_string() const;

    EPLB_API friend bool operator==(const Address& a, const Address& b) noexcept;

private:
    union Inet {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    };
    Inet inet_{};  // the family is AF_UNSPEC unless it is an internet address
    // Never changed, so copies share it; few addresses have one, and every session has an address.
    std::shared_ptr<const std::string> path_;
};

}  // namespace eplb
