#include "eplb/signals.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/process.hpp"

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::SignalWatch;
using eplb::Timer;
using eplb::test::FunctionTask;

namespace {

bool is_blocked(int signal) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, signal) == 1;
}

// Keeps a test that fails from taking others with it: a signal that is still pending when it is
// unblocked does not end the test run, and the next test finds the mask as it was.
class Harmless {
public:
    Harmless() {
        pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
        ::signal(SIGUSR1, SIG_IGN);
        ::signal(SIGUSR2, SIG_IGN);
    }
    ~Harmless() {
        pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
        ::signal(SIGUSR1, SIG_DFL);
        ::signal(SIGUSR2, SIG_DFL);
    }
    Harmless(const Harmless&) = delete;
    Harmless& operator=(const Harmless&) = delete;

private:
    sigset_t mask_{};
};

struct Fixture {
    Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<int> seen;
    SignalWatch watch{reactor, {SIGUSR1, SIGUSR2}, [this](int signal) { seen.push_back(signal); }};

    bool turn() { return reactor.run_once(Duration{0}); }
};

}  // namespace

TEST_CASE("signals: one for the process reaches the handler on the reactor's thread",
          "[reactor][signals]") {
    const Harmless harmless;
    Reactor reactor;
    std::optional<std::thread::id> handled_on;
    int handled = 0;
    const SignalWatch watch{reactor, {SIGUSR1}, [&](int signal) {
                                handled_on = std::this_thread::get_id();
                                handled = signal;
                                reactor.stop();
                            }};
    // The new thread inherits the mask, so it does not take the signal itself.
    std::thread sender{[] { ::kill(::getpid(), SIGUSR1); }};
    reactor.run();
    sender.join();
    CHECK(handled == SIGUSR1);
    CHECK(handled_on == std::this_thread::get_id());
}

TEST_CASE("signals: several at once are all handled in one turn", "[reactor][signals]") {
    Fixture f;
    ::raise(SIGUSR2);
    ::raise(SIGUSR1);
    CHECK(f.turn());
    CHECK(f.seen == std::vector{SIGUSR1, SIGUSR2});  // the kernel gives the lowest number first
    CHECK_FALSE(f.turn());
}

TEST_CASE("signals: none of a thousand is lost, and none keeps the reactor busy",
          "[reactor][signals]") {
    Fixture f;
    for (std::size_t i = 1; i <= 1000; ++i) {
        ::raise(SIGUSR1);
        REQUIRE(f.turn());
        REQUIRE(f.seen.size() == i);
        REQUIRE_FALSE(f.turn());
    }
}

TEST_CASE("signals: one that is raised by the handler is handled too", "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    int count = 0;
    const SignalWatch watch{reactor, {SIGUSR1}, [&](int) {
                                if (++count < 3) ::raise(SIGUSR1);
                            }};
    ::raise(SIGUSR1);
    while (reactor.run_once(Duration{0})) {}
    CHECK(count == 3);
}

