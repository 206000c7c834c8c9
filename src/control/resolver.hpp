#pragma once

#include "control/name_source.hpp"
#include "control/settings.hpp"

#include <optional>
#include <span>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// Asks the DNS, and /etc/hosts, with c-ares, entirely on a reactor: its sockets are watched, its
/// time limits are timers, and nothing waits. The one thing that it does at once is to read
/// /etc/hosts.
///
/// Which kinds of addresses are asked for is said by DnsValues::family. An SRV question asks for the
/// addresses of all hosts that the answer names; what the answer says of those itself is not believed.
class Resolver final : public NameSource {
public:
    /// An answer with more is not to be believed.
    static constexpr std::size_t most_targets = 1000;

    /// Reads /etc/resolv.conf and /etc/nsswitch.conf. Throws std::runtime_error.
    Resolver(Reactor& reactor, const DnsValues& values);
    ~Resolver() override;
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    void ask(const NameQuestion& question, Done done) override;

private:
    class Impl;
    Impl* impl_;  // which outlives us when it is running
};

struct ServiceRecords {
    std::vector<ServiceRecord> records;
    Duration ttl{0};  ///< the shortest, of aliases too
};

/// The SRV records of a DNS message; nothing if it is none, or is cut. A target "." (there is no such
/// service, RFC 2782) is left out. c-ares has a parser, but that drops the TTL.
[[nodiscard]] std::optional<ServiceRecords> parse_service_records(
    std::span<const unsigned char> message);

}  // namespace eplb::control
