#include "proxy/listener_conflicts.hpp"

namespace eplb {
namespace {

// [::] takes IPv4 as well, 0.0.0.0 does not take IPv6.
bool takes_all_of(const Address& wildcard, const Address& other) noexcept {
    return wildcard.is_wildcard() && !other.is_unix() && wildcard.port() == other.port() &&
           (wildcard.family() == AF_INET6 || other.family() == AF_INET);
}

bool has_any_port(const Address& address) noexcept {
    return !address.is_unix() && address.port() == 0;
}

}  // namespace

bool overlap(const Address& a, const Address& b) noexcept {
    if (has_any_port(a) || has_any_port(b)) return false;
    return a == b || takes_all_of(a, b) || takes_all_of(b, a);
}

}  // namespace eplb
