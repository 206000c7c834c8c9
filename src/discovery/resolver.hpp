#pragma once

#include "discovery/dns_options.hpp"
#include "discovery/name_source.hpp"
#include "discovery/system_names.hpp"

#include <cstddef>

namespace eplb {
class Reactor;
}

namespace eplb::control {

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

}  // namespace eplb::control
