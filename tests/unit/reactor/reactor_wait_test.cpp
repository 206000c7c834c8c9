#include "eplb/reactor.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/watched.hpp"

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>

// How long it waits, for itself or for a host, and what time it is afterwards.

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Next;
using eplb::Reactor;
using eplb::Timer;
using eplb::Watch;
using eplb::test::FunctionTask;
using eplb::test::turn;
using eplb::test::Watched;
using eplb::test::write_byte;

namespace {

// The process is stopped when it is about to read the clock, and something happens meanwhile.
class StoppingClock final : public eplb::Clock {
public:
    void stop_at_reading(int number, std::function<Duration()> meanwhile) {
        readings_left_ = number;
        meanwhile_ = std::move(meanwhile);
    }
    [[nodiscard]] eplb::TimePoint now() const noexcept override {
        if (meanwhile_ && --readings_left_ == 0) clock_.advance(std::exchange(meanwhile_, {})());
        return clock_.now();
    }

private:
    mutable ManualClock clock_;
    mutable int readings_left_ = 0;
    mutable std::function<Duration()> meanwhile_;
};

// A microsecond goes by at every look.
class SteppingClock final : public eplb::Clock {
public:
    [[nodiscard]] eplb::TimePoint now() const noexcept override {
        ++looks;
        return eplb::TimePoint{1h} + looks * 1us;
    }
    mutable int looks = 0;
};

}  // namespace

TEST_CASE("reactor: wait_time says how long the host may sleep", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    CHECK(reactor.wait_time() < Duration{0});

    Timer timer{reactor, task};
    timer.start(50ms);
    CHECK(reactor.wait_time() > Duration{0});
    CHECK(reactor.wait_time() <= 51ms);

    clock.advance(20ms);  // time goes by while the host is busy with other things
    CHECK(reactor.wait_time() <= 31ms);
    clock.advance(40ms);
    CHECK(reactor.wait_time() == Duration{0});
    timer.cancel();
    CHECK(reactor.wait_time() < Duration{0});

    reactor.schedule(task);
    CHECK(reactor.wait_time() == Duration{0});
    turn(reactor);
    CHECK(reactor.wait_time() < Duration{0});
}

TEST_CASE("reactor: a host that sleeps wait_time() and turns gets its timer, at the right time",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    Timer timer{reactor, task};
    const eplb::TimePoint deadline = clock.now() + 90min + 1ns;
    timer.start_at(deadline);
    int turns = 0;
    while (!timer.take_fired()) {
        const Duration wait = reactor.wait_time();
        REQUIRE(wait > Duration{0});
        clock.advance(wait);
        turn(reactor);
        REQUIRE(++turns <= 11);
    }
    CHECK(clock.now() >= deadline);
    CHECK(clock.now() <= deadline + 1ms);
    CHECK(task.runs() == 1);
}

