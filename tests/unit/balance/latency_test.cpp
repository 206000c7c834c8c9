#include "eplb/latency.hpp"

#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <thread>
#include <vector>

using eplb::Duration;
using eplb::Latency;
using eplb::TimePoint;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint start{1h};

// To a millionth: an estimate goes through a logarithm.
bool is_about(Duration estimate, double ns) {
    return std::abs(static_cast<double>(estimate.count()) - ns) <= ns * 1e-6 + 1;
}

}  // namespace

TEST_CASE("latency: unknown until something is observed", "[proxy][latency]") {
    const Latency latency;
    CHECK(latency.at(start) == 0ns);
    CHECK(latency.at(TimePoint::min()) == 0ns);
    CHECK(latency.at(TimePoint::max()) == 0ns);
}

TEST_CASE("latency: the first sample is the estimate", "[proxy][latency]") {
    for (const Duration sample :
         {Duration{1us}, Duration{250us}, Duration{3ms}, Duration{5s}, Duration{1h}}) {
        Latency latency;
        latency.observe(sample, start);
        INFO(sample.count());
        CHECK(is_about(latency.at(start), static_cast<double>(sample.count())));
    }
}

TEST_CASE("latency: a slower sample counts at once, a quicker one only once the slow one has faded",
          "[proxy][latency]") {
    Latency latency;
    latency.observe(1ms, start);
    latency.observe(100ms, start + 1s);
    CHECK(is_about(latency.at(start + 1s), 1e8));
    latency.observe(1ms, start + 1s);
    CHECK(is_about(latency.at(start + 1s), 1e8));
    latency.observe(1ms, start + 11s);
    CHECK(is_about(latency.at(start + 11s), 1e8 * std::exp(-1)));
    for (auto second = 12s; second <= 60s; second += 1s) latency.observe(1ms, start + second);
    CHECK(is_about(latency.at(start + 60s), 1e6));
}

TEST_CASE("latency: with nothing to see it decays, and is unknown again in the end",
          "[proxy][latency]") {
    Latency latency;
    latency.observe(5s, start);
    Duration before = latency.at(start);
    for (auto second = 1s; second <= 200s; second += 1s) {
        const Duration now = latency.at(start + second);
        CHECK(now <= before);
        before = now;
    }
    CHECK(is_about(latency.at(start + 20s), 5e9 * std::exp(-2)));
    CHECK(latency.at(start + 100s) < 1ms);
    CHECK(latency.at(start + 230s) == 0ns);
}

TEST_CASE("latency: samples that make no sense are bounded", "[proxy][latency]") {
    Latency latency;
    latency.observe(-5s, start);
    CHECK(is_about(latency.at(start), 1e3));
    latency.observe(0ns, start);
    CHECK(is_about(latency.at(start), 1e3));
    latency.observe(Duration::max(), start);
    CHECK(is_about(latency.at(start), 3.6e12));
    CHECK(is_about(latency.at(start - 1ms), 3.6e12 * std::exp(1e-4)));  // a clock that is behind
}

TEST_CASE("latency: threads that observe at the same time lose no peak",
          "[proxy][latency][threads]") {
    constexpr std::size_t threads = 2;
    std::vector<Latency> latencies(5'000);
    std::atomic<std::size_t> arrived{0};
    std::vector<std::thread> observers;
    for (std::size_t thread = 0; thread < threads; ++thread) {
        observers.emplace_back([&, thread] {
            for (std::size_t i = 0; i < latencies.size(); ++i) {
                ++arrived;
                // Spinning, for yielding would set them apart; but not for ever, if there is one core.
                for (int spins = 0; arrived < threads * (i + 1); ++spins)
                    if (spins > 10'000) std::this_thread::yield();
                // Who has the slower one changes.
                latencies[i].observe((thread + i) % threads == 0 ? 1ms : 2ms, start);
            }
        });
    }
    for (std::thread& observer : observers) observer.join();
    std::size_t right = 0;
    for (const Latency& latency : latencies) right += is_about(latency.at(start), 2e6) ? 1 : 0;
    CHECK(right == latencies.size());
}
