#include "eplb/reactor.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Next;
using eplb::Reactor;
using eplb::Timer;
using eplb::Watch;
using eplb::test::FunctionTask;
using eplb::test::Pair;
using eplb::test::tcp_pair;

namespace {

bool turn(Reactor& reactor) { return reactor.run_once(Duration{0}); }

void write_byte(const Fd& fd) { REQUIRE(::send(fd.get(), "x", 1, MSG_NOSIGNAL) == 1); }

bool is_readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

bool sigpipe_blocked() {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGPIPE) == 1;
}

// A connection and a task that watches one end of it.
struct Watched {
    explicit Watched(Reactor& reactor, FunctionTask::Function function = {})
        : task{std::move(function)}, watch{reactor, task} {
        REQUIRE(watch.attach(pair.near.get()) == 0);
    }
    Pair pair = tcp_pair();
    FunctionTask task;
    Watch watch;
};

// Destroys itself when it runs, and then does what it is told.
class Ending final : public eplb::Task {
public:
    Ending(std::unique_ptr<Ending>& self, std::function<Next()> then)
        : self_{self}, then_{std::move(then)} {}

    Next run() override {
        const auto then = then_;
        self_.reset();
        return then();
    }
    void retire() override { FAIL("it is gone"); }

private:
    std::unique_ptr<Ending>& self_;
    std::function<Next()> then_;
};

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

// The clock has to outlive it.
static_assert(std::is_constructible_v<Reactor, ManualClock&>);
static_assert(std::is_constructible_v<Reactor, const ManualClock&>);
static_assert(!std::is_constructible_v<Reactor, ManualClock>);

}  // namespace

TEST_CASE("reactor: a turn with nothing to do runs nothing and does not block",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    CHECK_FALSE(turn(reactor));
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a scheduled task runs once, in the next turn", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    reactor.schedule(task);
    reactor.schedule(task);
    CHECK(task.runs() == 0);
    CHECK(turn(reactor));
    CHECK(task.runs() == 1);
    CHECK_FALSE(turn(reactor));
    CHECK(task.runs() == 1);
}

TEST_CASE("reactor: tasks run in the order in which they became ready", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    FunctionTask a{FunctionTask::waiting([&] { order += 'a'; })};
    FunctionTask b{FunctionTask::waiting([&] { order += 'b'; })};
    FunctionTask c{FunctionTask::waiting([&] { order += 'c'; })};
    reactor.schedule(c);
    reactor.schedule(a);
    reactor.schedule(b);
    reactor.schedule(c);
    turn(reactor);
    CHECK(order == "cab");
}

TEST_CASE("reactor: in a turn, scheduled tasks come first, then events, then timers",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    FunctionTask on_timer{FunctionTask::waiting([&] { order += "timer "; })};
    Timer timer{reactor, on_timer};
    Watched event{reactor, FunctionTask::waiting([&] { order += "event "; })};
    FunctionTask scheduled{FunctionTask::waiting([&] { order += "scheduled "; })};

    timer.start(10ms);
    clock.advance(10ms);
    reactor.schedule(scheduled);
    CHECK(turn(reactor));
    CHECK(order == "scheduled event timer ");
}

TEST_CASE("reactor: readiness is noted for all before the first task runs",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    Watched a{reactor};
    Watched b{reactor};
    Timer timer{reactor, b.task};
    turn(reactor);
    a.watch.clear_readable();
    b.watch.clear_readable();

    bool a_saw_b = false;
    bool b_saw_a = false;
    bool timer_saw = false;
    a.task.set(FunctionTask::waiting([&] { a_saw_b = b.watch.readable(); }));
    b.task.set(FunctionTask::waiting([&] {
        b_saw_a = a.watch.readable();
        timer_saw = timer.take_fired();
    }));
    write_byte(a.pair.far);
    write_byte(b.pair.far);
    timer.start(1ms);
    clock.advance(1ms);
    turn(reactor);
    CHECK(a_saw_b);
    CHECK(b_saw_a);
    CHECK(timer_saw);
    CHECK(b.task.runs() == 2);  // once for its event and its timer together
}

