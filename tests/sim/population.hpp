#pragma once

#include "sim/peer.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <vector>

namespace sim {

using Problems = std::vector<std::string>;

/// All the peers of a world, and what must be true of what they saw.
class Population {
public:
    explicit Population(Kernel& kernel) noexcept : kernel_{kernel} {}

    Peer& add(const Script& script, const std::string& kind);
    /// A client that dials `port` after `delay`.
    Peer& add_client(const Script& script, std::uint16_t port, const Link& link,
                     eplb::Duration delay = eplb::Duration{0});

    [[nodiscard]] Peer* find(std::uint64_t id) noexcept;
    [[nodiscard]] std::deque<Peer>& all() noexcept { return peers_; }
    [[nodiscard]] bool over() const noexcept;
    /// When the last of them closed its connection.
    [[nodiscard]] eplb::TimePoint over_at() const noexcept;

    /// The peer at the other end of the balancer: whose bytes `peer` received, or who received its
    /// bytes.
    [[nodiscard]] Peer* partner_of(Peer& peer) noexcept;

    /// Whatever ends there were: bytes come from one peer only, in order, and an end of stream
    /// comes behind the last byte of a stream that really ended.
    void check_integrity(Problems& problems);
    /// Everything that reached the balancer before an end or a reset reached the other peer. For
    /// worlds in which the balancer had no reason of its own to end a session, but for those of the
    /// peers that are `excused`.
    void check_completeness(Problems& problems, const std::set<const Peer*>& excused = {});

private:
    void check_direction(Peer& from, Peer& to, Problems& problems);
    void check_delivery(Peer& from, Peer& to, Problems& problems);

    Kernel& kernel_;
    std::deque<Peer> peers_;
};

}  // namespace sim
