#include "eplb/reactor.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/watched.hpp"

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <fcntl.h>

// Tasks that end, are destroyed or throw, and what that does to others.

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::ManualClock;
using eplb::Next;
using eplb::Reactor;
using eplb::Watch;
using eplb::test::FunctionTask;
using eplb::test::Pair;
using eplb::test::tcp_pair;
using eplb::test::turn;
using eplb::test::Watched;
using eplb::test::write_byte;

namespace {

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

}  // namespace

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