TEST_CASE("reactor: the time is the same for every task of a turn", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<eplb::TimePoint> seen;
    FunctionTask a{FunctionTask::waiting([&] {
        seen.push_back(reactor.now());
        clock.advance(1s);
    })};
    FunctionTask b{FunctionTask::waiting([&] { seen.push_back(reactor.now()); })};
    const eplb::TimePoint start = clock.now();
    CHECK(reactor.now() == start);
    reactor.schedule(a);
    reactor.schedule(b);
    turn(reactor);
    CHECK(seen == std::vector{start, start});
    turn(reactor);
    CHECK(reactor.now() == start + 1s);
}

TEST_CASE("reactor: a task that wants to go on runs again behind everybody else",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    int left = 3;
    FunctionTask greedy{[&] {
        order += 'g';
        return --left > 0 ? Next::again : Next::wait;
    }};
    FunctionTask modest{FunctionTask::waiting([&] { order += 'm'; })};
    reactor.schedule(greedy);
    reactor.schedule(modest);

    CHECK(turn(reactor));
    CHECK(order == "gm");  // once a turn, however much there is to do
    reactor.schedule(modest);
    CHECK(turn(reactor));
    CHECK(order == "gmgm");
    CHECK(turn(reactor));
    CHECK(order == "gmgmg");
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task scheduled by another one runs in the next turn",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask late;
    FunctionTask early{FunctionTask::waiting([&] { reactor.schedule(late); })};
    reactor.schedule(early);
    turn(reactor);
    CHECK(late.runs() == 0);
    CHECK(reactor.wait_time() == Duration{0});
    CHECK(turn(reactor));
    CHECK(late.runs() == 1);
}

TEST_CASE("reactor: a task that schedules itself and waits runs in the next turn",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    task.set(FunctionTask::waiting([&] {
        if (task.runs() == 1) reactor.schedule(task);
    }));
    reactor.schedule(task);
    turn(reactor);
    CHECK(task.runs() == 1);
    turn(reactor);
    CHECK(task.runs() == 2);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a finished task is retired after its run, and never runs again",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    FunctionTask task;
    task.set([&] {
        order += "run ";
        reactor.schedule(task);  // does not help
        return Next::done;
    });
    task.on_retire([&] { order += "retire "; });
    FunctionTask next{FunctionTask::waiting([&] { order += "next "; })};
    reactor.schedule(task);
    reactor.schedule(next);
    turn(reactor);
    CHECK(order == "run retire next ");
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: retire may destroy the task", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto task = std::make_unique<FunctionTask>([] { return Next::done; });
    task->on_retire([&] { task.reset(); });
    reactor.schedule(*task);
    turn(reactor);
    CHECK(task == nullptr);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task may destroy another one of the same turn", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto victim = std::make_unique<Watched>(reactor);
    auto second_victim = std::make_unique<FunctionTask>();
    FunctionTask killer{FunctionTask::waiting([&] {
        victim.reset();
        second_victim.reset();
    })};
    FunctionTask bystander;
    reactor.schedule(killer);
    reactor.schedule(*second_victim);
    reactor.schedule(bystander);
    turn(reactor);  // the victim's event, that it is writable, is in this turn too
    CHECK(victim == nullptr);
    CHECK(bystander.runs() == 1);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task may destroy one that ran before it in the same turn",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto first = std::make_unique<FunctionTask>([] { return Next::again; });
    FunctionTask second{FunctionTask::waiting([&] { first.reset(); })};
    reactor.schedule(*first);
    reactor.schedule(second);
    turn(reactor);
    CHECK(first == nullptr);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task may destroy itself inside its own run, whatever it returns",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::unique_ptr<Ending> task;
    FunctionTask bystander;
    for (const Next next : {Next::wait, Next::again, Next::done}) {
        task = std::make_unique<Ending>(task, [next] { return next; });
        const int before = bystander.runs();
        reactor.schedule(*task);
        reactor.schedule(bystander);
        CHECK(turn(reactor));
        CHECK(task == nullptr);
        CHECK(bystander.runs() == before + 1);
        CHECK_FALSE(turn(reactor));
    }
}

