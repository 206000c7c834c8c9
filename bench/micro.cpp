// What the parts of the loop cost by themselves. Numbers are good for comparing two builds on one
// machine in one sitting, and for nothing else.

#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"
#include "eplb/balancer.hpp"
#include "eplb/clock.hpp"
#include "eplb/flow.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/timer.hpp"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <netinet/tcp.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <utility>
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

// A timer is armed and cancelled, as for every attempt to connect, while range(0) others are armed.
void arm_and_cancel_timer(benchmark::State& state) {
    ManualClock clock;
    Reactor reactor{clock};
    Idle task;
    std::deque<Timer> others;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        others.emplace_back(reactor, task).start(deadline_of(i));
    }
    Timer timer{reactor, task};
    for (auto _ : state) {
        timer.start(std::chrono::seconds{5});
        timer.cancel();
    }
}
BENCHMARK(arm_and_cancel_timer)->Arg(100)->Arg(100'000);

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

// Backends with weights of 1 to 3, all of them candidates.
struct Crowd {
    explicit Crowd(std::int64_t count) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
            const auto weight = static_cast<std::uint32_t>(1 + i % 3);
            std::string name = "b";
            name += std::to_string(i);
            backends.push_back(std::make_unique<Backend>(i, std::move(name),
                                                         Address::parse("127.0.0.1:3306"), weight));
            all.push_back(backends.back().get());
            all.back()->latency().observe(std::chrono::microseconds{200 + i}, TimePoint{});
        }
        candidates.prepare(all.size());
        candidates.clear();
        for (const Backend* const backend : all) candidates.add(*backend);
    }

    std::vector<std::unique_ptr<Backend>> backends;
    std::vector<Backend*> all;
    Candidates candidates;
};

// A session for each pick, which lasts until range(0) others came.
void pick(benchmark::State& state, Balance policy) {
    Crowd crowd{state.range(0)};
    const std::unique_ptr<Balancer> balancer = make_balancer(policy, 1);
    balancer->prepare(crowd.all);
    std::vector<Address> clients;
    for (int i = 0; i < 1024; ++i) {
        std::string text = "10.0.";
        text += std::to_string(i / 256) + "." + std::to_string(i % 256) + ":1";
        clients.push_back(Address::parse(text));
    }
    std::vector<Backend::Lease> sessions(crowd.all.size());
    std::size_t turn = 0;
    for (auto _ : state) {
        const Backend* const picked =
            balancer->pick(crowd.candidates, {.client = clients[turn % clients.size()]});
        sessions[turn % sessions.size()] = Backend::Lease{*crowd.all[picked->index()]};
        ++turn;
    }
}
BENCHMARK_CAPTURE(pick, round_robin, Balance::round_robin)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, leastconn, Balance::leastconn)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, random, Balance::random)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, first, Balance::first)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, source_hash, Balance::source_hash)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, consistent, Balance::consistent)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, least_time, Balance::least_time)->Arg(2)->Arg(16)->Arg(1000);
BENCHMARK_CAPTURE(pick, peak_ewma, Balance::peak_ewma)->Arg(2)->Arg(16)->Arg(1000);

