#include "protocol/proxy_v1.hpp"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <netinet/in.h>
#include <optional>
#include <utility>

namespace eplb::proxy_wire {
namespace {

constexpr std::size_t max_v1_bytes = 107;  // with CRLF

struct V1Kind {
    std::string_view beginning;
    int family;  // AF_UNSPEC: the connection's own addresses
};
constexpr std::array<V1Kind, 3> v1_kinds{{
    {"PROXY TCP4 ", AF_INET},
    {"PROXY TCP6 ", AF_INET6},
    {"PROXY UNKNOWN", AF_UNSPEC},
}};

// `line` is what there is, and at most max_v1_bytes of it.
ProxyParse without_crlf(std::string_view line) {
    if (line.size() < max_v1_bytes) return incomplete();
    return bad("v1: no CRLF within 107 bytes");
}

// "The receiver must ignore anything presented before the CRLF is found": a CR or an LF that stands
// alone does not end the line, and does no harm in it.
ProxyParse parse_v1_unknown(std::string_view line, const V1Kind& kind) {
    const std::string_view rest = line.substr(kind.beginning.size());
    if (!begins_like(rest, " ") && !begins_like(rest, "\r\n")) {
        return bad("v1: neither a space nor CRLF after UNKNOWN");
    }
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) return without_crlf(line);
    return complete(kind.beginning.size() + end + 2, local_header());
}

// Source, destination, and the ports of both, with exactly one space between them.
std::optional<std::array<std::string_view, 4>> split_v1_fields(std::string_view text) {
    std::array<std::string_view, 4> fields;
    for (std::string_view& field : fields) {
        const std::size_t space = text.find(' ');
        const bool is_last = &field == &fields.back();
        if (is_last != (space == std::string_view::npos)) return std::nullopt;
        field = text.substr(0, space);
        if (field.empty()) return std::nullopt;
        if (!is_last) text.remove_prefix(space + 1);
    }
    return fields;
}

std::optional<std::uint16_t> parse_v1_port(std::string_view digits) {
    if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
    std::uint16_t port = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, port);
    if (error != std::errc{} || rest != end) return std::nullopt;
    return port;
}

// inet_pton(3) is as strict as the specification: four decimal numbers, no leading zeros. It also
// takes ::ffff:1.2.3.4, which the specification has no words for, and HAProxy sends.
std::optional<Address> parse_v1_host(int family, std::string_view host, std::uint16_t port) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (host.size() >= text.size()) return std::nullopt;
    host.copy(text.data(), host.size());
    in6_addr raw{};
    if (::inet_pton(family, text.data(), &raw) != 1) return std::nullopt;
    return inet_address(family, &raw, port);
}

// nginx's stream module (1.22) names the family by the client alone, whom it may know from a header
// that it was sent itself: where it accepted may be of the other family, "TCP4 203.0.113.7 ::1 1234
// 80", or a Unix socket, "TCP4 203.0.113.7 unix:/run/x 1234 0". No header has words for an IP client
// and a Unix socket, and one that says nothing would lose the client: it becomes any address.
constexpr std::string_view v1_unix_prefix = "unix:";

std::optional<Address> parse_v1_destination(int family, std::string_view host, std::uint16_t port) {
    if (host.starts_with(v1_unix_prefix)) return inet_address(family, &in6addr_any, 0);
    return parse_v1_host(host.find(':') == host.npos ? AF_INET : AF_INET6, host, port);
}

// Of the first byte that no field can have; it ends the line, or spoils it: a lone CR or LF, a NUL, an
// escape sequence. The path of a Unix socket may have any byte but those, and blanks.
std::size_t end_of_v1_fields(std::string_view line, std::size_t fields_at) {
    constexpr std::string_view usual{"0123456789abcdefABCDEF:. "};
    const std::size_t blank = line.find(' ', fields_at);
    const std::size_t end = line.find_first_not_of(usual, fields_at);
    if (blank == std::string_view::npos || end < blank) return end;
    const std::string_view destination = line.substr(blank + 1);
    if (destination.empty() || !begins_like(destination, v1_unix_prefix)) return end;
    std::size_t path_end = blank + 1;
    while (path_end < line.size() && line[path_end] > ' ' && line[path_end] < '\x7f') ++path_end;
    return line.find_first_not_of(usual, path_end);
}

ProxyParse parse_v1_tcp(std::string_view line, const V1Kind& kind) {
    const std::size_t end = end_of_v1_fields(line, kind.beginning.size());
    if (end == std::string_view::npos) return without_crlf(line);
    if (!begins_like(line.substr(end), "\r\n")) {
        return bad("v1: a byte that is in no address or port, and not in CRLF");
    }
    if (line.size() - end < 2) return without_crlf(line);

    const auto fields =
        split_v1_fields(line.substr(kind.beginning.size(), end - kind.beginning.size()));
    if (!fields) return bad("v1: not two addresses and two ports with one space between each");
    const auto& [source, destination, source_port, destination_port] = *fields;

    const std::optional<std::uint16_t> from_port = parse_v1_port(source_port);
    const std::optional<std::uint16_t> to_port = parse_v1_port(destination_port);
    if (!from_port || !to_port) {
        return bad("v1: a port is not a number from 0 to 65535 without leading zeros");
    }
    const std::optional<Address> from = parse_v1_host(kind.family, source, *from_port);
    const std::optional<Address> to = parse_v1_destination(kind.family, destination, *to_port);
    if (!from || !to) return bad("v1: an address is not one, or the client's of another family");

    ProxyHeader header;
    header.source = *from;
    header.destination = *to;
    return complete(end + 2, std::move(header));
}

}  // namespace

ProxyParse parse_v1(std::string_view received) {
    if (!begins_like(received, v1_signature)) return bad("v1: no \"PROXY \" at the beginning");
    const std::string_view line = received.substr(0, max_v1_bytes);
    for (const V1Kind& kind : v1_kinds) {
        if (!begins_like(line, kind.beginning)) continue;
        if (line.size() < kind.beginning.size()) return incomplete();
        return kind.family == AF_UNSPEC ? parse_v1_unknown(line, kind) : parse_v1_tcp(line, kind);
    }
    return bad("v1: the protocol is not TCP4, TCP6 or UNKNOWN");
}

}  // namespace eplb::proxy_wire