TEST_CASE("reactor: a task may destroy itself and throw", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::unique_ptr<Ending> task;
    task = std::make_unique<Ending>(task, []() -> Next { throw std::runtime_error{"the last"}; });
    reactor.schedule(*task);
    CHECK_THROWS_WITH(turn(reactor), "the last");
    CHECK(task == nullptr);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task that runs within itself may be destroyed by the inner run",
          "[reactor][reactor_loop]") {
    class Nested final : public eplb::Task {
    public:
        Nested(Reactor& reactor, std::unique_ptr<Nested>& self, bool throws)
            : reactor_{reactor}, self_{self}, throws_{throws} {}
        Next run() override {
            if (++depth_ == 1) {
                reactor_.dispatch(*this);
                return Next::again;  // of nobody
            }
            const bool throws = throws_;
            self_.reset();
            if (throws) throw std::runtime_error{"from inside"};
            return Next::done;
        }
        void retire() override { FAIL("it is gone"); }

    private:
        Reactor& reactor_;
        std::unique_ptr<Nested>& self_;
        bool throws_;
        int depth_ = 0;
    };
    ManualClock clock;
    Reactor reactor{clock};
    std::unique_ptr<Nested> task;
    const bool throws = GENERATE(false, true);
    task = std::make_unique<Nested>(reactor, task, throws);
    reactor.schedule(*task);
    if (throws) {
        CHECK_THROWS_WITH(turn(reactor), "from inside");
    } else {
        CHECK(turn(reactor));
    }
    CHECK(task == nullptr);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: what retire throws leaves the turn, and takes nobody with it",
          "[reactor][reactor_loop]") {
    class Thrower final : public eplb::Task {
    public:
        Next run() override {
            ++runs;
            return Next::done;
        }
        void retire() override { throw std::runtime_error{"out of retire"}; }
        int runs = 0;
    };
    ManualClock clock;
    Reactor reactor{clock};
    Thrower thrower;
    FunctionTask bystander;
    reactor.schedule(thrower);
    reactor.schedule(bystander);
    CHECK_THROWS_WITH(turn(reactor), "out of retire");
    CHECK(turn(reactor));
    CHECK(thrower.runs == 1);
    CHECK(bystander.runs() == 1);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a descriptor number used again within a turn gets no event of its predecessor",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto old = std::make_unique<Watched>(reactor);
    turn(reactor);
    old->watch.clear_readable();
    const int number = old->pair.near.get();
    write_byte(
        old->pair.far);  // an event for `old`, in the same batch as the task that replaces it

    Pair fresh = tcp_pair();
    FunctionTask fresh_task;
    std::optional<Watch> fresh_watch;
    FunctionTask replacer{FunctionTask::waiting([&] {
        old.reset();
        const int got = ::fcntl(fresh.near.get(), F_DUPFD_CLOEXEC, number);
        fresh.near.reset(got);
        fresh_watch.emplace(reactor, fresh_task);
        REQUIRE(fresh_watch->attach(got) == 0);
    })};
    reactor.schedule(replacer);
    turn(reactor);
    REQUIRE(fresh.near.get() == number);
    CHECK(fresh_task.runs() == 0);
    CHECK_FALSE(fresh_watch->readable());
    CHECK_FALSE(fresh_watch->writable());

    CHECK(turn(reactor));
    CHECK(fresh_task.runs() == 1);
    CHECK(fresh_watch->writable());
    CHECK_FALSE(fresh_watch->readable());
    CHECK_FALSE(fresh_watch->hung_up());
}

