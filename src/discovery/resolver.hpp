#pragma once

#include "discovery/dns_options.hpp"
#include "discovery/hosts_file.hpp"
#include "discovery/name_source.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// How this system wants names to be asked for: resolv.conf(5), the "hosts" of nsswitch.conf(5), and
/// hosts(5).
struct SystemNames {
    std::vector<Address> servers;
    std::vector<std::string> search;  ///< domains, in which names without dots are looked for first
    std::size_t ndots = 1;            ///< a name with so many dots is first looked for as it is
    bool use_hosts = true;            ///< what hosts(5) says comes before the DNS
    std::string hosts_path = "/etc/hosts";
    std::shared_ptr<const Hosts> hosts = std::make_shared<Hosts>();

    /// May block, so that is nothing for a reactor's thread. Throws std::runtime_error.
    [[nodiscard]] static SystemNames read();
};

/// Asks the DNS with c-ares, and looks into hosts(5), entirely on a reactor: its sockets are watched,
/// its time limits are timers, files are read on a thread of their own, and nothing waits.
///
///  * Which kinds of addresses are asked for is said by DnsOptions::family. Of `both`, one that cannot be
///    asked for is told in NameAnswer::unanswered, beside the addresses of the other.
///  * An SRV question asks for the addresses of all hosts that the answer names; what the answer says of
///    those itself is not believed. Hosts that cannot be asked for are told likewise.
///  * Names of hosts and services are looked for in the domains of SystemNames::search; not those that an
///    answer names, which are complete.
///  * A server that fails or refuses is not asked again for the same, but the others are; one that is
///    silent is asked again, without EDNS, which some drop; one that does not know EDNS, at once.
///  * At most most_in_flight questions are asked at a time; further ones wait.
class Resolver final : public NameSource {
public:
    /// An answer with more is not to be believed.
    static constexpr std::size_t most_targets = 1000;

    static constexpr std::size_t most_in_flight = 64;

    /// DnsOptions::servers, if there are any, take the place of `system`'s. Throws std::runtime_error.
    Resolver(Reactor& reactor, const DnsOptions& values, SystemNames system = SystemNames::read());
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

struct AddressRecords {
    std::vector<Address> addresses;  ///< without ports
    Duration ttl{0};                 ///< the shortest, of aliases too
};

/// The same for the A records of a message, or, AF_INET6, the AAAA records.
[[nodiscard]] std::optional<AddressRecords> parse_address_records(
    std::span<const unsigned char> message, int family);

}  // namespace eplb::control
