#include "eplb/timer.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"

#include <memory>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::TimePoint;
using eplb::Timer;
using eplb::test::FunctionTask;

namespace {

struct Fixture {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    Timer timer{reactor, task};

    bool turn() { return reactor.run_once(Duration{0}); }
    bool turn_after(Duration time) {
        clock.advance(time);
        return turn();
    }
};

}  // namespace

TEST_CASE("timer: fires once, not before its time", "[reactor][timer]") {
    Fixture f;
    CHECK_FALSE(f.timer.armed());
    f.timer.start(10ms);
    CHECK(f.timer.armed());
    CHECK_FALSE(f.turn_after(10ms - 1ns));
    CHECK_FALSE(f.timer.take_fired());
    CHECK(f.turn_after(1ns));
    CHECK(f.task.runs() == 1);
    CHECK_FALSE(f.timer.armed());
    CHECK(f.timer.take_fired());
    CHECK_FALSE(f.timer.take_fired());
    CHECK_FALSE(f.turn_after(1h));
}

TEST_CASE("timer: a delay of zero or less fires in the next turn", "[reactor][timer]") {
    Fixture f;
    const Duration delay = GENERATE(Duration{0}, Duration{-1}, Duration{-1h}, Duration::min() / 2);
    const Duration past_a_millisecond = GENERATE(Duration{0}, Duration{1}, Duration{300us});
    CAPTURE(delay.count(), past_a_millisecond.count());
    f.clock.advance(past_a_millisecond);
    f.timer.start(delay);
    CHECK(f.timer.armed());
    CHECK(f.reactor.wait_time() == Duration{0});
    CHECK(f.turn());
    CHECK(f.timer.take_fired());
}

TEST_CASE("timer: a deadline that is not after now fires in the next turn", "[reactor][timer]") {
    Fixture f;
    f.turn_after(5ms + 300us);
    f.clock.advance(GENERATE(Duration{0}, Duration{400us}, Duration{2ms}));  // since that turn
    SECTION("now") { f.timer.start_at(f.clock.now()); }
    SECTION("a little ago") { f.timer.start_at(f.clock.now() - 100us); }
    SECTION("an hour ago") { f.timer.start_at(f.clock.now() - 1h); }
    CHECK(f.reactor.wait_time() == Duration{0});
    CHECK(f.turn());
    CHECK(f.timer.take_fired());
    CHECK(f.reactor.wait_time() < Duration{0});
}

TEST_CASE("timer: a deadline that is a nanosecond after now is not early", "[reactor][timer]") {
    Fixture f;
    f.clock.advance(300us);
    f.timer.start_at(f.clock.now() + 1ns);
    CHECK_FALSE(f.turn());
    CHECK(f.turn_after(700us));
}

TEST_CASE("timer: one that is started with zero comes behind what is overdue", "[reactor][timer]") {
    Fixture f;
    std::vector<int> order;
    FunctionTask overdue_task{FunctionTask::waiting([&] { order.push_back(1); })};
    f.task.set(FunctionTask::waiting([&] { order.push_back(2); }));
    Timer overdue{f.reactor, overdue_task};
    overdue.start(10ms);
    f.clock.advance(15ms + 300us);  // the host was busy with other things
    f.timer.start(0ms);
    CHECK(f.turn());
    CHECK(order == std::vector{1, 2});
}

TEST_CASE("timer: one that a task starts with zero does not run in the same turn",
          "[reactor][timer]") {
    Fixture f;
    f.clock.advance(GENERATE(Duration{0}, Duration{300us}));
    f.task.set(FunctionTask::waiting([&] {
        if (f.task.runs() < 3) f.timer.start(0ms);
    }));
    f.reactor.schedule(f.task);
    CHECK(f.turn());
    CHECK(f.task.runs() == 1);
    CHECK(f.turn());
    CHECK(f.task.runs() == 2);
    CHECK(f.turn());
    CHECK_FALSE(f.turn());
    CHECK(f.task.runs() == 3);
}

TEST_CASE("timer: starting again moves it", "[reactor][timer]") {
    Fixture f;
    SECTION("back") {
        f.timer.start(10ms);
        f.timer.start(50ms);
        CHECK_FALSE(f.turn_after(49ms));
        CHECK(f.turn_after(1ms));
    }
    SECTION("forth") {
        f.timer.start(50ms);
        f.timer.start(10ms);
        CHECK(f.turn_after(10ms));
        CHECK_FALSE(f.turn_after(1h));
    }
    CHECK(f.task.runs() == 1);
}

TEST_CASE("timer: started by a task, it counts from the time of the turn", "[reactor][timer]") {
    Fixture f;
    f.task.set(FunctionTask::waiting([&] {
        if (f.task.runs() > 1) return;
        f.clock.advance(1h);  // the turn takes long
        f.timer.start(10ms);
    }));
    f.reactor.schedule(f.task);
    CHECK(f.turn());
    CHECK(f.turn());
    CHECK(f.timer.take_fired());
}