TEST_CASE(
    "reactor: an exception out of a task leaves the others their turn, and itself another one",
    "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask before;
    FunctionTask thrower;
    thrower.set([&]() -> Next {
        if (thrower.runs() == 1) throw std::runtime_error{"out of a task"};
        return Next::wait;
    });
    FunctionTask after;
    FunctionTask after_too;
    for (FunctionTask* const task : {&before, &thrower, &after, &after_too}) {
        reactor.schedule(*task);
    }
    CHECK_THROWS_WITH(turn(reactor), "out of a task");
    CHECK(before.runs() == 1);
    CHECK(after.runs() == 0);
    CHECK(reactor.wait_time() == Duration{0});  // nothing may sleep now

    FunctionTask newcomer;
    reactor.schedule(newcomer);
    CHECK(turn(reactor));
    CHECK(before.runs() == 1);
    CHECK(after.runs() == 1);
    CHECK(after_too.runs() == 1);
    CHECK(newcomer.runs() == 1);
    CHECK(thrower.runs() == 2);  // it may have left edges unhandled, for which no other will come
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: between turns the time is the clock's", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    turn(reactor);
    clock.advance(1h);
    CHECK(reactor.now() == clock.now());
}

TEST_CASE("reactor: an exception does not make the time stand still", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask thrower{[]() -> Next { throw std::runtime_error{"out of a task"}; }};
    reactor.schedule(thrower);
    CHECK_THROWS_AS(turn(reactor), std::runtime_error);
    clock.advance(1h);
    CHECK(reactor.now() == clock.now());
}

TEST_CASE("reactor: a task left over by an exception may be destroyed", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto thrower =
        std::make_unique<FunctionTask>([]() -> Next { throw std::runtime_error{"out of a task"}; });
    auto left_over = std::make_unique<FunctionTask>();
    reactor.schedule(*thrower);
    reactor.schedule(*left_over);
    CHECK_THROWS_AS(turn(reactor), std::runtime_error);
    left_over.reset();
    thrower.reset();
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a task left over by an exception does not wait for an event",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    auto thrower =
        std::make_unique<FunctionTask>([]() -> Next { throw std::runtime_error{"out of a task"}; });
    FunctionTask left_over;
    reactor.schedule(*thrower);
    reactor.schedule(left_over);
    CHECK_THROWS_AS(turn(reactor), std::runtime_error);
    thrower.reset();
    CHECK(reactor.wait_time() == Duration{0});
    CHECK(turn(reactor));
    CHECK(left_over.runs() == 1);
    CHECK(reactor.wait_time() < Duration{0});
}

TEST_CASE("reactor: dispatch runs a task at once", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};

    SECTION("one that waits") {
        FunctionTask task;
        reactor.dispatch(task);
        CHECK(task.runs() == 1);
        CHECK_FALSE(turn(reactor));
    }
    SECTION("one that was on the list already runs only once") {
        FunctionTask task;
        reactor.schedule(task);
        reactor.dispatch(task);
        CHECK_FALSE(turn(reactor));
        CHECK(task.runs() == 1);
    }
    SECTION("one that wants to go on") {
        FunctionTask task;
        task.set([&] { return task.runs() == 1 ? Next::again : Next::wait; });
        reactor.dispatch(task);
        CHECK(turn(reactor));
        CHECK(task.runs() == 2);
    }
    SECTION("one that is done") {
        FunctionTask task{[] { return Next::done; }};
        reactor.dispatch(task);
        CHECK(task.retired());
    }
    SECTION("from within another one") {
        FunctionTask inner{[] { return Next::done; }};
        bool retired_before_return = false;
        FunctionTask outer{FunctionTask::waiting([&] {
            reactor.dispatch(inner);
            retired_before_return = inner.retired();
        })};
        reactor.schedule(outer);
        turn(reactor);
        CHECK(retired_before_return);
    }
}

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

