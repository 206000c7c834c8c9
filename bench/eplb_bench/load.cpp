#include "load.hpp"

#include "net.hpp"
#include "proc_stats.hpp"
#include "process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <iostream>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;
using Role = Client::Role;
using Stage = Client::Stage;

constexpr std::size_t chunk_bytes = 128 * 1024;
constexpr std::size_t most_opening = 64;
constexpr Duration opening_limit = 40s;
constexpr Duration first_answer_limit = 10s;
constexpr Duration drain_limit = 2s;
// The proxy accepts no more: this many failed, and none succeeded for so long.
constexpr std::size_t hopeless_failures = 64;
constexpr Duration hopeless_after = 2s;
// Per window: more would need more local ports than there are between a proxy and its backends.
constexpr std::uint64_t most_churned = 60'000;

TimePoint now() noexcept { return std::chrono::steady_clock::now(); }
Duration from_seconds(double seconds) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{seconds});
}
double to_seconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; }

}  // namespace

Load::Load(LoadSpec spec, const SharedCounters& counters)
    : spec_{std::move(spec)},
      counters_{counters},
      epoll_{::epoll_create1(EPOLL_CLOEXEC)},
      buffer_(chunk_bytes, 'x') {
    if (!epoll_.valid()) throw fmt::system_error(errno, "cannot make an epoll descriptor");
    for (const std::string& target : spec_.targets) targets_.push_back(to_sockaddr(target));
    const Work& work = spec_.work;
    add_clients(work.idle, Role::idle);
    add_clients(work.ping, Role::ping);
    add_clients(work.push, Role::push);
    add_clients(work.pull, Role::pull);
    result_.asked = clients_.size();
    add_clients(work.churn, Role::churn);  // these are opened when the traffic starts
}

void Load::add_clients(std::size_t count, Role role) {
    for (std::size_t i = 0; i < count; ++i) clients_.emplace_back().role = role;
}

LoadResult Load::run() {
    if (open_all()) {
        start_traffic();
        work_until(now() + from_seconds(spec_.warm_up_seconds));
        await_first_answers();
        begin_window();
        work_until(now() + from_seconds(spec_.seconds));
        end_window();
        drain();
    }
    for (const Client& client : clients_) {
        if (client.socket.valid()) reset_on_close(client.socket);
    }
    return std::move(result_);
}

// An idle ladder goes on with those that were answered; for the others all are needed.
bool Load::open_all() {
    const TimePoint give_up = now() + opening_limit;
    last_success_ = now();
    std::size_t next = 0;
    bool hopeless = false;
    while (opening_ > 0 || (next < result_.asked && !hopeless)) {
        while (!hopeless && next < result_.asked && opening_ < most_opening) open(next++);
        turn(now() + 20ms);
        hopeless = hopeless || now() > give_up ||
                   (lost_ >= hopeless_failures && now() - last_success_ > hopeless_after);
    }
    if (next < result_.asked) result_.errors["not tried any more"] += result_.asked - next;
    result_.answered = answered_;
    const Work& work = spec_.work;
    const bool only_idle = work.ping + work.push + work.pull + work.churn == 0;
    if (answered_ == result_.asked || (only_idle && answered_ > 0)) return true;
    result_.stopped = fmt::format("{} of {} connections were answered", answered_, result_.asked);
    return false;
}

void Load::start_traffic() {
    traffic_ = true;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        Client& client = clients_[i];
        if (client.role == Role::churn) open(i);
        if (client.role != Role::ping || client.stage != Stage::working) continue;
        ++cold_;
        send_ping(i);
    }
}

void Load::begin_window() {
    latencies_.clear();
    operations_ = 0;
    pulled_bytes_ = 0;
    const std::array<pid_t, 2> load{::getpid(), spec_.backend};
    window_began_ = now();
    pushed_before_ = counters_.pushed_bytes.load(std::memory_order_relaxed);
    proxy_cpu_before_ = cpu_nanoseconds(spec_.proxy).value_or(0);
    load_cpu_before_ = cpu_nanoseconds(load).value_or(0);
}

