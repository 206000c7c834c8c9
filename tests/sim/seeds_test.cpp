// Worlds made from seeds. EPLB_SIM_SEEDS says how many; EPLB_SIM_SEED=n replays one, and
// EPLB_SIM_TRACE=1 shows its system calls.

#include "sim/world.hpp"
#include "support/catch.hpp"

#include <cstdlib>
#include <string>

namespace {

constexpr std::uint64_t default_seeds = 1500;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string report(const char* test, std::uint64_t seed, const sim::Verdict& verdict) {
    std::string text = "seed " + std::to_string(seed) + " (" + verdict.setting + ")\n";
    for (const std::string& problem : verdict.problems) text += "  " + problem + '\n';
    return text + "replay: EPLB_SIM_SEED=" + std::to_string(seed) + " eplb-sim \"" + test + '"';
}

void run_seeds(const char* test, sim::Verdict (*run)(std::uint64_t)) {
    const std::uint64_t only = number_from_environment("EPLB_SIM_SEED", 0);
    const std::uint64_t count = number_from_environment("EPLB_SIM_SEEDS", default_seeds);
    const std::uint64_t first = only != 0 ? only : 1;
    const std::uint64_t last = only != 0 ? only : count;
    std::uint64_t sessions = 0;
    std::uint64_t bytes = 0;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const sim::Verdict verdict = run(seed);
        if (!verdict.problems.empty()) FAIL(report(test, seed, verdict));
        sessions += verdict.sessions;
        bytes += verdict.bytes;
    }
    // A world in which nothing goes on proves nothing.
    CHECK(sessions > 0);
    if (only == 0) CHECK(bytes > count * 1000);
}

}  // namespace

TEST_CASE("seeds: relays keep every promise in worlds made at random", "[sim][relay][seeds]") {
    run_seeds("seeds: relays keep every promise in worlds made at random", sim::run_relay_world);
}

TEST_CASE("seeds: the proxy keeps every promise in worlds made at random", "[sim][proxy][seeds]") {
    run_seeds("seeds: the proxy keeps every promise in worlds made at random",
              sim::run_proxy_world);
}

TEST_CASE("seeds: workers go over to other configurations while they serve",
          "[sim][proxy][workers][seeds]") {
    run_seeds("seeds: workers go over to other configurations while they serve",
              sim::run_reload_world);
}