TEST_CASE("reactor: two on one thread do not know of each other", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor first{clock};
    Reactor second{clock};
    Watched in_first{first};
    Watched in_second{second};
    CHECK(turn(first));
    CHECK(in_first.task.runs() == 1);
    CHECK(in_second.task.runs() == 0);
    CHECK(turn(second));
    CHECK(in_second.task.runs() == 1);

    FunctionTask task;
    Timer timer{second, task};
    timer.start(1ms);
    clock.advance(1ms);
    CHECK_FALSE(turn(first));
    CHECK(turn(second));
    CHECK(task.runs() == 1);
}

TEST_CASE("reactor: two in two threads share nothing but what they post",
          "[reactor][reactor_loop]") {
    // Each counts down in its own thread, and every step is a letter of the other one.
    struct Side {
        explicit Side(Reactor*& own) : own_{own} {}
        void live() {
            Reactor reactor;
            own_ = &reactor;
            ready.set_value();
            other_is_ready.get_future().get();
            reactor.run();
        }
        Reactor*& own_;
        std::promise<void> ready;
        std::promise<void> other_is_ready;
        int letters = 0;
    };
    constexpr int rounds = 1000;
    Reactor* first_reactor = nullptr;
    Reactor* second_reactor = nullptr;
    Side first{first_reactor};
    Side second{second_reactor};
    std::thread first_thread{[&] { first.live(); }};
    std::thread second_thread{[&] { second.live(); }};
    first.ready.get_future().get();
    second.ready.get_future().get();
    std::function<void()> to_first;
    std::function<void()> to_second;
    to_first = [&] {
        if (++first.letters < rounds) return second_reactor->post(to_second);
        second_reactor->post([&] { second_reactor->stop(); });
        first_reactor->stop();
    };
    to_second = [&] {
        ++second.letters;
        first_reactor->post(to_first);
    };
    first_reactor->post(to_first);
    first.other_is_ready.set_value();
    second.other_is_ready.set_value();
    first_thread.join();
    second_thread.join();
    CHECK(first.letters == rounds);
    CHECK(second.letters == rounds - 1);
}

TEST_CASE("reactor: one may be turned from within a task of another", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor outer{clock};
    Reactor inner{clock};
    FunctionTask inner_task;
    FunctionTask host{FunctionTask::waiting([&] { turn(inner); })};
    inner.schedule(inner_task);
    outer.schedule(host);
    turn(outer);
    CHECK(inner_task.runs() == 1);
}

TEST_CASE("reactor: it refuses to turn within its own turn, which goes on as it was",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    const eplb::TimePoint start = clock.now();
    const bool whole_run = GENERATE(false, true);
    bool refused = false;
    eplb::TimePoint afterwards{};
    FunctionTask host{FunctionTask::waiting([&] {
        clock.advance(1h);
        try {
            whole_run ? reactor.run() : static_cast<void>(turn(reactor));
        } catch (const std::logic_error&) {
            refused = true;
        }
        afterwards = reactor.now();
    })};
    FunctionTask other;
    reactor.schedule(host);
    reactor.schedule(other);
    reactor.stop();  // neither takes that: it is for whoever runs the reactor
    CHECK(turn(reactor));
    CHECK(refused);
    CHECK(afterwards == start);
    CHECK(host.runs() == 1);
    CHECK(other.runs() == 1);
    CHECK(reactor.now() == start + 1h);
    CHECK_FALSE(turn(reactor));
    reactor.run();  // ended by the stop() above
}

