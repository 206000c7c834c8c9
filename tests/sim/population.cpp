#include "sim/population.hpp"

#include <algorithm>

namespace sim {

Peer& Population::add(const Script& script, const std::string& kind) {
    const std::uint64_t number = peers_.size() + 1;
    // Streams must differ from each other in every place, and from those of other seeds.
    const std::uint64_t id = Random::mix(kernel_.options().seed * 1'000'003U + number) | 1U;
    return peers_.emplace_back(kernel_, id, script, kind + ' ' + std::to_string(number));
}

Peer& Population::add_client(const Script& script, std::uint16_t port, const Link& link,
                             eplb::Duration delay) {
    Peer& client = add(script, "client");
    kernel_.after(delay, [this, &client, port, link] { client.start(kernel_.dial(port, link)); });
    return client;
}

Peer* Population::find(std::uint64_t id) noexcept {
    const auto found = std::find_if(peers_.begin(), peers_.end(),
                                    [id](const Peer& peer) { return peer.id() == id; });
    return found == peers_.end() ? nullptr : &*found;
}

bool Population::over() const noexcept {
    return std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.over(); });
}

eplb::TimePoint Population::over_at() const noexcept {
    eplb::TimePoint last{};
    for (const Peer& peer : peers_) last = std::max(last, peer.over_at());
    return last;
}

Peer* Population::partner_of(Peer& peer) noexcept {
    if (peer.partner() != 0) return find(peer.partner());
    for (Peer& other : peers_) {
        if (other.partner() == peer.id()) return &other;
    }
    return nullptr;
}

void Population::check_integrity(Problems& problems) {
    for (Peer& peer : peers_) {
        if (!peer.complaint().empty()) problems.push_back(peer.complaint());
        Peer* const partner = partner_of(peer);
        if (peer.partner() != 0 && partner == nullptr) {
            problems.push_back(peer.name() + " received the stream of nobody: " + peer.describe());
        }
        if (partner == nullptr) continue;
        for (Peer& other : peers_) {
            if (&other == &peer || peer.partner() == 0 || other.partner() != peer.partner())
                continue;
            problems.push_back(peer.name() + " and " + other.name() + " received one stream");
        }
        if (partner->partner() != 0 && partner->partner() != peer.id()) {
            problems.push_back(peer.name() + " and " + partner->name() +
                               " are not joined to each other");
        }
        check_direction(*partner, peer, problems);
    }
}

void Population::check_direction(Peer& from, Peer& to, Problems& problems) {
    const auto complain = [&](const char* text) {
        problems.push_back(to.name() + ' ' + text + "\n    " + from.describe() + "\n    " +
                           to.describe());
    };
    if (to.received() > from.sent()) complain("received more than was sent");
    if (!to.saw_end()) return;
    const Endpoint* const at_balancer = from.endpoint()->peer();
    if (at_balancer == nullptr || !at_balancer->fin_arrived()) {
        complain("saw the end of a stream that did not end");
    } else if (to.received() != from.sent()) {
        complain("saw the end of a stream before its last byte");
    }
}

void Population::check_completeness(Problems& problems, const std::set<const Peer*>& excused) {
    for (Peer& peer : peers_) {
        Peer* const partner = partner_of(peer);
        if (partner == nullptr || excused.contains(&peer)) continue;
        check_delivery(*partner, peer, problems);
    }
}

void Population::check_delivery(Peer& from, Peer& to, Problems& problems) {
    if (!to.is_polite() || !to.over()) return;  // whoever leaves early may miss something
    const auto complain = [&](const char* text) {
        problems.push_back(to.name() + ' ' + text + "\n    " + from.describe() + "\n    " +
                           to.describe());
    };
    const Endpoint* const at_balancer = from.endpoint()->peer();
    if (at_balancer != nullptr && to.received() != at_balancer->bytes_arrived()) {
        complain("did not get all that arrived at the balancer");
    }
    if (from.is_polite() && !to.saw_end()) complain("did not see the end of a stream that ended");
    if (from.is_polite() && to.error() != 0) complain("was reset although nobody misbehaved");
}

}  // namespace sim
