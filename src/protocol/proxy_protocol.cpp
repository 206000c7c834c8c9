#include "protocol/proxy_protocol.hpp"

#include "base/crc32c.hpp"

#include <array>
#include <cassert>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace eplb {
namespace {

using Bytes = std::span<const std::byte>;

std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One of the two is the beginning of the other: `received` is `expected`, perhaps cut, perhaps with
// more behind it.
bool begins_like(std::string_view received, std::string_view expected) noexcept {
    return received.substr(0, expected.size()) == expected.substr(0, received.size());
}

ProxyParse incomplete() { return {}; }

ProxyParse bad(std::string_view problem) {
    ProxyParse result;
    result.status = ProxyParse::Status::bad;
    result.problem = problem;
    return result;
}

ProxyParse complete(std::size_t header_bytes, ProxyHeader header) {
    ProxyParse result;
    result.status = ProxyParse::Status::complete;
    result.header_bytes = header_bytes;
    result.header = std::move(header);
    return result;
}

ProxyHeader local_header() {
    ProxyHeader header;
    header.local = true;
    return header;
}

template <typename Raw>
Address address_from(const Raw& raw, std::size_t length = sizeof(Raw)) {
    sockaddr_storage storage{};
    std::memcpy(&storage, &raw, sizeof raw);
    return Address::from(storage, static_cast<socklen_t>(length));
}

// `host` is in network byte order, and as long as the family's are.
Address inet_address(int family, const void* host, std::uint16_t port) {
    if (family == AF_INET) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, host, sizeof v4.sin_addr);
        return address_from(v4);
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, host, sizeof v6.sin6_addr);
    return address_from(v6);
}

// --- Version 1: a line of text, specification 2.1.

constexpr std::string_view v1_signature = "PROXY ";
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

// --- Version 2: binary, specification 2.2. Numbers are in network byte order.
//
//   0         12               13                  14      16
//   signature version|command  family|transport    length  addresses, then TLVs: `length` bytes

constexpr std::string_view v2_signature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t command_at = 12;
constexpr std::size_t family_at = 13;
constexpr std::size_t length_at = 14;
constexpr std::size_t v2_fixed_bytes = 16;

constexpr unsigned v2_version = 2;
enum Command : unsigned { command_local = 0, command_proxy = 1 };
enum Family : unsigned { family_unspec = 0, family_inet = 1, family_inet6 = 2, family_unix = 3 };
enum Transport : unsigned { transport_unspec = 0, transport_stream = 1, transport_dgram = 2 };
enum Tlv : unsigned { tlv_authority = 0x02, tlv_crc32c = 0x03, tlv_unique_id = 0x05 };

constexpr std::array<std::size_t, 4> host_bytes{0, 4, 16, 108};  // by Family
constexpr std::size_t tlv_head_bytes = 3;                        // type and length
constexpr std::size_t crc32c_bytes = 4;

unsigned byte_at(Bytes bytes, std::size_t at) noexcept {
    return std::to_integer<unsigned>(bytes[at]);
}
std::uint16_t u16_at(Bytes bytes, std::size_t at) noexcept {
    return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}
std::uint32_t u32_at(Bytes bytes, std::size_t at) noexcept {
    return std::uint32_t{u16_at(bytes, at)} << 16 | u16_at(bytes, at + 2);
}

unsigned version_of(Bytes header) noexcept { return byte_at(header, command_at) >> 4; }
unsigned command_of(Bytes header) noexcept { return byte_at(header, command_at) & 0xf; }
unsigned family_of(Bytes header) noexcept { return byte_at(header, family_at) >> 4; }
unsigned transport_of(Bytes header) noexcept { return byte_at(header, family_at) & 0xf; }

