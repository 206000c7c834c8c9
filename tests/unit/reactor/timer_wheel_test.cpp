#include "reactor/timer_wheel.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::TimePoint;
using eplb::Timer;
using eplb::TimerWheel;

namespace {

constexpr TimePoint at(Duration since_start) { return TimePoint{since_start}; }

// Timers belong to a reactor, but the wheel under test is not the reactor's.
class Wheel {
public:
    explicit Wheel(TimePoint start) : wheel{start} {}
    ~Wheel() {
        for (const auto& timer : timers_) {
            if (timer->armed()) wheel.remove(*timer);
        }
    }

    Timer& timer() { return *timers_.emplace_back(std::make_unique<Timer>(reactor_, task_)); }
    Timer& insert(TimePoint deadline) {
        Timer& inserted = timer();
        wheel.insert(inserted, deadline);
        return inserted;
    }
    std::vector<Timer*> advance(TimePoint now) {
        std::vector<Timer*> expired;
        wheel.advance(now, [&](Timer& timer_) { expired.push_back(&timer_); });
        return expired;
    }

private:
    eplb::ManualClock clock_;
    eplb::Reactor reactor_{clock_};
    eplb::test::FunctionTask task_;
    std::vector<std::unique_ptr<Timer>> timers_;

public:
    TimerWheel wheel;
};

using Timers = std::vector<Timer*>;

}  // namespace

TEST_CASE("timer wheel: an empty one has nothing to do", "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    CHECK_FALSE(wheel.wheel.next());
    CHECK(wheel.advance(at(2h)).empty());
    CHECK_FALSE(wheel.wheel.next());
}

