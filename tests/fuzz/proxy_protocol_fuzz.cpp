// Any bytes at all as the beginning of a connection, against the promises of proxy_protocol.hpp.

#include "protocol/proxy_protocol.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <span>
#include <string_view>

using eplb::AcceptProxy;
using eplb::Address;
using eplb::ProxyHeader;
using eplb::ProxyParse;
using eplb::ProxyTlvs;
using eplb::SendProxy;
using Bytes = std::span<const std::byte>;
using Status = eplb::ProxyParse::Status;

namespace {

// assert() may be compiled out; what is promised here may not.
void require(bool fact, std::string_view promise) {
    if (fact) return;
    fmt::print(stderr, "broken promise: {}\n", promise);
    std::abort();
}

// In a block of its own, so that a sanitizer sees a read beyond `bytes`.
ProxyParse parse_exactly(Bytes bytes, AcceptProxy accepted) {
    const auto exact = std::make_unique<std::byte[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    return parse_proxy_header({exact.get(), bytes.size()}, accepted);
}

bool same(const ProxyHeader& a, const ProxyHeader& b) {
    return a.local == b.local && a.source == b.source && a.destination == b.destination &&
           a.authority == b.authority && a.unique_id == b.unique_id && a.crc32c == b.crc32c;
}

bool same(const ProxyParse& a, const ProxyParse& b) {
    return a.status == b.status && a.header_bytes == b.header_bytes && a.problem == b.problem &&
           same(a.header, b.header);
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

void check_header(const ProxyHeader& header) {
    require(header.authority.size() <= eplb::max_proxy_authority, "an authority has a limit");
    require(header.unique_id.size() <= eplb::max_proxy_unique_id, "a unique id has a limit");
    require(is_printable(header.source.to_string()), "a source cannot write into a log");
    require(is_printable(header.destination.to_string()), "nor can a destination");
    if (!header.local) return;
    require(header.source == Address{} && header.destination == Address{}, "local: no addresses");
}

// A header that is there as a whole says the same without what is behind it, and nothing else than
// "more" when it is cut.
void check_complete(Bytes received, AcceptProxy accepted, const ProxyParse& result) {
    require(result.header_bytes <= received.size(), "a header is within what was received");
    require(result.header_bytes <= eplb::max_proxy_header_bytes, "a header has a limit");
    check_header(result.header);
    const Bytes header = received.first(result.header_bytes);
    require(same(parse_exactly(header, accepted), result), "payload is never looked at");
    for (std::size_t size = 0; size < header.size(); ++size) {
        require(parse_proxy_header(header.first(size), accepted).status == Status::incomplete,
                "a header that is cut is incomplete");
    }
}

// Nothing that comes later makes it good.
void check_bad(Bytes received, AcceptProxy accepted, const ProxyParse& result) {
    require(!result.problem.empty() && result.header_bytes == 0, "bad: there is a reason");
    for (const char* const more : {"\r\n", " ", "x"}) {
        const auto longer = std::make_unique<std::byte[]>(received.size() + 2);
        std::copy(received.begin(), received.end(), longer.get());
        const std::string_view tail{more};
        std::transform(tail.begin(), tail.end(), longer.get() + received.size(),
                       [](char c) { return static_cast<std::byte>(c); });
        require(
            parse_proxy_header({longer.get(), received.size() + tail.size()}, accepted).status ==
                Status::bad,
            "once bad, always bad");
    }
}

bool is_inet(const Address& address) {
    return address.family() == AF_INET || address.family() == AF_INET6;
}

// A file called "@" is what Address knows no way to say: it takes an "@" for the zero byte of an
// abstract name, and one that is empty for a socket without a name.
Address told(const Address& address) { return address.path() == "@" ? Address{} : address; }

// What we send for the client of `header` is read as what it was.
void check_round_trip(const ProxyHeader& header, bool crc32c) {
    std::array<std::byte, eplb::max_encoded_proxy_header> buffer;
    const ProxyTlvs tlvs{crc32c, header.unique_id, header.authority};
    for (const SendProxy version : {SendProxy::v1, SendProxy::v2}) {
        const std::size_t size =
            encode_proxy_header(version, header.source, header.destination, tlvs, buffer);
        const Bytes sent = Bytes{buffer}.first(size);
        const AcceptProxy accepted = version == SendProxy::v1 ? AcceptProxy::v1 : AcceptProxy::v2;
        const ProxyParse back = parse_exactly(sent, accepted);
        require(back.status == Status::complete && back.header_bytes == size, "ours is valid");
        check_complete(sent, accepted, back);

        const bool inet = is_inet(header.source);
        require(inet == is_inet(header.destination), "both addresses are of one kind");
        const bool named = header.source.is_unix() || header.destination.is_unix();
        ProxyHeader expected;
        expected.local = !(inet || (named && version == SendProxy::v2));
        if (!expected.local) {
            expected.source = told(header.source);
            expected.destination = told(header.destination);
            if (version == SendProxy::v2) {
                expected.authority = header.authority;
                expected.unique_id = header.unique_id;
                expected.crc32c = crc32c;
            }
        }
        require(same(back.header, expected), "ours is read as it was");
    }
}

void check(Bytes received, AcceptProxy accepted) {
    const ProxyParse result = parse_exactly(received, accepted);
    switch (result.status) {
    case Status::incomplete:
        require(received.size() < eplb::max_proxy_header_bytes, "waiting has an end");
        return;
    case Status::bad: return check_bad(received, accepted, result);
    case Status::complete:
        check_complete(received, accepted, result);
        check_round_trip(result.header, false);
        check_round_trip(result.header, true);
        return;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes received = std::as_bytes(std::span{data, size});
    for (const AcceptProxy accepted :
         {AcceptProxy::off, AcceptProxy::v1, AcceptProxy::v2, AcceptProxy::any}) {
        check(received, accepted);
    }
    return 0;
}