TEST_CASE("reactor: posted functions run in order, never within the call, and may post",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    reactor.post([&] {
        order += 'a';
        reactor.post([&] { order += 'c'; });
    });
    reactor.post([&] { order += 'b'; });
    CHECK(order.empty());
    CHECK(turn(reactor));
    CHECK(order == "ab");
    CHECK(turn(reactor));
    CHECK(order == "abc");
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: what a task posts runs behind what was posted before, be it in the same turn",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::string order;
    FunctionTask task{FunctionTask::waiting([&] {
        reactor.post([&] { order += 'b'; });
        CHECK(order.empty());
    })};
    reactor.schedule(task);
    reactor.post([&] { order += 'a'; });  // so it has its turn behind the task
    CHECK(turn(reactor));
    CHECK(order == "ab");
    turn(reactor);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: a posted function runs in the next turn, however many events that has",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    FunctionTask task;
    std::vector<Fd> ends;
    std::vector<std::unique_ptr<Watch>> watches;
    for (int i = 0; i < 600; ++i) {
        auto [near, far] = eplb::test::unix_pair();
        watches.push_back(std::make_unique<Watch>(reactor, task));
        REQUIRE(watches.back()->attach(near.get()) == 0);
        ends.push_back(std::move(near));
        ends.push_back(std::move(far));
    }
    bool ran = false;
    reactor.post([&] { ran = true; });  // behind more events than a turn takes
    CHECK(turn(reactor));
    CHECK(ran);
    watches.clear();
}

