#include "eplb/address.hpp"

#include "base/escape.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <new>
#include <optional>
#include <stdexcept>
#include <sys/un.h>

namespace eplb {
namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr std::size_t max_unix_path = sizeof(sockaddr_un::sun_path) - 1;

[[noreturn]] void reject(std::string_view text, std::string_view why) {
    throw std::invalid_argument(fmt::format("bad address \"{}\": {}", text, why));
}

struct HostPort {
    std::string host;  // without brackets; empty for ":80"
    std::uint16_t port = 0;
    bool bracketed = false;
};

std::uint16_t parse_port(std::string_view text, std::string_view digits) {
    std::uint16_t port = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, port);
    if (digits.empty() || error != std::errc{} || rest != end) {
        reject(text, fmt::format("\"{}\" is not a port; ports are numbers up to 65535", digits));
    }
    return port;
}

HostPort split_host_port(std::string_view text) {
    if (text.empty()) reject(text, "it is empty");
    // C functions would take what stands before it for the whole.
    if (text.find('\0') != std::string_view::npos) reject(text, "it contains a NUL byte");
    if (text.front() == '[') {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos) reject(text, "the ']' is missing");
        if (close + 1 >= text.size() || text[close + 1] != ':') {
            reject(text, "the port is missing; write [address]:port");
        }
        return {std::string{text.substr(1, close - 1)}, parse_port(text, text.substr(close + 2)),
                true};
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        reject(text, "the port is missing; write host:port, :port or unix:/path");
    }
    if (text.find(':') != colon) reject(text, "an IPv6 address needs brackets: [address]:port");
    return {std::string{text.substr(0, colon)}, parse_port(text, text.substr(colon + 1)), false};
}

// Fills `raw` from a numeric host, or says that it is none.
bool parse_numeric_host(std::string_view text, const HostPort& where, sockaddr_storage& raw,
                        socklen_t& length) {
    raw = {};
    if (!where.bracketed) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
        if (inet_pton(AF_INET, where.host.c_str(), &v4.sin_addr) != 1) return false;
        v4.sin_family = AF_INET;
        v4.sin_port = htons(where.port);
        length = sizeof v4;
        return true;
    }

    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    const std::size_t percent = where.host.find('%');
    if (inet_pton(AF_INET6, where.host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) {
        reject(text, fmt::format("\"{}\" is not an IPv6 address", where.host));
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(where.port);
    length = sizeof v6;
    if (percent != std::string::npos) {
        const std::string scope = where.host.substr(percent + 1);
        v6.sin6_scope_id = if_nametoindex(scope.c_str());
        if (v6.sin6_scope_id == 0) {
            const char* const end = scope.data() + scope.size();
            const auto [rest, error] = std::from_chars(scope.data(), end, v6.sin6_scope_id);
            if (error != std::errc{} || rest != end || v6.sin6_scope_id == 0) {
                reject(text, fmt::format("there is no network interface \"{}\"", scope));
            }
        }
    }
    return true;
}

void check_host_name(std::string_view text, const std::string& host) {
    const auto bad = [](char c) {
        return c <= ' ' || c == '/' || c == '@' || c == ',' || c == '%';
    };
    if (std::any_of(host.begin(), host.end(), bad) || host.size() > 253) {
        reject(text, fmt::format("\"{}\" is neither an IP address nor a host name", host));
    }
    // "10.0.0" and "300.1.1.1" are slips, but getaddrinfo(3) would make something of them.
    if (host.find_first_not_of("0123456789.") == std::string::npos) {
        reject(text, fmt::format("\"{}\" is not an IP address", host));
    }
}

bool is_unix_text(std::string_view text) { return text.starts_with(unix_prefix); }

std::string parse_unix_path(std::string_view text) {
    std::string path{text.substr(unix_prefix.size())};
    if (path.empty() || path == "@")
        reject(text, "the path is missing; write unix:/path or unix:@name");
    if (path.size() > max_unix_path) {
        reject(text, fmt::format("the path has {} bytes, but a Unix socket's has at most {}",
                                 path.size(), max_unix_path));
    }
    if (path.find('\0') != std::string::npos) reject(text, "the path contains a NUL byte");
    return path;
}

}  // namespace