// How long the addresses are, and the ports if there are any. 0: nobody can tell; in a LOCAL header
// the family "is ignored", and an UNSPEC family or transport has no layout. Then it is unknown
// where TLVs begin, too, and the whole block is skipped, as the specification has it; a checksum
// goes unseen.
std::size_t address_bytes(Bytes header) noexcept {
    if (command_of(header) == command_local) return 0;
    const unsigned family = family_of(header);
    if (family == family_unspec || transport_of(header) == transport_unspec) return 0;
    return 2 * host_bytes[family] + (family == family_unix ? 0 : 4);
}

// What is wrong with the fixed part, of which perhaps not all is there yet; or nothing.
std::string_view problem_of_v2_start(Bytes start) noexcept {
    if (!begins_like(as_text(start), v2_signature)) return "v2: wrong signature";
    if (start.size() <= command_at) return {};
    if (version_of(start) != v2_version) return "v2: the version is not 2";
    if (command_of(start) > command_proxy) return "v2: unknown command";

    if (start.size() <= family_at) return {};
    if (command_of(start) == command_proxy) {
        // "Other values [...] must be rejected as invalid by receivers."
        if (family_of(start) > family_unix) return "v2: unknown address family";
        if (transport_of(start) > transport_dgram) return "v2: unknown transport protocol";
    }

    if (start.size() < v2_fixed_bytes) return {};
    const std::size_t length = u16_at(start, length_at);
    static_assert(max_proxy_header_bytes == 4096, "the text below says so");
    if (length > max_proxy_header_bytes - v2_fixed_bytes) return "v2: more than 4096 bytes";
    if (length < address_bytes(start)) return "v2: too short for its addresses";
    return {};
}

// A path ends at the first zero byte; an abstract name, which begins with one, where the padding
// begins, since nothing tells how long it is. All padding: a socket without a name.
Address unix_address(Bytes field) {
    sockaddr_un un{};
    static_assert(sizeof un.sun_path == host_bytes[family_unix]);
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, field.data(), sizeof un.sun_path);
    const std::size_t last = as_text(field).find_last_not_of('\0');
    const std::size_t used = last == std::string_view::npos ? 0 : last + 1;
    return address_from(un, offsetof(sockaddr_un, sun_path) + used);
}

void read_addresses(Bytes whole, ProxyHeader& header) {
    const unsigned family = family_of(whole);
    const std::size_t size = host_bytes[family];
    const Bytes source = whole.subspan(v2_fixed_bytes, size);
    const Bytes destination = whole.subspan(v2_fixed_bytes + size, size);
    if (family == family_unix) {
        header.source = unix_address(source);
        header.destination = unix_address(destination);
        return;
    }
    const std::size_t ports_at = v2_fixed_bytes + 2 * size;
    const int inet_family = family == family_inet ? AF_INET : AF_INET6;
    header.source = inet_address(inet_family, source.data(), u16_at(whole, ports_at));
    header.destination = inet_address(inet_family, destination.data(), u16_at(whole, ports_at + 2));
}

// The checksum is that of the whole header with zeros in its own place. In network byte order like
// every other number, as HAProxy and AWS send it; RFC 4960, for SCTP, would turn it around.
std::uint32_t checksum_of(Bytes whole, std::size_t field_at) noexcept {
    constexpr std::array<std::byte, crc32c_bytes> zeros{};
    const std::uint32_t before = crc32c(whole.first(field_at));
    return crc32c(whole.subspan(field_at + crc32c_bytes), crc32c(zeros, before));
}

// Whatever we have no use for is skipped: NOOP, ALPN, SSL, types that are not invented yet. Of two
// of a kind the first counts, as in HAProxy and nginx: the specification does not say. But there is
// one checksum field: two could not both be right.
std::string_view read_tlv(Bytes whole, unsigned type, std::size_t value_at, std::size_t size,
                          ProxyHeader& header) {
    const std::string_view value = as_text(whole.subspan(value_at, size));
    switch (type) {
    case tlv_authority:
        if (size > max_proxy_authority) return "v2: an authority of more than 255 bytes";
        if (header.authority.empty()) header.authority = value;
        return {};
    case tlv_unique_id:
        if (size > max_proxy_unique_id) return "v2: a unique id of more than 128 bytes";
        if (header.unique_id.empty()) header.unique_id = value;
        return {};
    case tlv_crc32c:
        if (size != crc32c_bytes) return "v2: a checksum that is not 4 bytes long";
        if (header.crc32c) return "v2: two checksums";
        if (checksum_of(whole, value_at) != u32_at(whole, value_at)) return "v2: wrong checksum";
        header.crc32c = true;
        return {};
    default: return {};
    }
}

