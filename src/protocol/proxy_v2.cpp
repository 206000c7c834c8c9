#include "protocol/proxy_v2.hpp"

#include "base/crc32c.hpp"

#include <sys/un.h>
#include <utility>

namespace eplb::proxy_wire {
namespace {

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

}  // namespace

std::uint32_t checksum_of(Bytes whole, std::size_t field_at) noexcept {
    constexpr std::array<std::byte, crc32c_bytes> zeros{};
    const std::uint32_t before = crc32c(whole.first(field_at));
    return crc32c(whole.subspan(field_at + crc32c_bytes), crc32c(zeros, before));
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

}  // namespace eplb::proxy_wire
