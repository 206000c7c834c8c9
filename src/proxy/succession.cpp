#include "proxy/succession.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb {
namespace {

class ServiceMatcher {
public:
    ServiceMatcher(std::span<const ServiceConfig> old, std::span<const ServiceConfig> now)
        : old_{old},
          now_{now},
          result_(now.size(), no_predecessor),
          sharing_(now.size()),
          taken_(old.size(), false),
          addresses_(old.size()) {
        for (std::size_t i = 0; i < old.size(); ++i) {
            by_name_[old[i].name].push_back(i);
            for (const Address& listener : old[i].listen)
                by_listener_[listener.to_string()].push_back(i);
        }
        for (std::size_t i = 0; i < now.size(); ++i) {
            for (const Address& listener : now[i].listen) {
                const auto found = by_listener_.find(listener.to_string());
                if (found == by_listener_.end()) continue;
                sharing_[i].insert(sharing_[i].end(), found->second.begin(), found->second.end());
            }
        }
    }

    std::vector<std::size_t> run() {
        look_among_namesakes([this](auto service, auto old) { return listens_like(service, old); });
        look_among_namesakes(
            [this](auto service, auto old) { return shares_backend(service, old); });
        look_among_listeners(
            [this](auto service, auto old) { return shares_backend(service, old); });
        look_among_listeners([](auto, auto) { return true; });
        look_among_namesakes([](auto, auto) { return true; });
        return std::move(result_);
    }

private:
    template <class Suits>
    void look_among_namesakes(Suits suits) {
        for (std::size_t i = 0; i < now_.size(); ++i) {
            const auto found = by_name_.find(now_[i].name);
            if (found != by_name_.end()) take_first(i, found->second, suits);
        }
    }

    template <class Suits>
    void look_among_listeners(Suits suits) {
        for (std::size_t i = 0; i < now_.size(); ++i) take_first(i, sharing_[i], suits);
    }

    template <class Suits>
    void take_first(std::size_t service, const std::vector<std::size_t>& candidates, Suits suits) {
        if (result_[service] != no_predecessor) return;
        for (const std::size_t old : candidates) {
            if (taken_[old] || !suits(service, old)) continue;
            taken_[old] = true;
            result_[service] = old;
            return;
        }
    }

    [[nodiscard]] bool listens_like(std::size_t service, std::size_t old) const {
        return std::ranges::find(sharing_[service], old) != sharing_[service].end();
    }

    [[nodiscard]] bool shares_backend(std::size_t service, std::size_t old) {
        std::optional<std::unordered_set<std::string>>& theirs = addresses_[old];
        if (!theirs) {
            theirs.emplace();
            for (const BackendConfig& backend : old_[old].backends)
                theirs->insert(backend.address.to_string());
        }
        return std::ranges::any_of(now_[service].backends, [&](const BackendConfig& backend) {
            return theirs->contains(backend.address.to_string());
        });
    }

    std::span<const ServiceConfig> old_;
    std::span<const ServiceConfig> now_;
    std::vector<std::size_t> result_;
    std::vector<std::vector<std::size_t>> sharing_;  // old ones that have a listener in common
    std::vector<bool> taken_;
    std::vector<std::optional<std::unordered_set<std::string>>> addresses_;  // of old backends
    std::unordered_map<std::string_view, std::vector<std::size_t>> by_name_;
    std::unordered_map<std::string, std::vector<std::size_t>> by_listener_;
};

// Places of the old ones, by what they are looked for; each is given once.
class Places {
public:
    void add(std::string key, std::size_t place) { places_[std::move(key)].all.push_back(place); }

    [[nodiscard]] std::size_t take(const std::string& key, std::vector<bool>& taken) {
        const auto found = places_.find(key);
        if (found == places_.end()) return no_predecessor;
        Queue& queue = found->second;
        while (queue.next < queue.all.size()) {
            const std::size_t place = queue.all[queue.next++];
            if (taken[place]) continue;
            taken[place] = true;
            return place;
        }
        return no_predecessor;
    }

private:
    struct Queue {
        std::vector<std::size_t> all;
        std::size_t next = 0;
    };
    std::unordered_map<std::string, Queue> places_;
};

std::string key_of(const std::string& address, const std::string& name) {
    std::string key = address;
    key += '\0';  // which neither part has
    key += name;
    return key;
}

}  // namespace

std::vector<std::size_t> match_services(std::span<const ServiceConfig> old,
                                        std::span<const ServiceConfig> now) {
    return ServiceMatcher{old, now}.run();
}

std::vector<std::size_t> match_backends(std::span<const BackendIdentity> old,
                                        std::span<const BackendConfig> now) {
    std::vector<std::size_t> result(now.size(), no_predecessor);
    std::vector<bool> taken(old.size(), false);
    Places whole;
    Places by_address;
    for (std::size_t i = 0; i < old.size(); ++i) {
        std::string address = old[i].address->to_string();
        whole.add(key_of(address, *old[i].name), i);
        by_address.add(std::move(address), i);
    }
    for (std::size_t i = 0; i < now.size(); ++i)
        result[i] = whole.take(key_of(now[i].address.to_string(), now[i].name), taken);
    for (std::size_t i = 0; i < now.size(); ++i) {
        if (result[i] == no_predecessor)
            result[i] = by_address.take(now[i].address.to_string(), taken);
    }
    return result;
}

}  // namespace eplb