// `whole` ends where the header ends: payload that came along is out of reach. (HAProxy's TLV loop
// went on into it once, 488ee7fb6.)
std::string_view read_tlvs(Bytes whole, std::size_t at, ProxyHeader& header) {
    while (at < whole.size()) {
        if (whole.size() - at < tlv_head_bytes) return "v2: stray bytes after the last TLV";
        const unsigned type = byte_at(whole, at);
        const std::size_t size = u16_at(whole, at + 1);
        at += tlv_head_bytes;
        if (whole.size() - at < size) return "v2: a TLV is longer than the header";
        const std::string_view problem = read_tlv(whole, type, at, size, header);
        if (!problem.empty()) return problem;
        at += size;
    }
    return {};
}

ProxyParse parse_v2(Bytes received) {
    const std::string_view start_problem = problem_of_v2_start(received);
    if (!start_problem.empty()) return bad(start_problem);
    if (received.size() < v2_fixed_bytes) return incomplete();
    const std::size_t header_bytes = v2_fixed_bytes + u16_at(received, length_at);
    if (received.size() < header_bytes) return incomplete();

    const Bytes whole = received.first(header_bytes);
    const std::size_t addresses = address_bytes(whole);
    if (addresses == 0) return complete(header_bytes, local_header());

    ProxyHeader header;
    const std::string_view problem = read_tlvs(whole, v2_fixed_bytes + addresses, header);
    if (!problem.empty()) return bad(problem);
    // DGRAM: a receiver "falls back to the UNSPEC mode for the valid combinations above that it
    // does not support", which is to "use the real endpoint addresses".
    header.local = transport_of(whole) != transport_stream;
    if (!header.local) read_addresses(whole, header);
    return complete(header_bytes, std::move(header));
}

// --- Writing.

class Writer {
public:
    /// `out` is large enough for every header: max_encoded_proxy_header.
    explicit Writer(std::span<std::byte> out) noexcept : out_{out} {}

    void bytes(const void* data, std::size_t size) noexcept {
        assert(size <= out_.size() - size_);
        if (size > 0) std::memcpy(out_.data() + size_, data, size);
        size_ += size;
    }
    void text(std::string_view value) noexcept { bytes(value.data(), value.size()); }
    void u8(unsigned value) noexcept {
        const std::byte byte{static_cast<unsigned char>(value)};
        bytes(&byte, 1);
    }
    void u16(std::size_t value) noexcept {
        u8(static_cast<unsigned>(value >> 8 & 0xff));
        u8(static_cast<unsigned>(value & 0xff));
    }
    void number(unsigned value, int base = 10) noexcept {
        std::array<char, 10> digits{};
        char* const begin = digits.data();
        const auto [end, error] = std::to_chars(begin, begin + digits.size(), value, base);
        text({begin, static_cast<std::size_t>(end - begin)});
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] Bytes written() const noexcept { return out_.first(size_); }
    /// Writes at `at`, over what is there.
    [[nodiscard]] Writer over(std::size_t at) noexcept { return Writer{out_.subspan(at)}; }

private:
    std::span<std::byte> out_;
    std::size_t size_ = 0;
};

bool is_inet(const Address& address) noexcept {
    return address.family() == AF_INET || address.family() == AF_INET6;
}

