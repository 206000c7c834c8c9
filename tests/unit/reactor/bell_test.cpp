#include "reactor/bell.hpp"

#include "support/catch.hpp"
#include "support/function_task.hpp"

#include <chrono>
#include <memory>
#include <thread>

using namespace std::chrono_literals;
using eplb::Bell;
using eplb::Next;
using eplb::Reactor;
using eplb::test::FunctionTask;

TEST_CASE("bell: rung by another thread, its task runs once, at the latest in the next turn",
          "[reactor][bell]") {
    Reactor reactor;
    int runs = 0;
    FunctionTask task{[&] {
        ++runs;
        return Next::wait;
    }};
    Bell bell{reactor, task};
    reactor.run_once(0ms);
    CHECK(runs == 0);
    std::thread{[&] {
        for (int i = 0; i < 100; ++i) bell.ring();
    }}.join();
    reactor.run_once(0ms);
    CHECK(runs == 1);
    reactor.run_once(0ms);
    CHECK(runs == 1);
    bell.ring();
    reactor.run_once(0ms);
    CHECK(runs == 2);
}

TEST_CASE("bell: its task may ring it again, which is heard in the turn after that",
          "[reactor][bell]") {
    Reactor reactor;
    int runs = 0;
    Bell* again = nullptr;
    FunctionTask task{[&] {
        if (++runs < 3) again->ring();
        return Next::wait;
    }};
    Bell bell{reactor, task};
    again = &bell;
    bell.ring();
    for (int turn = 1; turn <= 3; ++turn) {
        reactor.run_once(0ms);
        CHECK(runs == turn);
    }
    reactor.run_once(0ms);
    CHECK(runs == 3);
}

TEST_CASE("bell: one that is gone is not heard, be it by the task of another one",
          "[reactor][bell]") {
    Reactor reactor;
    int runs = 0;
    FunctionTask silent{[&] {
        ++runs;
        return Next::wait;
    }};
    auto doomed = std::make_unique<Bell>(reactor, silent);
    FunctionTask destroying{[&] {
        doomed.reset();
        return Next::wait;
    }};
    Bell bell{reactor, destroying};
    bell.ring();
    doomed->ring();
    reactor.run_once(0ms);
    reactor.run_once(0ms);
    CHECK(runs == 0);
    CHECK(doomed == nullptr);
}

TEST_CASE("bell: rung and posted to, a reactor misses neither", "[reactor][bell]") {
    Reactor reactor;
    int runs = 0;
    int letters = 0;
    FunctionTask task{[&] {
        ++runs;
        return Next::wait;
    }};
    Bell bell{reactor, task};
    for (int i = 1; i <= 3; ++i) {
        bell.ring();
        reactor.post([&] { ++letters; });
        reactor.run_once(0ms);
        CHECK(runs == i);
        CHECK(letters == i);
    }
}
