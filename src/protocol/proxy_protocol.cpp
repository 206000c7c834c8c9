// Which version a header is of; the rest is in proxy_v1, proxy_v2 and proxy_encode.
#include "protocol/proxy_protocol.hpp"

#include "protocol/proxy_v1.hpp"
#include "protocol/proxy_v2.hpp"

namespace eplb {

using namespace proxy_wire;

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

}  // namespace eplb