// The family that can tell both, or AF_UNSPEC. IPv4 becomes IPv6 (::ffff:1.2.3.4) next to IPv6: a
// header has one family for both addresses, this is how the kernel itself shows an IPv4 peer to an
// IPv6 socket, receivers turn it back, and HAProxy does so too. The client of a Unix socket
// commonly has no name.
int common_family(const Address& a, const Address& b) noexcept {
    if (is_inet(a) && is_inet(b)) return a.family() == b.family() ? a.family() : AF_INET6;
    if (is_inet(a) || is_inet(b)) return AF_UNSPEC;
    return a.is_unix() || b.is_unix() ? AF_UNIX : AF_UNSPEC;
}

in_addr v4_host(const Address& address) noexcept {
    sockaddr_storage raw{};
    (void)address.to_sockaddr(raw);
    return reinterpret_cast<const sockaddr_in&>(raw).sin_addr;
}

// A scope (fe80::1%eth0) means nothing on another machine, and is not told.
in6_addr v6_host(const Address& address) noexcept {
    if (address.family() == AF_INET) {
        in6_addr mapped{};
        const in_addr v4 = v4_host(address);
        mapped.s6_addr[10] = mapped.s6_addr[11] = 0xff;
        std::memcpy(&mapped.s6_addr[12], &v4, sizeof v4);
        return mapped;
    }
    sockaddr_storage raw{};
    (void)address.to_sockaddr(raw);
    return reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr;
}

// inet_ntop(3) writes ::ffff:1.2.3.4, but the specification knows hexadecimal digits only, and so
// may a receiver: ::ffff:102:304.
void write_v6_text(const in6_addr& host, Writer& out) noexcept {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    std::string_view text = ::inet_ntop(AF_INET6, &host, buffer.data(), buffer.size());
    if (text.find('.') == std::string_view::npos) return out.text(text);

    out.text(text.substr(0, text.rfind(':') + 1));
    const auto group_at = [&host](std::size_t at) {
        return unsigned{host.s6_addr[at]} << 8 | host.s6_addr[at + 1];
    };
    out.number(group_at(12), 16);
    out.text(":");
    out.number(group_at(14), 16);
}

void write_host_text(int family, const Address& address, Writer& out) noexcept {
    if (family == AF_INET6) return write_v6_text(v6_host(address), out);
    std::array<char, INET_ADDRSTRLEN> buffer{};
    const in_addr host = v4_host(address);
    out.text(::inet_ntop(AF_INET, &host, buffer.data(), buffer.size()));
}

std::size_t encode_v1(const Address& source, const Address& destination,
                      std::span<std::byte> buffer) noexcept {
    Writer out{buffer};
    const int family = common_family(source, destination);
    if (family != AF_INET && family != AF_INET6) {
        out.text("PROXY UNKNOWN\r\n");
        return out.size();
    }
    out.text(family == AF_INET ? "PROXY TCP4 " : "PROXY TCP6 ");
    write_host_text(family, source, out);
    out.text(" ");
    write_host_text(family, destination, out);
    out.text(" ");
    out.number(source.port());
    out.text(" ");
    out.number(destination.port());
    out.text("\r\n");
    return out.size();
}

void write_v2_start(unsigned command, unsigned family, unsigned transport, Writer& out) noexcept {
    out.text(v2_signature);
    out.u8(v2_version << 4 | command);
    out.u8(family << 4 | transport);
    out.u16(0);  // length
}

// What HAProxy sends, too, when it cannot tell the addresses. PROXY with UNSPEC would say better
// what it is, but "the receiver is free [...] to reject" that, and HAProxy does; LOCAL it "must
// accept". Either way the connection's own addresses count. "It should not present any address",
// and whatever else is behind a LOCAL is discarded: no TLVs.
std::size_t encode_v2_local(std::span<std::byte> buffer) noexcept {
    Writer out{buffer};
    write_v2_start(command_local, family_unspec, transport_unspec, out);
    return out.size();
}

void write_unix_address(const Address& address, Writer& out) noexcept {
    sockaddr_storage raw{};
    (void)address.to_sockaddr(raw);  // zeros behind the name
    out.bytes(reinterpret_cast<const sockaddr_un&>(raw).sun_path, host_bytes[family_unix]);
}