Address Address::parse(std::string_view text) {
    Address address;
    if (is_unix_text(text)) {
        address.path_ = std::make_shared<const std::string>(parse_unix_path(text));
        return address;
    }
    const HostPort where = split_host_port(text);
    if (where.host.empty() && !where.bracketed) {
        address.inet_.v6 = {};
        address.inet_.v6.sin6_family = AF_INET6;
        address.inet_.v6.sin6_port = htons(where.port);
        return address;
    }
    sockaddr_storage raw{};
    socklen_t length = 0;
    if (!parse_numeric_host(text, where, raw, length)) {
        reject(text, fmt::format("\"{}\" is not an IP address", where.host));
    }
    return from(raw, length);
}

std::optional<Address> Address::parse_unless_name(std::string_view text) {
    if (is_unix_text(text)) return parse(text);
    const HostPort where = split_host_port(text);
    sockaddr_storage raw{};
    socklen_t length = 0;
    if (where.host.empty() || parse_numeric_host(text, where, raw, length)) return parse(text);
    check_host_name(text, where.host);
    return std::nullopt;
}

std::vector<Address> Address::resolve(std::string_view text) {
    if (const std::optional<Address> address = parse_unless_name(text)) return {*address};
    const HostPort where = split_host_port(text);
    sockaddr_storage raw{};

    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(where.host.c_str(), nullptr, &hints, &found);
    if (error != 0) {
        throw std::runtime_error(
            fmt::format("cannot resolve \"{}\" in \"{}\": {}", where.host, text,
                        error == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(error)));
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> release{found, freeaddrinfo};

    // A name with both kinds is one set of machines: using both would connect to each twice.
    std::vector<Address> addresses;
    for (const int family : {AF_INET, AF_INET6}) {
        for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
            if (entry->ai_family != family || entry->ai_addrlen > sizeof(Inet)) continue;
            std::memcpy(&raw, entry->ai_addr, entry->ai_addrlen);
            const Address address = from(raw, entry->ai_addrlen).with_port(where.port);
            if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
                addresses.push_back(address);
            }
        }
        if (!addresses.empty()) return addresses;
    }
    throw std::runtime_error(
        fmt::format("cannot resolve \"{}\" in \"{}\": it has no address", where.host, text));
}

Address Address::from(const sockaddr_storage& raw, socklen_t length) noexcept {
    Address address;
    if (raw.ss_family == AF_INET) {
        std::memcpy(&address.inet_.v4, &raw, sizeof address.inet_.v4);
    } else if (raw.ss_family == AF_INET6) {
        std::memcpy(&address.inet_.v6, &raw, sizeof address.inet_.v6);
        const in6_addr& v6 = address.inet_.v6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&v6)) {
            sockaddr_in v4{};
            v4.sin_family = AF_INET;
            v4.sin_port = address.inet_.v6.sin6_port;
            std::memcpy(&v4.sin_addr, &v6.s6_addr[12], sizeof v4.sin_addr);
            address.inet_ = {};
            address.inet_.v4 = v4;
        }
    } else if (raw.ss_family == AF_UNIX) {
        const auto& un = reinterpret_cast<const sockaddr_un&>(raw);
        const std::size_t header = offsetof(sockaddr_un, sun_path);
        if (length > header) {
            const std::size_t room = length - header;
            const bool abstract = un.sun_path[0] == '\0';
            try {
                std::string path{un.sun_path, abstract ? room : strnlen(un.sun_path, room)};
                if (abstract) path.front() = '@';
                address.path_ = std::make_shared<const std::string>(std::move(path));
            } catch (const std::bad_alloc&) {
                return {};  // of an accepted client, say, which need not go for that
            }
        }
    }
    return address;
}