void Load::end_window() {
    const auto proxy_cpu = cpu_nanoseconds(spec_.proxy);
    result_.seconds = to_seconds((now() - window_began_).count());
    traffic_ = false;
    const std::uint64_t pushed = counters_.pushed_bytes.load(std::memory_order_relaxed);
    const std::array<pid_t, 2> load{::getpid(), spec_.backend};
    result_.load_cpu_seconds = to_seconds(cpu_nanoseconds(load).value_or(0) - load_cpu_before_);
    result_.operations = operations_;
    result_.bytes = pulled_bytes_ + (pushed - pushed_before_);
    result_.p50_us = latencies_.quantile(0.5) / 1000;
    result_.p99_us = latencies_.quantile(0.99) / 1000;
    result_.p999_us = latencies_.quantile(0.999) / 1000;
    if (proxy_cpu) {
        result_.proxy_cpu_seconds = to_seconds(*proxy_cpu - proxy_cpu_before_);
    } else {
        result_.stopped = "the proxy ended";
    }
}

// With thousands of connections a round trip may take longer than the warm-up.
void Load::await_first_answers() {
    const TimePoint give_up = now() + first_answer_limit;
    while (cold_ > 0 && now() < give_up) turn(give_up);
}

// A ping without an answer keeps no one else waiting, so only a look at each finds it.
void Load::drain() {
    const auto missing = [this] {
        return std::ranges::count_if(clients_, [](const Client& client) {
            return client.role == Role::ping && client.missing > 0;
        });
    };
    const TimePoint give_up = now() + drain_limit;
    while (missing() > 0 && now() < give_up) turn(now() + 5ms);
    if (const auto lost = missing(); lost > 0)
        result_.errors["no answer"] += static_cast<std::uint64_t>(lost);
}

void Load::work_until(TimePoint end) {
    while (now() < end && operations_ < (spec_.work.churn > 0 ? most_churned : ~0ULL)) turn(end);
}

void Load::turn(TimePoint latest) {
    std::array<epoll_event, 256> events;
    for (const std::size_t index : std::exchange(to_reopen_, {})) {
        if (traffic_) open(index);
    }
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
        std::clamp<Duration>(latest - now(), 0ms, 20ms));
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   to_reopen_.empty() ? static_cast<int>(wait.count()) : 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        on_event(event.data.u64, event.events);
    }
    expire();
}

void Load::expire() {
    if (deadlines_.empty()) return;
    const TimePoint time = now();
    while (!deadlines_.empty() && deadlines_.front().at <= time) {
        const Deadline due = deadlines_.front();
        deadlines_.pop_front();
        const Client& client = clients_[due.client];
        if (client.generation != due.generation || client.stage == Stage::closed ||
            client.stage == Stage::working)
            continue;
        fail(due.client, "timed out");
    }
}

void Load::fail(std::size_t index, const std::string& reason) {
    ++result_.errors[reason];
    Client& client = clients_[index];
    const bool was_opening = client.stage != Stage::working;
    if (traffic_ && client.role == Role::ping && !client.warm) --cold_;
    close(client);
    if (client.role == Role::churn) {
        to_reopen_.push_back(index);
    } else if (was_opening) {
        --opening_;
        ++lost_;
    }
}

void Load::lose(std::size_t index, int error) {
    fail(index, error == 0 ? "closed by the proxy" : std::strerror(error));
}

void Load::close(Client& client) {
    client.socket.reset();
    client.stage = Stage::closed;
    client.missing = 0;
}

int run_as_load(const std::string& spec) {
    raise_descriptor_limit();
    Load load{decode_spec(spec), map_counters(counters_descriptor)};
    std::cout << encode(load.run()) << std::endl;
    std::string ignored;
    std::getline(std::cin, ignored);
    return 0;
}

}  // namespace eplb::bench
