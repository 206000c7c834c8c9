#include "eplb/reactor.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"
#include "support/watched.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <poll.h>

// What is posted, by other threads too, and how a reactor is stopped.

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Next;
using eplb::Reactor;
using eplb::Watch;
using eplb::test::FunctionTask;
using eplb::test::turn;

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
