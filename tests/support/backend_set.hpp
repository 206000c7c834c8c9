#pragma once

#include "eplb/balancer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace eplb::test {

/// Backends named a, b, c, ..., z, and after these z26, z27, ... at 10.0.0.1:1, 10.0.0.1:2, ...;
/// candidates; and sessions, held until they are released.
class BackendSet {
public:
    explicit BackendSet(const std::vector<std::uint32_t>& weights) {
        for (const std::uint32_t weight : weights) add(weight);
        candidates.prepare(all.size());
    }

    Backend& add(std::uint32_t weight) {
        const std::size_t index = owned_.size();
        std::string name = index < 26 ? std::string(1, static_cast<char>('a' + index))
                                      : "z" + std::to_string(index);
        owned_.push_back(std::make_unique<Backend>(
            index, std::move(name), Address::parse("10.0.0.1:" + std::to_string(index + 1)),
            weight));
        all.push_back(owned_.back().get());
        return *all.back();
    }

    Backend& operator[](std::size_t index) { return *all[index]; }
    [[nodiscard]] std::size_t size() const noexcept { return all.size(); }

    const Candidates& those(const std::vector<Backend*>& backends) {
        candidates.clear();
        for (const Backend* const backend : backends) candidates.add(*backend);
        return candidates;
    }
    const Candidates& everybody() { return those(all); }
    const Candidates& all_but(const Backend& missing) {
        candidates.clear();
        for (const Backend* const backend : all)
            if (backend != &missing) candidates.add(*backend);
        return candidates;
    }

    /// The names of whom `balancer` picks from `candidates` as they are, in `count` picks.
    [[nodiscard]] std::string names(Balancer& balancer, int count, TimePoint now = {}) const {
        std::string out;
        for (int i = 0; i < count; ++i) {
            const Backend* const picked = balancer.pick(candidates, {.client = {}, .now = now});
            out += picked == nullptr ? "-" : picked->name();
        }
        return out;
    }
    /// As names(), and each pick is a session that stays.
    [[nodiscard]] std::string sessions(Balancer& balancer, int count, TimePoint now = {}) {
        std::string out;
        for (int i = 0; i < count; ++i) {
            const Backend* const picked = balancer.pick(candidates, {.client = {}, .now = now});
            if (picked != nullptr) hold(*picked);
            out += picked == nullptr ? "-" : picked->name();
        }
        return out;
    }

    /// One of ours, as a policy knows it.
    void hold(const Backend& backend, std::size_t count = 1) {
        Backend& own = *owned_.at(backend.index());
        for (std::size_t i = 0; i < count; ++i) leases_[&own].emplace_back(own);
    }
    void release(const Backend& backend, std::size_t count = 1) {
        for (std::size_t i = 0; i < count; ++i) leases_[&backend].pop_back();
    }
    void release_all() { leases_.clear(); }

    std::vector<Backend*> all;
    Candidates candidates;

private:
    std::vector<std::unique_ptr<Backend>> owned_;
    std::map<const Backend*, std::list<Backend::Lease>> leases_;
};

/// Client number `i` of many: 10.x.y.z, from a port that is different each time.
[[nodiscard]] inline Address client(std::uint32_t i) {
    sockaddr_storage raw{};
    auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
    v4.sin_family = AF_INET;
    v4.sin_port = static_cast<std::uint16_t>(i * 7919);
    v4.sin_addr.s_addr = htonl(0x0a00'0000 + i);
    return Address::from(raw, sizeof v4);
}

}  // namespace eplb::test
