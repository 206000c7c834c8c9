#pragma once

#include <cstdint>

namespace sim {

/// While it lives, operator new fails now and then, and so does sys::map(): once in so many times, by
/// a sequence of its own. 0: never. The latest one counts.
class ScarceMemory {
public:
    explicit ScarceMemory(std::uint32_t once_in, std::uint64_t seed) noexcept;
    ~ScarceMemory();
    ScarceMemory(const ScarceMemory&) = delete;
    ScarceMemory& operator=(const ScarceMemory&) = delete;

    /// Asks for memory that were refused, since the program began.
    [[nodiscard]] static std::uint64_t refused() noexcept;
};

/// What the balancer asks for is at stake. Outside of such scopes there is always memory.
class BalancersTurn {
public:
    BalancersTurn() noexcept;
    ~BalancersTurn();
    BalancersTurn(const BalancersTurn&) = delete;
    BalancersTurn& operator=(const BalancersTurn&) = delete;

private:
    bool before_;
};

/// The simulation itself is at work, in the middle of a turn.
class SimulationsTurn {
public:
    SimulationsTurn() noexcept;
    ~SimulationsTurn();
    SimulationsTurn(const SimulationsTurn&) = delete;
    SimulationsTurn& operator=(const SimulationsTurn&) = delete;

private:
    bool before_;
};

/// Whether this is a request to be refused. For whatever gives memory out.
[[nodiscard]] bool memory_is_refused() noexcept;

}  // namespace sim
