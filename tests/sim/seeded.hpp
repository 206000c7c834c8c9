#pragma once

#include "eplb/clock.hpp"
#include "eplb/flow.hpp"
#include "sim/driver.hpp"
#include "sim/kernel.hpp"
#include "sim/peer.hpp"
#include "sim/population.hpp"
#include "sim/random.hpp"
#include "sim/world.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

// What worlds that are made from seeds have in common.
namespace sim {

template <class T>
eplb::Duration scaled(std::uint64_t count, T unit) {
    return eplb::Duration{unit} * static_cast<eplb::Duration::rep>(count);
}

[[nodiscard]] Link random_link(Random& random);
/// `may_hang`: peers may do what only a timeout of the balancer can end.
[[nodiscard]] Script random_script(Random& random, const Link& link, bool may_hang);
[[nodiscard]] Script random_server_script(Random& random, const Link& link, bool may_hang);
[[nodiscard]] KernelOptions random_kernel(std::uint64_t seed, Random& random);
/// The seeds go round the modes and the kinds of pipes.
[[nodiscard]] eplb::RelayMode mode_of(std::uint64_t seed);
/// Returns what was chosen, in words.
[[nodiscard]] std::string choose_pipes(std::uint64_t seed, Random& random, KernelOptions& options);
/// How many events come at once, and whether the program stands still now and then. By a sequence of
/// its own: the rest of a seed's world does not depend on it.
[[nodiscard]] std::string choose_pauses(std::uint64_t seed, KernelOptions& options);

inline constexpr const char* mode_names[] = {"automatic", "splice", "copy"};

/// Drives on, and notes it if that comes to nothing.
template <class Done>
bool drive(Driver& driver, Verdict& verdict, Done done) {
    if (driver.run_until(done)) return true;
    verdict.problems.push_back(driver.failure());
    return false;
}

void describe_peers(Population& population, Verdict& verdict);
void check_descriptors(Kernel& kernel, std::size_t expected, const char* when, Verdict& verdict);

}  // namespace sim