TEST_CASE("timer wheel: expires at the deadline, neither before nor a millisecond after",
          "[reactor][timer_wheel]") {
    const Duration delay = GENERATE(1ms, 2ms, 63ms, 64ms, 65ms, 127ms, 4095ms, 4096ms, 4097ms,
                                    262'143ms, 262'144ms, 262'145ms, 3'600'000ms, 86'400'000ms);
    const Duration start = GENERATE(Duration{0}, Duration{63ms}, Duration{1h}, Duration{262'143ms},
                                    Duration{1'234'567ms});
    CAPTURE(delay.count(), start.count());
    Wheel wheel{at(start)};
    Timer& timer = wheel.insert(at(start + delay));
    CHECK(timer.armed());
    CHECK(wheel.advance(at(start + delay - 1ns)).empty());
    CHECK(timer.armed());
    CHECK(wheel.advance(at(start + delay)) == Timers{&timer});
    CHECK_FALSE(timer.armed());
    CHECK_FALSE(wheel.wheel.next());
}

TEST_CASE("timer wheel: a fraction of a millisecond is rounded up", "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& timer = wheel.insert(at(1h + 5ms + 1ns));
    CHECK(wheel.advance(at(1h + 5ms + 999'999ns)).empty());
    CHECK(wheel.wheel.next() == at(1h + 6ms));
    CHECK(wheel.advance(at(1h + 6ms)) == Timers{&timer});
}

TEST_CASE("timer wheel: a start between two milliseconds makes nothing early",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h + 300us)};
    Timer& timer = wheel.insert(at(1h + 300us + 1ms));
    CHECK(wheel.advance(at(1h + 1ms)).empty());
    CHECK(wheel.advance(at(1h + 1ms + 299us)).empty());
    CHECK(wheel.advance(at(1h + 2ms)) == Timers{&timer});
}

TEST_CASE("timer wheel: what is due already expires at once", "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& now = wheel.insert(at(1h));
    Timer& past = wheel.insert(at(1min));
    Timer& before_time = wheel.insert(TimePoint{-5s});
    Timer& longest_ago = wheel.insert(TimePoint::min());
    REQUIRE(wheel.wheel.next());
    CHECK(*wheel.wheel.next() <= at(1h));
    CHECK(wheel.advance(at(1h)) == Timers{&now, &past, &before_time, &longest_ago});
}

TEST_CASE("timer wheel: a deadline that is over is due within its millisecond",
          "[reactor][timer_wheel]") {
    const Duration turned_to = GENERATE(Duration{1h}, Duration{1h + 7ms}, Duration{1h + 3s});
    Wheel wheel{at(1h)};
    CHECK(wheel.advance(at(turned_to)).empty());
    const TimePoint now = at(turned_to) + GENERATE(Duration{300us}, Duration{90ms + 300us});
    const TimePoint deadline = now - GENERATE(Duration{0}, Duration{100us}, Duration{1h + 1us});
    Timer& timer = wheel.timer();
    wheel.wheel.insert_due(timer, deadline);
    CHECK(wheel.wheel.next() <= now);
    CHECK(wheel.advance(now) == Timers{&timer});
    CHECK_FALSE(wheel.wheel.next());
}

TEST_CASE("timer wheel: timers of one advance expire earliest millisecond first",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& day = wheel.insert(at(25h));
    Timer& second = wheel.insert(at(1h + 1s));
    Timer& minute = wheel.insert(at(1h + 1min));
    Timer& milli = wheel.insert(at(1h + 1ms));
    Timer& milli_too = wheel.insert(at(1h + 1ms));
    Timer& year = wheel.insert(at(8760h));
    CHECK(wheel.advance(at(10'000h)) == Timers{&milli, &milli_too, &second, &minute, &day, &year});
}

TEST_CASE("timer wheel: a removed timer does not expire, and its neighbours do",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& a = wheel.insert(at(1h + 100ms));
    Timer& b = wheel.insert(at(1h + 100ms));
    Timer& c = wheel.insert(at(1h + 100ms));
    Timer& due = wheel.insert(at(1h));
    wheel.wheel.remove(b);
    wheel.wheel.remove(due);
    CHECK_FALSE(b.armed());
    CHECK(wheel.advance(at(2h)) == Timers{&a, &c});
}

TEST_CASE("timer wheel: removing the last timer of a slot leaves nothing to wake up for",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    for (const Duration delay : {Duration{1ms}, Duration{1s}, Duration{1h}, Duration{8760h}}) {
        Timer& timer = wheel.insert(at(1h + delay));
        CHECK(wheel.wheel.next());
        wheel.wheel.remove(timer);
        CHECK_FALSE(wheel.wheel.next());
    }
}

TEST_CASE("timer wheel: the callback may insert and remove", "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& first = wheel.insert(at(1h + 10ms));
    Timer& victim = wheel.insert(at(1h + 20ms));
    Timer& same_slot = wheel.insert(at(1h + 10ms));
    Timer& added = wheel.timer();
    Timer& later = wheel.timer();
    Timers expired;
    wheel.wheel.advance(at(1h + 50ms), [&](Timer& timer) {
        expired.push_back(&timer);
        if (&timer != &first) return;
        wheel.wheel.remove(victim);
        wheel.wheel.remove(same_slot);
        wheel.wheel.insert(added, at(1h + 30ms));   // still due in this advance
        wheel.wheel.insert(later, at(1h + 500ms));  // not due yet
    });
    CHECK(expired == Timers{&first, &added});
    CHECK(later.armed());
    CHECK(wheel.advance(at(2h)) == Timers{&later});
}

TEST_CASE("timer wheel: the callback may put the same timer back", "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& timer = wheel.insert(at(1h + 10ms));
    int count = 0;
    wheel.wheel.advance(at(1h + 100ms), [&](Timer& expired) {
        ++count;
        wheel.wheel.insert(expired, at(1h + 10ms + count * 10ms));
    });
    CHECK(count == 10);
    CHECK(timer.armed());
}

TEST_CASE("timer wheel: nothing wraps around where 32 bits of milliseconds end",
          "[reactor][timer_wheel]") {
    const Duration edge = std::chrono::milliseconds{std::int64_t{1} << 32};
    for (const Duration before : {Duration{1ms}, Duration{5s}, Duration{1h}, Duration{24h * 50}}) {
        Wheel wheel{at(edge - before)};
        Timer& just_before = wheel.insert(at(edge - 1ms));
        Timer& on_it = wheel.insert(at(edge));
        Timer& just_after = wheel.insert(at(edge + 1ms));
        Timer& twice = wheel.insert(at(2 * edge));
        Timers expired = wheel.advance(at(edge - 1ms));
        CHECK(expired == Timers{&just_before});
        CHECK(wheel.advance(at(edge)) == Timers{&on_it});
        CHECK(wheel.advance(at(edge + 1ms)) == Timers{&just_after});
        CHECK(wheel.advance(at(2 * edge - 1ms)).empty());
        CHECK(wheel.advance(at(2 * edge)) == Timers{&twice});
    }
}

TEST_CASE("timer wheel: the farthest deadline there is can be set, and is not due",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& never = wheel.insert(TimePoint::max());
    CHECK(never.armed());
    REQUIRE(wheel.wheel.next());
    CHECK(*wheel.wheel.next() <= TimePoint::max());
    CHECK(*wheel.wheel.next() > at(1h));
    for (TimePoint now = at(2h); now < TimePoint::max() - 100'000h; now += 90'000h) {
        REQUIRE(wheel.advance(now).empty());
    }
    CHECK(never.armed());
}

TEST_CASE("timer wheel: time that stands still or goes back expires nothing anew",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    Timer& timer = wheel.insert(at(1h + 10ms));
    CHECK(wheel.advance(at(1h + 5ms)).empty());
    CHECK(wheel.advance(at(1h + 5ms)).empty());
    CHECK(wheel.advance(at(30min)).empty());
    CHECK(wheel.advance(at(1h + 9ms)).empty());
    CHECK(wheel.advance(at(1h + 10ms)) == Timers{&timer});
}

TEST_CASE("timer wheel: sleeping until next() again and again meets every deadline in few steps",
          "[reactor][timer_wheel]") {
    Wheel wheel{at(1h)};
    const TimePoint deadline = at(1h + 30 * 24h + 123'456'789us);
    Timer& timer = wheel.insert(deadline);
    int steps = 0;
    TimePoint now = at(1h);
    Timers expired;
    while (expired.empty()) {
        const auto next = wheel.wheel.next();
        REQUIRE(next);
        REQUIRE(*next > now);  // it would be a busy loop otherwise
        REQUIRE(*next < deadline + 1ms);
        now = *next;
        expired = wheel.advance(now);
        REQUIRE(++steps <= 11);
    }
    CHECK(expired == Timers{&timer});
    CHECK(now >= deadline);
}

TEST_CASE("timer wheel: behaves like a sorted list under random use", "[reactor][timer_wheel]") {
    const auto seed = GENERATE(range(1U, 9U));
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    // Spans that differ in magnitude, from a fraction of a millisecond to years.
    const auto span = [&] {
        const std::uint64_t limit = std::uint64_t{1} << (10 + below(48));
        return Duration{static_cast<Duration::rep>(below(limit))};
    };

    // Some seeds start shortly before 2^32 ms, where 32-bit arithmetic would show.
    TimePoint now = seed % 2 == 0 ? at(std::chrono::milliseconds{(std::int64_t{1} << 32) - 5000})
                                  : at(1h + 123'456ns);
    Wheel wheel{now};
    std::multimap<TimePoint, Timer*> model;
    std::map<Timer*, TimePoint> deadlines;
    std::vector<Timer*> idle;
    for (int i = 0; i < 200; ++i) idle.push_back(&wheel.timer());

    TimePoint advanced_to = now;

    const auto check_next = [&] {
        const auto next = wheel.wheel.next();
        REQUIRE(next.has_value() == !model.empty());
        if (!next) return;
        // What is overdue already can be no earlier than now.
        REQUIRE(*next < std::max(model.begin()->first, now) + 1ms);
    };

    // Does not change what is due, or when: it is asked in between, by a random hand.
    const auto check_due = [&] {
        using std::chrono::milliseconds;
        const bool due = !model.empty() && std::chrono::ceil<milliseconds>(model.begin()->first) <=
                                               std::chrono::floor<milliseconds>(now);
        REQUIRE(wheel.wheel.has_due(now) == due);
        advanced_to = now;  // as far as that goes
        // Or a reactor would ask again and again without waiting.
        if (const auto next = wheel.wheel.next(); next && !due) REQUIRE(*next > now);
    };

    for (int step = 0; step < 6000; ++step) {
        if (below(2) == 0) check_due();
        const auto choice = below(10);
        if (choice < 5 && !idle.empty()) {
            Timer* const timer = idle.back();
            idle.pop_back();
            const TimePoint deadline = below(20) == 0 ? now - span() : now + span();
            wheel.wheel.insert(*timer, deadline);
            model.emplace(deadline, timer);
            deadlines[timer] = deadline;
        } else if (choice < 7 && !model.empty()) {
            auto victim = model.begin();
            std::advance(victim, static_cast<std::ptrdiff_t>(below(model.size())));
            Timer* const timer = victim->second;
            wheel.wheel.remove(*timer);
            REQUIRE_FALSE(timer->armed());
            deadlines.erase(timer);
            idle.push_back(timer);
            model.erase(victim);
        } else {
            if (below(2) == 0 && wheel.wheel.next()) {
                now = std::max(now, *wheel.wheel.next());  // as a reactor would sleep
            } else {
                now +=
                    below(3) == 0 ? span() : Duration{static_cast<Duration::rep>(below(5'000'000))};
            }
            if (below(4) != 0) check_due();
            if (below(4) == 0) continue;
            TimePoint last = TimePoint::min();
            wheel.wheel.advance(now, [&](Timer& timer) {
                const TimePoint deadline = deadlines.at(&timer);
                REQUIRE(deadline <= now);      // never early
                if (deadline > advanced_to) {  // those inserted too late come first, in any order
                    const TimePoint tick = std::chrono::ceil<std::chrono::milliseconds>(deadline);
                    REQUIRE(tick >= last);
                    last = tick;
                }
                const auto [begin, end] = model.equal_range(deadline);
                const auto entry =
                    std::find_if(begin, end, [&](const auto& e) { return e.second == &timer; });
                REQUIRE(entry != end);
                model.erase(entry);
                deadlines.erase(&timer);
                idle.push_back(&timer);
            });
            advanced_to = now;
            // At most a millisecond late.
            REQUIRE((model.empty() || model.begin()->first > now - 1ms));
        }
        check_next();
    }
}
