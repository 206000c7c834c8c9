#pragma once

#include "eplb/address.hpp"
#include "eplb/backend.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace eplb {

/// Decides which backend a client gets. Pure: no I/O and no clock of its own, so that a sequence of
/// picks can be tested as a table. Policies derive from it.
class Balancer {
public:
    virtual ~Balancer() = default;

    /// Called before the first pick, and whenever the set of backends changed: every index() is
    /// below `count`. The place to allocate.
    virtual void prepare(std::size_t count) { static_cast<void>(count); }

    /// One of `candidates`, or nullptr when there is none to take. Candidates have a weight above 0
    /// and were not tried for this client yet. Never allocates.
    [[nodiscard]] virtual Backend* pick(std::span<Backend* const> candidates,
                                        const Address& client) noexcept = 0;
};

/// Each in turn, in proportion to the weights, and smoothly: 5:1:1 gives a a b a c a a, not a a a a
/// a b c. The algorithm is nginx's: everybody gains their weight, the richest is picked and pays
/// the total. O(candidates) per pick.
class RoundRobin final : public Balancer {
public:
    void prepare(std::size_t count) override { credit_.resize(count, 0); }
    [[nodiscard]] Backend* pick(std::span<Backend* const> candidates,
                                const Address& client) noexcept override;

private:
    std::vector<std::int64_t> credit_;  // by index()
};

}  // namespace eplb