socklen_t Address::to_sockaddr(sockaddr_storage& raw) const noexcept {
    raw = {};
    switch (family()) {
    case AF_INET: std::memcpy(&raw, &inet_.v4, sizeof inet_.v4); return sizeof inet_.v4;
    case AF_INET6: std::memcpy(&raw, &inet_.v6, sizeof inet_.v6); return sizeof inet_.v6;
    case AF_UNIX: {
        auto& un = reinterpret_cast<sockaddr_un&>(raw);
        un.sun_family = AF_UNIX;
        std::memcpy(un.sun_path, path().data(), path().size());
        const std::size_t header = offsetof(sockaddr_un, sun_path);
        if (path().front() != '@') return static_cast<socklen_t>(header + path().size() + 1);
        un.sun_path[0] = '\0';  // an abstract name is as long as the length says, unix(7)
        return static_cast<socklen_t>(header + path().size());
    }
    default: return sizeof raw.ss_family;
    }
}

int Address::family() const noexcept { return path_ ? AF_UNIX : inet_.any.sa_family; }

const std::string& Address::path() const noexcept {
    static const std::string none;
    return path_ ? *path_ : none;
}

std::uint16_t Address::port() const noexcept {
    switch (family()) {
    case AF_INET: return ntohs(inet_.v4.sin_port);
    case AF_INET6: return ntohs(inet_.v6.sin6_port);
    default: return 0;
    }
}

Address Address::with_port(std::uint16_t port) const {
    Address other = *this;
    if (family() == AF_INET) other.inet_.v4.sin_port = htons(port);
    if (family() == AF_INET6) other.inet_.v6.sin6_port = htons(port);
    return other;
}

bool Address::is_wildcard() const noexcept {
    switch (family()) {
    case AF_INET: return inet_.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    case AF_INET6: return IN6_IS_ADDR_UNSPECIFIED(&inet_.v6.sin6_addr);
    default: return false;
    }
}

bool Address::is_loopback() const noexcept {
    switch (family()) {
    case AF_INET: return (ntohl(inet_.v4.sin_addr.s_addr) >> 24) == 127;
    case AF_INET6: return IN6_IS_ADDR_LOOPBACK(&inet_.v6.sin6_addr);
    default: return false;
    }
}

std::string Address::to_string() const {
    char host[INET6_ADDRSTRLEN] = "";
    switch (family()) {
    case AF_INET:
        inet_ntop(AF_INET, &inet_.v4.sin_addr, host, sizeof host);
        return fmt::format("{}:{}", host, port());
    case AF_INET6: {
        inet_ntop(AF_INET6, &inet_.v6.sin6_addr, host, sizeof host);
        const std::uint32_t scope = inet_.v6.sin6_scope_id;
        if (scope == 0) return fmt::format("[{}]:{}", host, port());
        char name[IF_NAMESIZE] = "";
        if (if_indextoname(scope, name) == nullptr) {
            return fmt::format("[{}%{}]:{}", host, scope, port());
        }
        return fmt::format("[{}%{}]:{}", host, name, port());
    }
    default: return fmt::format("{}{}", unix_prefix, escaped(path()));
    }
}

bool operator==(const Address& a, const Address& b) noexcept {
    if (a.family() != b.family()) return false;
    switch (a.family()) {
    case AF_INET:
        return a.inet_.v4.sin_port == b.inet_.v4.sin_port &&
               a.inet_.v4.sin_addr.s_addr == b.inet_.v4.sin_addr.s_addr;
    case AF_INET6:
        return a.inet_.v6.sin6_port == b.inet_.v6.sin6_port &&
               a.inet_.v6.sin6_scope_id == b.inet_.v6.sin6_scope_id &&
               IN6_ARE_ADDR_EQUAL(&a.inet_.v6.sin6_addr, &b.inet_.v6.sin6_addr);
    default: return a.path() == b.path();
    }
}

}  // namespace eplb