// The table of a new service.
void build_table(benchmark::State& state, Balance policy) {
    const Crowd crowd{state.range(0)};
    for (auto _ : state) make_balancer(policy, 1)->prepare(crowd.all);
}
BENCHMARK_CAPTURE(build_table, source_hash, Balance::source_hash)
    ->Arg(2)
    ->Arg(16)
    ->Arg(1000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(build_table, consistent, Balance::consistent)
    ->Arg(2)
    ->Arg(16)
    ->Arg(1000)
    ->Unit(benchmark::kMicrosecond);

// Of a service that was reloaded, with the backends that it had.
void keep_table(benchmark::State& state, Balance policy) {
    const Crowd crowd{state.range(0)};
    const std::unique_ptr<Balancer> balancer = make_balancer(policy, 1);
    balancer->prepare(crowd.all);
    for (auto _ : state) balancer->prepare(crowd.all);
}
BENCHMARK_CAPTURE(keep_table, source_hash, Balance::source_hash)
    ->Arg(1000)
    ->Unit(benchmark::kMicrosecond);

// The heaviest weight there is beside 999 of the lightest: the most rounds that Maglev can need.
void build_lopsided_table(benchmark::State& state, Balance policy) {
    const Crowd crowd{1000};
    for (Backend* const backend : crowd.all) backend->set_weight(1);
    crowd.all[0]->set_weight(0xffff'ffff);
    for (auto _ : state) make_balancer(policy, 1)->prepare(crowd.all);
}
BENCHMARK_CAPTURE(build_lopsided_table, source_hash, Balance::source_hash)
    ->Unit(benchmark::kMicrosecond);

void observe_latency(benchmark::State& state) {
    Latency latency;
    TimePoint now{std::chrono::hours{1}};
    for (auto _ : state) {
        now += std::chrono::microseconds{10};
        latency.observe(std::chrono::microseconds{300}, now);
        benchmark::DoNotOptimize(latency.at(now));
    }
}
BENCHMARK(observe_latency);

// --- the data path, on loopback: most of it is the kernel's

struct Socket {
    Fd fd;
    Address address;
};

Socket listen_on_loopback() {
    Fd fd = listen_on(Address::parse("127.0.0.1:0"));
    Address address = local_address(fd);
    return {std::move(fd), std::move(address)};
}

Fd dial(const Address& address) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    Fd fd{::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) std::abort();
    return fd;
}

struct Pair {
    Fd near;
    Fd far;
};

Pair tcp_pair() {
    const Socket listener = listen_on_loopback();
    Fd near = dial(listener.address);
    Fd far{::accept(listener.fd.get(), nullptr, nullptr)};
    ::fcntl(near.get(), F_SETFL, O_NONBLOCK);
    return {std::move(near), std::move(far)};
}

// One message of range(0) bytes from socket to socket: what a flow does between two events. The
// writing and the reading at both ends are part of it.
void flow_turn(benchmark::State& state, RelayMode mode) {
    Reactor reactor;
    RelayContext::Options options;
    options.mode = mode;
    RelayContext context{options};
    Pair source = tcp_pair();
    Pair destination = tcp_pair();
    Idle task;
    Watch from{reactor, task};
    Watch to{reactor, task};
    if (from.attach(source.near.get()) != 0 || to.attach(destination.near.get()) != 0) std::abort();
    Flow flow{from, to, context};
    flow.trust_short_reads();
    const std::vector<char> message(static_cast<std::size_t>(state.range(0)), 'x');
    std::vector<char> received(message.size());
    for (auto _ : state) {
        if (::send(source.far.get(), message.data(), message.size(), 0) < 0) std::abort();
        reactor.run_once(Duration{-1});
        flow.pump(context.turn_bytes());
        if (::recv(destination.far.get(), received.data(), received.size(), MSG_WAITALL) < 0) {
            std::abort();
        }
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(flow_turn, copy, RelayMode::copy)->Arg(64)->Arg(4096)->Arg(65536);
BENCHMARK_CAPTURE(flow_turn, splice, RelayMode::splice)->Arg(64)->Arg(4096)->Arg(65536);

class Quiet final : public ProxyObserver {
public:
    void on_event(LogLevel, std::string_view) noexcept override {}
    void on_session_end(const SessionSummary&) noexcept override { ++ended; }
    std::int64_t ended = 0;
};

// A client connects, a backend accepts, both close: dialling, relaying and teardown without a byte.
void session_set_up_and_tear_down(benchmark::State& state) {
    Reactor reactor;
    Quiet observer;
    const Socket backend = listen_on_loopback();
    Config config;
    ServiceConfig& service = config.services.emplace_back();
    service.listen = {Address::parse("127.0.0.1:0")};
    service.backends = {{.address = backend.address, .name = {}}};
    config.max_connections = 16;
    Proxy proxy{reactor, config, observer};
    const Address front = proxy.listen_addresses().front();
    for (auto _ : state) {
        const std::int64_t before = observer.ended;
        Fd client = dial(front);
        reactor.run_once(Duration{-1});
        Fd server{::accept(backend.fd.get(), nullptr, nullptr)};
        while (!server.valid()) {
            reactor.run_once(Duration{0});
            server.reset(::accept(backend.fd.get(), nullptr, nullptr));
        }
        const linger at_once{1, 0};  // or the ports would run out in TIME-WAIT
        ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        client.reset();
        while (observer.ended == before) reactor.run_once(Duration{-1});
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(session_set_up_and_tear_down);

void parse_address(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(Address::parse("[2001:db8::1]:5432"));
}
BENCHMARK(parse_address);

}  // namespace

BENCHMARK_MAIN();
