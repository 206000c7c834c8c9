// What is said of the client in front of its bytes: the PROXY header that it sends, and the one that its backend gets.
#include "proxy/session.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace eplb {
namespace {

// A proxy sends its header at once; whoever only connects does not stay.
constexpr Duration header_timeout = std::chrono::seconds{10};

}  // namespace

Next Session::expect_header() {
    if (!service().spec().access.trusted_proxies.contains(client_))
        return end(EndReason::untrusted_proxy);
    phase_ = Phase::greeting;
    timer().start(header_timeout);
    return read_header();
}

// What is behind the header is not touched: the header is looked at where it lies, as often as more
// of it comes, and taken out when it is whole.
Next Session::read_header() {
    Watch& watch = duplex_.client.watch;
    if (watch.failed()) return end(EndReason::client_rst);
    if (!watch.readable()) return wait_for_header();
    // One more than a header has, to see whether something is behind it.
    const std::span<std::byte> buffer =
        service().relay_context().scratch().first(max_proxy_header_bytes + 1);
    const sys::IoResult peeked = sys::peek(watch.fd(), buffer);
    switch (peeked.status) {
    case sys::Io::would_block: watch.clear_readable(); return wait_for_header();
    case sys::Io::error: return end(EndReason::client_rst, peeked.error);
    case sys::Io::eof: return header_is_bad("the connection ended before it");
    case sys::Io::moved: break;
    }
    const ProxyParse parsed =
        parse_proxy_header(buffer.first(peeked.bytes), service().config().accept_proxy);
    switch (parsed.status) {
    case ProxyParse::Status::bad: return header_is_bad(parsed.problem);
    case ProxyParse::Status::incomplete:
        return watch.hung_up() ? header_is_bad("the connection ended within it")
                               : wait_for_header();
    case ProxyParse::Status::complete: break;
    }
    if (sys::recv(watch.fd(), buffer.first(parsed.header_bytes)).bytes != parsed.header_bytes)
        return end(EndReason::client_rst);
    timer().cancel();
    Rare& told = rare();
    told.header = parsed.header;
    told.proxy = client_;
    told.nothing_behind_it = peeked.bytes == parsed.header_bytes;
    if (told.nothing_behind_it) note_drained();
    if (!parsed.header.local) client_ = parsed.header.source;
    return admit();
}

// A header that came in time is in time, even if it is we who are late to look.
Next Session::wait_for_header() noexcept {
    return has_passed(header_timeout, duplex_.started()) ? end(EndReason::proxy_header_timeout)
                                                         : Next::wait;
}

Next Session::header_is_bad(std::string_view problem) {
    rare().problem = problem;
    return end(EndReason::bad_proxy_header);
}

Next Session::admit() {
    const ServiceSpec& spec = service().spec();
    if (!spec.access.admits(client_)) return end(EndReason::denied);
    if (spec.source_limits) {
        SourceLimits::Decision decision = spec.source_limits->admit(client_, host_.reactor().now());
        if (decision.first_without_place) host_.on_sources_without_place(service());
        if (decision.admission == Admission::too_many) return end(EndReason::source_connections);
        if (decision.admission == Admission::too_fast) return end(EndReason::source_rate);
        ticket_ = std::move(decision.ticket);
    }
    return connect_to_next();
}

// Where the client has sent something already, the header waits for it, and both go in one segment.
// Only then: the kernel keeps a segment that is said to be followed by more for 200 ms (MSG_MORE in
// send(2)), and whoever speaks only when he has the header would be that late. Returns 0 or an errno.
int Session::send_header() {
    const ServiceConfig& config = service().config();
    ProxyTlvs tlvs{.crc32c = config.proxy_tlvs.crc32c, .unique_id = {}, .authority = {}};
    if (config.proxy_tlvs.unique_id) {
        Rare& own = rare();
        if (own.unique_id.empty()) {
            own.unique_id =
                own.header.unique_id.empty() ? service().make_unique_id() : own.header.unique_id;
        }
        tlvs.unique_id = own.unique_id;
    }
    if (config.proxy_tlvs.authority && rare_) tlvs.authority = rare_->header.authority;

    std::array<std::byte, max_encoded_proxy_header> buffer;
    const std::size_t size =
        encode_proxy_header(config.send_proxy, client_, destination(), tlvs, buffer);
    const std::span<const std::byte> header = std::span{buffer}.first(size);
    const int fd = duplex_.server.fd.get();
    const bool more_follows =
        duplex_.client.watch.readable() && !(rare_ && rare_->nothing_behind_it);
    const sys::IoResult sent = more_follows ? sys::send_ahead(fd, header) : sys::send(fd, header);
    if (sent.bytes == size) return 0;
    return sent.status == sys::Io::error ? sent.error : ECONNABORTED;
}

// Where the client connected to, as far as it knows.
Address Session::destination() const noexcept {
    if (rare_ && rare_->proxy && !rare_->header.local) return rare_->header.destination;
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (sys::local_address(duplex_.client.fd.get(), raw, length) != 0) return frontend_.address;
    return Address::from(raw, length);
}

}  // namespace eplb
