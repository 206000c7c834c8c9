#include "sim/seeded.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

namespace sim {

using eplb::Duration;
using namespace std::chrono_literals;

namespace {

std::uint64_t random_size(Random& random, const Link& link) {
    const std::uint64_t most = link.segment < 1000 ? 40'000 : 300'000;
    switch (random.below(6)) {
    case 0: return 0;
    case 1: return 1 + random.below(2000);
    case 2: return (std::uint64_t{1} << random.between(9, 16)) + random.below(3) - 1;
    default: return random.magnitude(most);
    }
}

}  // namespace

Link random_link(Random& random) {
    Link link;
    constexpr std::size_t segments[] = {100, 536, 1460, 1460, 9000, 65'536};
    link.segment = segments[random.below(std::size(segments))];
    link.send_buffer = 2048 + random.magnitude(256 * 1024);
    link.receive_buffer = 2048 + random.magnitude(512 * 1024);
    link.latency = scaled(random.one_in(3) ? 0 : random.magnitude(20'000), 1us);
    link.coalesce = random.one_in(2);
    return link;
}

Script random_script(Random& random, const Link& link, bool may_hang) {
    Script script;
    script.bytes = random_size(random, link);
    script.write_chunk = random.one_in(3) ? 512 * 1024 : random.magnitude(100'000);
    script.write_chunk = std::max(script.write_chunk, static_cast<std::size_t>(script.bytes / 500));
    script.exact_chunks = random.one_in(2);
    script.read_chunk = random.one_in(3) ? 256 * 1024 : random.between(1000, 20'000);
    const std::uint64_t steps = script.bytes / std::max<std::size_t>(script.write_chunk, 1) + 1;
    if (random.one_in(3)) script.write_gap = scaled(random.magnitude(2'000'000 / steps + 1), 1us);
    if (random.one_in(3)) script.read_gap = scaled(random.magnitude(20'000), 1us);
    if (random.one_in(4)) script.start_delay = scaled(random.magnitude(2'000), 1ms);
    if (random.one_in(3)) {
        script.stall_after = random.one_in(3) ? 0 : random.magnitude(200'000);
        script.stall_for = scaled(random.magnitude(5'000), 1ms);
    }
    if (random.one_in(8)) script.urgent_at = random.below(script.bytes + 1);
    if (random.one_in(3)) script.end_delay = scaled(random.magnitude(3'000), 1ms);
    switch (random.below(12)) {
    case 0: script.end = Script::End::reset; break;
    case 1: script.end = Script::End::close; break;
    case 2:
        if (may_hang) script.end = Script::End::silent;
        break;
    case 3:
        if (may_hang) script.reads = false;
        break;
    case 4: script.reset_after_received = 1 + random.magnitude(50'000); break;
    default: break;
    }
    // Who never reads may not see that the connection is over, and who fell silent does not care:
    // they leave in the end, long after every timeout of the balancer.
    if (!script.reads || script.end == Script::End::silent) script.patience = 300s;
    return script;
}

Script random_server_script(Random& random, const Link& link, bool may_hang) {
    Script script = random_script(random, link, may_hang);
    if (script.urgent_at == Script::never && random.one_in(4)) {
        script.echo = true;
        script.write_chunk = std::max<std::size_t>(script.write_chunk, 1000);
    }
    if (random.one_in(5)) script.answers_at_end = true;
    return script;
}

KernelOptions random_kernel(std::uint64_t seed, Random& random) {
    KernelOptions options;
    options.seed = Random::mix(seed);
    options.call_time = scaled(random.one_in(4) ? 0 : random.magnitude(30), 1us);
    options.shuffle_events = true;
    options.jitter = random.one_in(2);
    // Some worlds begin where 32 bits of milliseconds end.
    if (random.one_in(4)) {
        options.start = eplb::TimePoint{std::chrono::milliseconds{(std::int64_t{1} << 32) - 500}};
    }
    options.faults.spurious_wake = random.one_in(2) ? 10 : 0;
    options.faults.early_return = random.one_in(4) ? 10 : 0;
    return options;
}

eplb::RelayMode mode_of(std::uint64_t seed) {
    constexpr eplb::RelayMode modes[] = {eplb::RelayMode::automatic, eplb::RelayMode::splice,
                                         eplb::RelayMode::copy};
    return modes[seed % 3];
}

std::string choose_pipes(std::uint64_t seed, Random& random, KernelOptions& options) {
    constexpr int errors[] = {EINVAL, ENOSYS, EPERM};
    switch (seed / 3 % 5) {
    case 0: return "normal pipes";
    case 1: options.pipe_slots = 2; return "2-slot pipes";
    case 2: options.faults.pipe_shortage = random.one_in(2) ? 1 : 3; return "no pipes";
    case 3: options.faults.splice_refused_after = 0; break;
    default:
        options.faults.splice_refused_after = static_cast<std::int64_t>(random.magnitude(100));
        break;
    }
    options.faults.splice_error = errors[random.below(std::size(errors))];
    return "splice refused after " + std::to_string(options.faults.splice_refused_after);
}

void describe_peers(Population& population, Verdict& verdict) {
    for (const Peer& peer : population.all()) verdict.problems.push_back("  " + peer.describe());
}

std::string choose_pauses(std::uint64_t seed, KernelOptions& options) {
    Random random{Random::mix(seed ^ 0x57a1'1ed0U)};
    if (random.one_in(2)) options.events_per_wait = static_cast<std::size_t>(random.between(1, 8));
    if (!random.one_in(3)) return "";
    options.faults.stall = static_cast<std::uint32_t>(20 + random.magnitude(1000));
    options.faults.longest_stall = scaled(random.magnitude(90), 1s);
    return ", stalls";
}

void check_descriptors(Kernel& kernel, std::size_t expected, const char* when, Verdict& verdict) {
    if (kernel.open_descriptors() == expected) return;
    verdict.problems.push_back(std::string{"descriptors "} + when + ": expected " +
                               std::to_string(expected) + ", open are " + kernel.describe_open());
}

}  // namespace sim