TEST_CASE("timer: started between turns, it counts from the clock's time", "[reactor][timer]") {
    Fixture f;
    f.turn();
    f.clock.advance(1h);  // the host was busy with other things
    f.timer.start(10ms);
    CHECK_FALSE(f.turn());
    CHECK(f.turn_after(10ms));
    CHECK(f.timer.take_fired());
}

TEST_CASE("timer: starting again forgets that it fired", "[reactor][timer]") {
    Fixture f;
    f.timer.start(1ms);
    f.turn_after(1ms);
    f.timer.start(1ms);
    CHECK_FALSE(f.timer.take_fired());
}

TEST_CASE("timer: cancelling stops it and forgets that it fired", "[reactor][timer]") {
    Fixture f;
    f.timer.start(1ms);
    f.timer.cancel();
    CHECK_FALSE(f.timer.armed());
    CHECK_FALSE(f.turn_after(1h));

    f.timer.start(1ms);
    f.turn_after(1ms);
    f.timer.cancel();
    CHECK_FALSE(f.timer.take_fired());
    f.timer.cancel();
}

TEST_CASE("timer: start_at takes a point in time", "[reactor][timer]") {
    Fixture f;
    const TimePoint deadline = f.clock.now() + 100ms;
    f.timer.start_at(deadline);
    CHECK_FALSE(f.turn_after(99ms));
    CHECK(f.turn_after(1ms));
    f.timer.start_at(deadline);  // past
    CHECK(f.turn());
}

TEST_CASE("timer: the longest delay there is neither overflows nor fires", "[reactor][timer]") {
    Fixture f;
    f.timer.start(Duration::max());
    CHECK(f.timer.armed());
    CHECK_FALSE(f.turn());
    CHECK_FALSE(f.turn_after(24h * 365 * 100));
    CHECK(f.timer.armed());
    CHECK(f.reactor.wait_time() > Duration{0});
    f.timer.start_at(TimePoint::max());
    CHECK_FALSE(f.turn_after(1h));
}

TEST_CASE("timer: one that dies does not fire", "[reactor][timer]") {
    Fixture f;
    auto timer = std::make_unique<Timer>(f.reactor, f.task);
    timer->start(1ms);
    timer.reset();
    CHECK_FALSE(f.turn_after(1h));
    CHECK(f.reactor.wait_time() < Duration{0});
}

TEST_CASE("timer: one that fired in this turn may be cancelled or destroyed by an earlier task",
          "[reactor][timer]") {
    Fixture f;
    FunctionTask victim_task;
    auto victim = std::make_unique<Timer>(f.reactor, victim_task);
    f.timer.start(1ms);
    victim->start(2ms);
    f.task.set(FunctionTask::waiting([&] { victim.reset(); }));
    CHECK(f.turn_after(1h));
    CHECK(victim == nullptr);
    CHECK(f.task.runs() == 1);
    CHECK_FALSE(f.turn());
}

TEST_CASE("timer: two timers of one task are told apart by who fired", "[reactor][timer]") {
    Fixture f;
    Timer second{f.reactor, f.task};
    f.timer.start(1ms);
    second.start(1s);
    f.turn_after(1ms);
    CHECK(f.timer.take_fired());
    CHECK_FALSE(second.take_fired());
    f.turn_after(1s);
    CHECK_FALSE(f.timer.take_fired());
    CHECK(second.take_fired());
}

TEST_CASE("timer: works across the end of 32 bits of milliseconds", "[reactor][timer]") {
    ManualClock clock{TimePoint{std::chrono::milliseconds{(std::int64_t{1} << 32) - 5000}}};
    Reactor reactor{clock};
    FunctionTask task;
    Timer timer{reactor, task};
    timer.start(10s);
    clock.advance(10s - 1ns);
    CHECK_FALSE(reactor.run_once(Duration{0}));
    clock.advance(1ns);
    CHECK(reactor.run_once(Duration{0}));
    CHECK(timer.take_fired());
}

TEST_CASE("timer: a turn that comes late fires everything that is due, earliest first",
          "[reactor][timer]") {
    Fixture f;
    std::vector<int> order;
    std::vector<std::unique_ptr<FunctionTask>> tasks;
    std::vector<std::unique_ptr<Timer>> timers;
    for (const int delay : {500, 20, 70'000, 3, 20'000, 3'600'000}) {
        tasks.push_back(std::make_unique<FunctionTask>(
            FunctionTask::waiting([&order, delay] { order.push_back(delay); })));
        timers.push_back(std::make_unique<Timer>(f.reactor, *tasks.back()));
        timers.back()->start(std::chrono::milliseconds{delay});
    }
    CHECK(f.turn_after(2h));
    CHECK(order == std::vector{3, 20, 500, 20'000, 70'000, 3'600'000});
}
