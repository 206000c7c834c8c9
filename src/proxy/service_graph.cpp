#include "proxy/service_graph.hpp"

#include "base/local_interfaces.hpp"

#include <algorithm>
#include <utility>

namespace eplb {
namespace {

bool has_any_port(const Address& address) noexcept {
    return !address.is_unix() && address.port() == 0;
}

std::string host_of(const Address& address) { return address.with_port(0).to_string(); }

}  // namespace

// Of two that are the same, which others reject, the first one counts.
void ServiceGraph::add_listener(std::size_t service, const Address& address, std::size_t id) {
    if (has_any_port(address)) return;
    const Listener listener{service, id};
    by_address_.emplace(address.to_string(), listener);
    if (!address.is_wildcard()) return;
    Wildcards& there = by_port_[address.port()];
    std::optional<Listener>& slot = address.family() == AF_INET6 ? there.v6 : there.v4;
    if (!slot) slot = listener;
}

bool ServiceGraph::add_backend(std::size_t service, const Address& address, std::size_t id) {
    const Taker taker = taker_of(address);
    if (taker.listener == nullptr) return false;
    if (taker.takes_all) {
        learn_own_addresses();
        if (!is_here(address)) return false;
    }
    const Listener& listener = *taker.listener;
    const std::size_t last = std::max(service, listener.service);
    if (steps_.size() <= last) steps_.resize(last + 1);
    steps_[service].push_back({service, id, listener.id, listener.service});
    return true;
}

void ServiceGraph::learn_own_addresses() {
    if (own_addresses_ || by_port_.empty()) return;
    own_addresses_.emplace();
    for (const Address& own : local_addresses()) own_addresses_->insert(host_of(own));
}

bool ServiceGraph::is_reached_by(const Address& address) const {
    const Taker taker = taker_of(address);
    return taker.listener != nullptr && (!taker.takes_all || is_here(address));
}

ServiceGraph::Taker ServiceGraph::taker_of(const Address& target) const {
    if (has_any_port(target)) return {};
    const auto same = by_address_.find(target.to_string());
    if (same != by_address_.end()) return {&same->second, false};
    if (target.is_unix()) return {};
    const auto there = by_port_.find(target.port());
    if (there == by_port_.end()) return {};
    const Wildcards& all = there->second;
    const bool v4 = target.family() == AF_INET;
    const std::optional<Listener>& taker = v4 && all.v4 ? all.v4 : all.v6;
    if (!taker) return {};
    return {&*taker, !target.is_loopback() && !target.is_wildcard()};
}

bool ServiceGraph::is_here(const Address& target) const {
    return own_addresses_ && own_addresses_->contains(host_of(target));
}

// Depth first, without recursion: a chain may be as long as the configuration. A step to a service that
// is on the way from the root to here closes a loop; one to a service that was left has none.
std::vector<ServiceGraph::Loop> ServiceGraph::find_loops(std::size_t most) const {
    enum class State : std::uint8_t { unseen, on_the_way, left };
    struct Place {
        std::size_t service;
        std::size_t next_step = 0;
    };
    std::vector<State> states(steps_.size(), State::unseen);
    std::vector<std::size_t> depth(steps_.size(), 0);
    std::vector<Loop> loops;
    std::vector<Place> way;
    std::vector<Step> taken;  // one less than the places
    const auto enter = [&](std::size_t service) {
        states[service] = State::on_the_way;
        depth[service] = way.size();
        way.push_back({service});
    };
    for (std::size_t root = 0; root < steps_.size(); ++root) {
        if (states[root] != State::unseen) continue;
        enter(root);
        while (!way.empty()) {
            Place& here = way.back();
            if (here.next_step == steps_[here.service].size()) {
                states[here.service] = State::left;
                way.pop_back();
                if (!taken.empty()) taken.pop_back();
                continue;
            }
            const Step& step = steps_[here.service][here.next_step++];
            if (states[step.next] == State::unseen) {
                taken.push_back(step);
                enter(step.next);
            } else if (states[step.next] == State::on_the_way) {
                Loop& loop = loops.emplace_back(
                    taken.begin() + static_cast<std::ptrdiff_t>(depth[step.next]), taken.end());
                loop.push_back(step);
                if (loops.size() == most) return loops;
            }
        }
    }
    return loops;
}

}  // namespace eplb