TEST_CASE("signals: a handler that raises its own signal again and again lets the others run",
          "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    int handled = 0;
    const SignalWatch watch{reactor, {SIGUSR1}, [&](int) {
                                if (++handled < 10'000) ::raise(SIGUSR1);
                            }};
    FunctionTask task;
    Timer timer{reactor, task};
    timer.start(1ms);
    clock.advance(1ms);
    ::raise(SIGUSR1);
    bool posted = false;
    reactor.post([&] { posted = true; });
    CHECK(reactor.run_once(Duration{0}));
    CHECK(posted);
    CHECK(timer.take_fired());
    CHECK(handled < 1000);
    CHECK(reactor.wait_time() == Duration{0});  // it goes on
    while (reactor.run_once(Duration{0})) {}
    CHECK(handled == 10'000);
}

TEST_CASE("signals: a handler that throws does not lose the next signal", "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<int> seen;
    const SignalWatch watch{reactor, {SIGUSR1, SIGUSR2}, [&](int signal) {
                                seen.push_back(signal);
                                if (signal == SIGUSR1) throw std::runtime_error{"out of a handler"};
                            }};
    ::raise(SIGUSR1);
    ::raise(SIGUSR2);
    CHECK_THROWS_WITH(reactor.run_once(Duration{0}), "out of a handler");
    reactor.run_once(Duration{0});
    CHECK(seen == std::vector{SIGUSR1, SIGUSR2});
}

TEST_CASE("signals: a handler may destroy the watch, and what it holds itself",
          "[reactor][signals]") {
    const Harmless harmless;
    const eplb::test::DescriptorCheck descriptors;
    {
        ManualClock clock;
        Reactor reactor{clock};
        std::optional<SignalWatch> watch;
        std::vector<int> seen;
        const auto witness = std::make_shared<int>(1);
        watch.emplace(reactor, std::initializer_list<int>{SIGUSR1, SIGUSR2},
                      [&, witness](int signal) {
                          seen.push_back(signal);
                          watch.reset();
                          CHECK(*witness == 1);  // what runs is still there
                      });
        ::raise(SIGUSR1);
        CHECK(reactor.run_once(Duration{0}));
        CHECK(seen == std::vector{SIGUSR1});
        CHECK(witness.use_count() == 1);
        CHECK_FALSE(reactor.run_once(Duration{0}));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("signals: they are blocked while it lives, and the mask is restored",
          "[reactor][signals]") {
    const Harmless harmless;
    REQUIRE_FALSE(is_blocked(SIGUSR1));
    ManualClock clock;
    Reactor reactor{clock};
    const eplb::test::DescriptorCheck descriptors;
    {
        const SignalWatch watch{reactor, {SIGUSR1}, [](int) {}};
        CHECK(is_blocked(SIGUSR1));
        CHECK_FALSE(is_blocked(SIGUSR2));
    }
    CHECK_FALSE(is_blocked(SIGUSR1));
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("signals: one that was blocked before stays blocked", "[reactor][signals]") {
    const Harmless harmless;
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
    {
        ManualClock clock;
        Reactor reactor{clock};
        const SignalWatch watch{reactor, {SIGUSR1}, [](int) {}};
    }
    CHECK(is_blocked(SIGUSR1));
    pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
}

TEST_CASE("signals: of two watches, the one that dies first leaves the other's signals blocked",
          "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    std::optional<SignalWatch> first;
    std::optional<SignalWatch> second;
    first.emplace(reactor, std::initializer_list<int>{SIGUSR1}, [](int) {});
    second.emplace(reactor, std::initializer_list<int>{SIGUSR2}, [](int) {});
    first.reset();
    CHECK(is_blocked(SIGUSR2));
    CHECK_FALSE(is_blocked(SIGUSR1));
    second.reset();
    CHECK_FALSE(is_blocked(SIGUSR1));
    CHECK_FALSE(is_blocked(SIGUSR2));
}

TEST_CASE("signals: one that dies does not change the rest of the mask", "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    std::optional<Reactor> reactor{std::in_place, clock};
    std::optional<SignalWatch> watch{std::in_place, *reactor, std::initializer_list<int>{SIGUSR1},
                                     [](int) {}};
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, nullptr);  // by the host, meanwhile
    watch.reset();
    CHECK(is_blocked(SIGUSR2));
    CHECK(is_blocked(SIGPIPE));
    pthread_sigmask(SIG_UNBLOCK, &usr2, nullptr);
}

TEST_CASE("signals: what is no signal, or cannot be watched, is refused, and nothing stays blocked",
          "[reactor][signals]") {
    const Harmless harmless;
    const eplb::test::DescriptorCheck descriptors;
    {
        ManualClock clock;
        Reactor reactor{clock};
        const int number = GENERATE(9999, 0, -1, SIGKILL, SIGSTOP, 32);  // 32 is the C library's
        CAPTURE(number);
        try {
            const SignalWatch watch{reactor, {SIGUSR1, number}, [](int) {}};
            FAIL_CHECK("it was taken");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::invalid_argument);
            CHECK_THAT(error.what(), eplb::test::contains(std::to_string(number)));
        }
        CHECK_FALSE(is_blocked(SIGUSR1));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("signals: without descriptors it throws and leaves the mask alone",
          "[reactor][signals]") {
    const Harmless harmless;
    ManualClock clock;
    Reactor reactor{clock};
    bool thrown = false;
    {
        const eplb::test::DescriptorShortage shortage;
        try {
            const SignalWatch watch{reactor, {SIGUSR1}, [](int) {}};
        } catch (const std::system_error&) {
            thrown = true;
        }
    }
    CHECK(thrown);
    CHECK_FALSE(is_blocked(SIGUSR1));
}