void write_v2_addresses(int family, const Address& source, const Address& destination,
                        Writer& out) noexcept {
    for (const Address* const address : {&source, &destination}) {
        if (family == AF_UNIX) {
            write_unix_address(*address, out);
        } else if (family == AF_INET) {
            const in_addr host = v4_host(*address);
            out.bytes(&host, sizeof host);
        } else {
            const in6_addr host = v6_host(*address);
            out.bytes(&host, sizeof host);
        }
    }
    if (family == AF_UNIX) return;
    out.u16(source.port());
    out.u16(destination.port());
}

void write_text_tlv(unsigned type, std::string_view value, std::size_t limit,
                    Writer& out) noexcept {
    if (value.empty() || value.size() > limit) return;
    out.u8(type);
    out.u16(value.size());
    out.text(value);
}

unsigned v2_family(int family) noexcept {
    switch (family) {
    case AF_INET: return family_inet;
    case AF_INET6: return family_inet6;
    default: return family_unix;
    }
}

std::size_t encode_v2(const Address& source, const Address& destination, const ProxyTlvs& tlvs,
                      std::span<std::byte> buffer) noexcept {
    const int family = common_family(source, destination);
    if (family == AF_UNSPEC) return encode_v2_local(buffer);

    Writer out{buffer};
    write_v2_start(command_proxy, v2_family(family), transport_stream, out);
    write_v2_addresses(family, source, destination, out);
    write_text_tlv(tlv_authority, tlvs.authority, max_proxy_authority, out);
    write_text_tlv(tlv_unique_id, tlvs.unique_id, max_proxy_unique_id, out);
    if (tlvs.crc32c) {
        out.u8(tlv_crc32c);
        out.u16(crc32c_bytes);
        out.u16(0);
        out.u16(0);
    }
    out.over(length_at).u16(out.size() - v2_fixed_bytes);
    if (tlvs.crc32c) {
        const std::size_t field_at = out.size() - crc32c_bytes;
        const std::uint32_t checksum = checksum_of(out.written(), field_at);
        Writer field = out.over(field_at);
        field.u16(checksum >> 16);
        field.u16(checksum & 0xffff);
    }
    return out.size();
}

}  // namespace

ProxyParse parse_proxy_header(std::span<const std::byte> received, AcceptProxy accepted) {
    switch (accepted) {
    case AcceptProxy::off: return complete(0, local_header());
    case AcceptProxy::v1: return parse_v1(as_text(received));
    case AcceptProxy::v2: return parse_v2(received);
    case AcceptProxy::any: break;
    }
    if (received.empty()) return incomplete();
    const char first = as_text(received).front();
    if (first == v1_signature.front()) return parse_v1(as_text(received));
    if (first == v2_signature.front()) return parse_v2(received);
    return bad("no PROXY protocol header");
}

std::size_t encode_proxy_header(SendProxy version, const Address& source,
                                const Address& destination, const ProxyTlvs& tlvs,
                                std::span<std::byte, max_encoded_proxy_header> out) noexcept {
    switch (version) {
    case SendProxy::off: return 0;
    case SendProxy::v1: return encode_v1(source, destination, out);
    case SendProxy::v2: return encode_v2(source, destination, tlvs, out);
    }
    return 0;
}

std::size_t encode_local_proxy_header(SendProxy version, const Address& own, const Address& peer,
                                      std::span<std::byte, max_encoded_proxy_header> out) noexcept {
    switch (version) {
    case SendProxy::off: return 0;
    // v1 has no LOCAL, and UNKNOWN "causes issues with servers that reject" it: a health check
    // "SHOULD build a valid PROXY line [...] with a getsockname()/getpeername() pair".
    case SendProxy::v1: return encode_v1(own, peer, out);
    case SendProxy::v2: return encode_v2_local(out);
    }
    return 0;
}

}  // namespace eplb
