// What the parts of the loop cost by themselves. Numbers are good for comparing two builds on one
// machine in one sitting, and for nothing else.

#include "eplb/address.hpp"
#include "eplb/balancer.hpp"
#include "eplb/clock.hpp"
#include "eplb/reactor.hpp"
#include "eplb/timer.hpp"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace {

using namespace eplb;

class Idle final : public Task {
public:
    Next run() override { return Next::wait; }
};

// The deadlines of many timers, spread over an hour.
Duration deadline_of(std::int64_t index) {
    return std::chrono::milliseconds{1 + index * 7919 % 3'600'000};
}

// One timer is moved, as a session does when its phase changes, while range(0) others are armed.
void move_timer(benchmark::State& state) {
    ManualClock clock;
    Reactor reactor{clock};
    Idle task;
    std::deque<Timer> others;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        others.emplace_back(reactor, task).start(deadline_of(i));
    }
    Timer timer{reactor, task};
    std::int64_t i = 0;
    for (auto _ : state) timer.start(deadline_of(++i));
}
BENCHMARK(move_timer)->Arg(100)->Arg(10'000)->Arg(100'000);

// range(0) timers expire, a minute's worth a turn; per timer.
void expire_timers(benchmark::State& state) {
    for (auto _ : state) {
        state.PauseTiming();
        ManualClock clock;
        auto reactor = std::make_unique<Reactor>(clock);
        Idle task;
        std::deque<Timer> timers;
        for (std::int64_t i = 0; i < state.range(0); ++i) {
            timers.emplace_back(*reactor, task).start(deadline_of(i));
        }
        state.ResumeTiming();
        for (int minute = 0; minute < 60; ++minute) {
            clock.advance(std::chrono::minutes{1});
            reactor->run_once(Duration{0});
        }
        state.PauseTiming();
        timers.clear();
        reactor.reset();
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(expire_timers)->Arg(100'000)->Unit(benchmark::kMillisecond);

// A turn in which range(0) tasks are ready.
void run_ready_tasks(benchmark::State& state) {
    ManualClock clock;
    Reactor reactor{clock};
    std::deque<Idle> tasks(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        for (Idle& task : tasks) reactor.schedule(task);
        reactor.run_once(Duration{0});
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(run_ready_tasks)->Arg(1)->Arg(64)->Arg(1000);

void pick_round_robin(benchmark::State& state) {
    std::vector<std::unique_ptr<Backend>> backends;
    std::vector<Backend*> candidates;
    const Address address = Address::parse("127.0.0.1:3306");
    for (std::size_t i = 0; i < static_cast<std::size_t>(state.range(0)); ++i) {
        const auto weight = static_cast<std::uint32_t>(1 + i % 3);
        backends.push_back(std::make_unique<Backend>(i, "", address, weight));
        candidates.push_back(backends.back().get());
    }
    RoundRobin balancer;
    balancer.prepare(candidates.size());
    for (auto _ : state) benchmark::DoNotOptimize(balancer.pick(candidates, address));
}
BENCHMARK(pick_round_robin)->Arg(2)->Arg(16)->Arg(1000);

void parse_address(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(Address::parse("[2001:db8::1]:5432"));
}
BENCHMARK(parse_address);

}  // namespace

BENCHMARK_MAIN();