TEST_CASE("reactor: its descriptor tells an outer loop of events", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    Watched watched{reactor};
    turn(reactor);

    const Fd outer{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event event{};
    event.events = EPOLLIN;
    REQUIRE(::epoll_ctl(outer.get(), EPOLL_CTL_ADD, reactor.fd(), &event) == 0);
    CHECK(::epoll_wait(outer.get(), &event, 1, 0) == 0);

    write_byte(watched.pair.far);
    CHECK(::epoll_wait(outer.get(), &event, 1, 5000) == 1);
    CHECK(turn(reactor));
    CHECK(watched.watch.readable());
    CHECK(::epoll_wait(outer.get(), &event, 1, 0) == 0);

    reactor.post([] {});
    CHECK(::epoll_wait(outer.get(), &event, 1, 5000) == 1);
    CHECK(turn(reactor));
    CHECK(::epoll_wait(outer.get(), &event, 1, 0) == 0);
}

TEST_CASE("reactor: run fires timers in real time, never early", "[reactor][reactor_loop]") {
    Reactor reactor;
    FunctionTask task;
    Timer timer{reactor, task};
    task.set(FunctionTask::waiting([&] { reactor.stop(); }));
    const eplb::TimePoint deadline = eplb::MonotonicClock::instance().now() + 20ms;
    timer.start_at(deadline);
    reactor.run();
    CHECK(task.runs() == 1);
    CHECK(timer.take_fired());
    CHECK(eplb::MonotonicClock::instance().now() >= deadline);
}

TEST_CASE("reactor: run_once waits no longer than it is told, and no longer than the next timer",
          "[reactor][reactor_loop]") {
    Reactor reactor;
    FunctionTask task;
    Timer timer{reactor, task};

    timer.start(1h);
    CHECK_FALSE(reactor.run_once(1ms));
    CHECK_FALSE(timer.take_fired());

    timer.start(2ms);
    // As long as it takes; a turn may be spent on moving the timer within the wheel.
    for (int turns = 0; turns < 12 && task.runs() == 0; ++turns) reactor.run_once(-1ms);
    CHECK(task.runs() == 1);

    // A ready task leaves no time to wait at all: with a limit of "for ever" this would hang.
    reactor.schedule(task);
    CHECK(reactor.run_once(-1ms));
    CHECK(task.runs() == 2);
}

TEST_CASE("reactor: polls busily for as long as it is told before it blocks",
          "[reactor][reactor_loop]") {
    SteppingClock clock;
    Reactor reactor{clock};
    reactor.run_once(Duration{0});
    int before = clock.looks;
    CHECK_FALSE(reactor.run_once(1ms));
    const int without = clock.looks - before;
    CHECK(without < 10);

    reactor.set_busy_poll(500us);
    before = clock.looks;
    CHECK_FALSE(reactor.run_once(1ms));
    CHECK(clock.looks - before >= 500);
    CHECK(clock.looks - before <= 500 + without + 10);
}

TEST_CASE("reactor: polling busily for ever ends with an event", "[reactor][reactor_loop]") {
    Reactor reactor;
    reactor.set_busy_poll(Duration::max());
    bool posted = false;
    std::thread other{[&] { reactor.post([&] { posted = true; }); }};
    while (!posted) reactor.run_once(Duration{-1});
    other.join();
}

TEST_CASE("reactor: polling busily ends with an event, the next timer, and the wait it was allowed",
          "[reactor][reactor_loop]") {
    SteppingClock clock;
    Reactor reactor{clock};
    reactor.set_busy_poll(100ms);
    int before = clock.looks;
    reactor.run_once(Duration{0});
    CHECK(clock.looks - before < 10);

    bool posted = false;
    reactor.post([&] { posted = true; });
    before = clock.looks;
    CHECK(reactor.run_once(Duration{-1}));
    CHECK(posted);
    CHECK(clock.looks - before < 10);

    FunctionTask task{[] { return Next::wait; }};
    eplb::Timer timer{reactor, task};
    timer.start(300us);
    before = clock.looks;
    CHECK(reactor.run_once(Duration{-1}));
    CHECK(timer.take_fired());
    CHECK(clock.looks - before < 2000);
}

TEST_CASE("reactor: more events than fit into one batch are handled in further turns",
          "[reactor][reactor_loop]") {
    constexpr std::size_t count = 600;
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<std::unique_ptr<Watched>> all;
    std::vector<Fd> copies;
    FunctionTask task;
    std::vector<std::unique_ptr<Watch>> watches;
    for (std::size_t i = 0; i < count; ++i) {
        auto [near, far] = eplb::test::unix_pair();
        auto watch = std::make_unique<Watch>(reactor, task);
        REQUIRE(watch->attach(near.get()) == 0);
        watches.push_back(std::move(watch));
        copies.push_back(std::move(near));
        copies.push_back(std::move(far));
    }
    int turns = 0;
    while (turn(reactor)) ++turns;
    CHECK(turns <= 3);
    for (const auto& watch : watches) REQUIRE(watch->writable());
    watches.clear();
}

TEST_CASE("reactor: what came while the process stood still is noted before a timer expires",
          "[reactor][reactor_loop]") {
    StoppingClock clock;
    Reactor reactor{clock};
    bool seen = false;
    Watched watched{reactor};
    Timer timer{reactor, watched.task};
    turn(reactor);
    watched.watch.clear_readable();
    watched.task.set(FunctionTask::waiting([&] {
        seen = watched.watch.readable();
        CHECK(timer.take_fired());
    }));
    timer.start(10ms);
    // The kernel has said that there is nothing; then the process is stopped.
    clock.stop_at_reading(2, [&] {
        write_byte(watched.pair.far);
        return Duration{1h};
    });
    CHECK(turn(reactor));
    CHECK(seen);
}

TEST_CASE("reactor: no timer expires while more has come than a turn takes",
          "[reactor][reactor_loop]") {
    constexpr std::size_t count = 600;
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask others;
    FunctionTask task;
    std::vector<std::unique_ptr<Watch>> watches;
    std::vector<Fd> open;
    for (std::size_t i = 0; i < count; ++i) {
        auto [near, far] = eplb::test::unix_pair();
        FunctionTask& owner = i + 1 < count ? others : task;
        watches.push_back(std::make_unique<Watch>(reactor, owner));
        REQUIRE(watches.back()->attach(near.get()) == 0);
        open.push_back(std::move(near));
        open.push_back(std::move(far));
    }
    Timer timer{reactor, task};
    bool fired = false;
    task.set(FunctionTask::waiting([&] {
        if (!timer.take_fired()) return;
        fired = true;
        CHECK(watches.back()->writable());
    }));
    timer.start(10ms);
    clock.advance(1h);
    for (int turns = 0; turns < 3 && !fired; ++turns) turn(reactor);
    CHECK(fired);
    watches.clear();
}

TEST_CASE("reactor: it remembers when a turn was over that was held up",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    eplb::TimePoint began{};
    Duration length{1h};
    SECTION("by run_once") {
        task.set(FunctionTask::waiting([&] {
            began = reactor.now();
            clock.advance(length);
        }));
        reactor.schedule(task);
        turn(reactor);
        CHECK(reactor.end_of_turn(began) == began + 1h);
        CHECK(reactor.end_of_turn(began + 1ns) == began + 1ns);

        length = 49ms;  // as a turn may be
        reactor.schedule(task);
        turn(reactor);
        CHECK(reactor.end_of_turn(began) == began);

        clock.advance(1h);  // the host does something else
        turn(reactor);
        CHECK(reactor.end_of_turn(began) == began);
    }
    SECTION("by run") {
        Timer timer{reactor, task};
        task.set([&] {
            if (began == eplb::TimePoint{}) {
                began = reactor.now();
                clock.advance(length);
                timer.start(1ms);  // is over by then
                return Next::wait;
            }
            CHECK(reactor.end_of_turn(began) == began + 1h);
            reactor.stop();
            return Next::wait;
        });
        reactor.schedule(task);
        reactor.run();
        CHECK(reactor.end_of_turn(began) == began + 1h);
    }
    SECTION("the longest of many") {
        std::vector<eplb::TimePoint> all;
        task.set(FunctionTask::waiting([&] {
            all.push_back(reactor.now());
            clock.advance(length);
        }));
        for (int i = 0; i < 40; ++i) {
            length = i == 7 ? Duration{1h} : Duration{60ms};
            reactor.schedule(task);
            turn(reactor);
        }
        CHECK(reactor.end_of_turn(all[7]) == all[7] + 1h);
        CHECK(reactor.end_of_turn(all[39]) == all[39] + 60ms);
    }
}
