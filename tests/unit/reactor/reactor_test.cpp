#include "eplb/reactor.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"
#include "support/watched.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include <poll.h>

// What runs in a turn, and when. There is more of it in reactor_lifetime_test.cpp, reactor_post_test.cpp and
// reactor_wait_test.cpp.

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::ManualClock;
using eplb::Next;
using eplb::Reactor;
using eplb::Timer;
using eplb::test::FunctionTask;
using eplb::test::turn;
using eplb::test::Watched;
using eplb::test::write_byte;

namespace {

bool is_readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

bool sigpipe_blocked() {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGPIPE) == 1;
}

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

TEST_CASE("reactor: between turns the time is the clock's", "[reactor][reactor_loop]") {
    ManualClock clock;
    Reactor reactor{clock};
    turn(reactor);
    clock.advance(1h);
    CHECK(reactor.now() == clock.now());
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
