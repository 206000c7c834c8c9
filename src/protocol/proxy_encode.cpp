// Writing headers of both versions.
#include "protocol/proxy_v1.hpp"
#include "protocol/proxy_v2.hpp"

#include <arpa/inet.h>
#include <array>
#include <cassert>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <netinet/in.h>
#include <span>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>

namespace eplb {
namespace {

using namespace proxy_wire;

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