TEST_CASE("reactor: a descriptor goes to the reactor of another thread in a posted function",
          "[reactor][reactor_loop]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        auto [near, far] = eplb::test::unix_pair();
        std::promise<Reactor*> there;
        std::thread thread{[&there] {
            Reactor reactor;
            there.set_value(&reactor);
            reactor.run();
        }};
        Reactor& other = *there.get_future().get();
        const int number = near.get();
        int arrived = -1;
        other.post([&, fd = std::move(near)]() mutable {
            const Fd mine = std::move(fd);
            arrived = mine.get();
            other.stop();
        });
        CHECK_FALSE(near.valid());
        thread.join();
        CHECK(arrived == number);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("reactor: a posted function that can only be moved is destroyed on time",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    const auto token = std::make_shared<int>(1);
    std::optional<Reactor> reactor{std::in_place, clock};
    auto hold = [&] { return [held = std::make_unique<std::shared_ptr<int>>(token)] {}; };
    reactor->post(hold());
    auto named = hold();
    reactor->post(std::move(named));
    CHECK(token.use_count() == 3);
    SECTION("after its call") {
        turn(*reactor);
        CHECK(token.use_count() == 1);
    }
    SECTION("with the reactor, if it never ran") {
        reactor.reset();
        CHECK(token.use_count() == 1);
    }
}

TEST_CASE("reactor: whatever can be called without arguments can be posted",
          "[reactor][reactor_loop]") {
    static int calls = 0;
    calls = 0;
    struct Counting {
        static void count() { ++calls; }
        int operator()() const { return ++calls; }
    };
    ManualClock clock;
    Reactor reactor{clock};
    const auto lambda = [] { ++calls; };
    const std::function<void()> constant = lambda;
    std::function<int()> returning = Counting{};
    reactor.post(lambda);
    reactor.post(constant);
    reactor.post(returning);
    reactor.post(Counting{});
    reactor.post(Counting::count);
    reactor.post(&Counting::count);
    reactor.post([own = std::make_unique<int>(1)] { return calls += *own; });
    turn(reactor);
    CHECK(calls == 7);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: an empty function throws when its turn comes, and harms no other",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    bool ran = false;
    reactor.post(std::function<void()>{});
    reactor.post(nullptr);
    reactor.post({});
    reactor.post([&] { ran = true; });
    for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(turn(reactor), std::bad_function_call);
    CHECK(turn(reactor));
    CHECK(ran);
}

TEST_CASE("reactor: a posted function that throws does not take the others with it",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    int calls = 0;
    reactor.post([&] { ++calls; });
    reactor.post([] { throw std::runtime_error{"out of a post"}; });
    reactor.post([&] { ++calls; });
    CHECK_THROWS_WITH(turn(reactor), "out of a post");
    CHECK(calls == 1);
    CHECK(reactor.wait_time() == Duration{0});
    CHECK(turn(reactor));
    CHECK(calls == 2);
    CHECK_FALSE(turn(reactor));
}

TEST_CASE("reactor: functions that never ran are destroyed with it", "[reactor][reactor_loop]") {
    const auto token = std::make_shared<int>(1);
    {
        ManualClock clock;
        Reactor reactor{clock};
        reactor.post([token] {});
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("reactor: many posted functions do not keep other tasks from their turn",
          "[reactor][reactor_whole]") {
    Reactor reactor;
    std::size_t posted = 0;
    for (int i = 0; i < 1000; ++i) reactor.post([&] { ++posted; });
    std::size_t most = 0;
    for (int i = 0; posted < 1000 && i < 100; ++i) {
        const std::size_t before = posted;
        static_cast<void>(turn(reactor));
        CHECK(posted > before);  // and needs no other wake-up
        most = std::max(most, posted - before);
    }
    CHECK(posted == 1000);
    CHECK(most <= Reactor::posts_per_turn);
}

TEST_CASE("reactor: what dies with a function that never ran may post another one",
          "[reactor][reactor_loop]") {
    struct Poster {
        Poster(Reactor& where, std::shared_ptr<int> witness)
            : reactor{where}, alive{std::move(witness)} {}
        ~Poster() {
            reactor.post([witness = alive] {});
        }
        Reactor& reactor;
        std::shared_ptr<int> alive;
    };
    ManualClock clock;
    const auto alive = std::make_shared<int>(0);
    {
        Reactor reactor{clock};
        for (int i = 0; i < 3; ++i) {
            reactor.post([poster = std::make_shared<Poster>(reactor, alive)] {});
        }
    }
    CHECK(alive.use_count() == 1);
}

TEST_CASE("reactor: a function is destroyed after its call, before the next turn",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    const auto token = std::make_shared<int>(1);
    reactor.post([token] {});
    turn(reactor);
    CHECK(token.use_count() == 1);
}

TEST_CASE("reactor: post from other threads wakes it, and each thread's order is kept",
          "[reactor][reactor_loop]") {
    constexpr int threads = 4;
    constexpr int posts = 500;
    Reactor reactor;
    const std::thread::id here = std::this_thread::get_id();
    std::array<std::vector<int>, threads> seen;
    int total = 0;
    bool on_this_thread = true;

    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t) {
        posters.emplace_back([&, t] {
            for (int i = 0; i < posts; ++i) {
                reactor.post([&, t, i] {
                    on_this_thread = on_this_thread && std::this_thread::get_id() == here;
                    seen[static_cast<std::size_t>(t)].push_back(i);
                    if (++total == threads * posts) reactor.stop();
                });
            }
        });
    }
    reactor.run();
    for (std::thread& poster : posters) poster.join();

    CHECK(on_this_thread);
    CHECK(total == threads * posts);
    for (const std::vector<int>& order : seen) {
        CHECK(order.size() == posts);
        CHECK(std::is_sorted(order.begin(), order.end()));
    }
}

TEST_CASE("reactor: stop from another thread ends run while it sleeps", "[reactor][reactor_loop]") {
    Reactor reactor;
    std::thread stopper{[&] { reactor.stop(); }};
    reactor.run();
    stopper.join();
    SUCCEED("run() returned");
}

TEST_CASE("reactor: stop before run makes it return, once", "[reactor][reactor_loop]") {
    Reactor reactor;
    reactor.stop();
    reactor.run();

    // The stop was used up: the next run() works until it is stopped again.
    int turns = 0;
    FunctionTask task{[&] {
        if (++turns < 3) return Next::again;
        reactor.stop();
        return Next::wait;
    }};
    reactor.schedule(task);
    reactor.run();
    CHECK(turns == 3);
}

TEST_CASE("reactor: a host's own loop sees that it was asked to stop, until a run takes it",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    CHECK_FALSE(reactor.stop_requested());
    bool seen_within = false;
    reactor.post([&] {
        reactor.stop();
        seen_within = reactor.stop_requested();
    });
    int turns = 0;
    while (!reactor.stop_requested()) {
        REQUIRE(++turns < 3);
        turn(reactor);
    }
    CHECK(seen_within);
    turn(reactor);
    CHECK(reactor.stop_requested());

    bool ran = false;
    reactor.post([&] { ran = true; });
    reactor.run();  // does not turn: it was asked to stop before
    CHECK_FALSE(ran);
    CHECK_FALSE(reactor.stop_requested());
    turn(reactor);
    CHECK(ran);
}

TEST_CASE("reactor: stop from another thread wakes a host that watches the descriptor",
          "[reactor][reactor_loop]") {
    Reactor reactor;
    std::thread stopper{[&] { reactor.stop(); }};
    while (!reactor.stop_requested()) {
        pollfd events{reactor.fd(), POLLIN, 0};
        REQUIRE(::poll(&events, 1, 10'000) == 1);
        turn(reactor);
    }
    stopper.join();
}

TEST_CASE("reactor: stop from a task finishes the turn in progress", "[reactor][reactor_loop]") {
    Reactor reactor;
    FunctionTask stopper{FunctionTask::waiting([&] { reactor.stop(); })};
    FunctionTask other;
    reactor.schedule(stopper);
    reactor.schedule(other);
    reactor.run();
    CHECK(other.runs() == 1);
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

namespace {

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

TEST_CASE("reactor: leaves no descriptor behind", "[reactor][reactor_loop]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        ManualClock clock;
        Reactor reactor{clock};
        Watched watched{reactor};
        turn(reactor);
        CHECK(descriptors.leaked() > 0);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("reactor: without descriptors it throws and leaves nothing open or blocked",
          "[reactor][reactor_loop]") {
    const eplb::test::DescriptorCheck descriptors;
    const bool blocked = sigpipe_blocked();
    ManualClock clock;
    for (const int spare : {0, 1}) {
        CAPTURE(spare);
        int code = 0;
        try {
            const eplb::test::DescriptorShortage shortage{spare};
            const Reactor reactor{clock};
        } catch (const std::system_error& error) {
            code = error.code().value();
        }
        CHECK(code == EMFILE);
        CHECK(descriptors.leaked() == 0);
        CHECK(sigpipe_blocked() == blocked);
    }
    bool works = false;
    {
        const eplb::test::DescriptorShortage shortage{2};  // "it takes two"
        const Reactor reactor{clock};
        works = true;
    }
    CHECK(works);
}

TEST_CASE("reactor: SIGPIPE is blocked while it lives, and the mask is restored",
          "[reactor][reactor_loop]") {
    REQUIRE_FALSE(sigpipe_blocked());
    ManualClock clock;
    {
        const Reactor reactor{clock};
        CHECK(sigpipe_blocked());
    }
    CHECK_FALSE(sigpipe_blocked());

    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, nullptr);
    {
        const Reactor reactor{clock};
        CHECK(sigpipe_blocked());
    }
    CHECK(sigpipe_blocked());  // the host had blocked it itself
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, nullptr);
}

TEST_CASE("reactor: a SIGPIPE that came meanwhile is not delivered when it dies",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    {
        const Reactor reactor{clock};
        ::raise(SIGPIPE);
    }
    CHECK_FALSE(sigpipe_blocked());
    SUCCEED("still alive");
}

TEST_CASE("reactor: of two on one thread, the one that dies first leaves SIGPIPE blocked",
          "[reactor][reactor_loop]") {
    ManualClock clock;
    auto first = std::make_unique<Reactor>(clock);
    auto second = std::make_unique<Reactor>(clock);
    SECTION("in the order of their birth") {
        first.reset();
        CHECK(sigpipe_blocked());
        second.reset();
    }
    SECTION("in the reverse order") {
        second.reset();
        CHECK(sigpipe_blocked());
        first.reset();
    }
    CHECK_FALSE(sigpipe_blocked());
}

TEST_CASE("reactor: its descriptor is close-on-exec", "[reactor][reactor_loop]") {
    ManualClock clock;
    const Reactor reactor{clock};
    CHECK(eplb::test::is_close_on_exec(reactor.fd()));
    CHECK_FALSE(is_readable(reactor.fd()));
}
