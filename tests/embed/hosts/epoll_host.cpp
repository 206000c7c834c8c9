// A reactor in a program with an epoll set of its own.

#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <sys/epoll.h>

class NestedReactor {
public:
    // Level-triggered, without EPOLLET: a turn takes no more than 512 events, and for the rest no
    // other edge comes.
    NestedReactor(eplb::Reactor& reactor, int epoll) : reactor_{reactor} {
        epoll_event wanted{.events = EPOLLIN, .data = {.ptr = this}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, reactor.fd(), &wanted);
    }

    // For epoll_wait(2): `limit` is the host's own, in milliseconds, -1 for ever. Rounded up, or
    // the last fraction of a millisecond would be a busy loop.
    [[nodiscard]] int timeout(int limit) const {
        const eplb::Duration wait = reactor_.wait_time();
        if (wait < eplb::Duration{0}) return limit;
        const long ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
        return static_cast<int>(std::min<long>(ms, limit < 0 ? INT_MAX : limit));
    }

    // After each epoll_wait(2), whatever that returned: a timer may be due.
    void turn() { reactor_.run_once(eplb::Duration{0}); }

private:
    eplb::Reactor& reactor_;
};

// --- the program

#include "service.hpp"

#include <array>
#include <span>
#include <sys/timerfd.h>
#include <unistd.h>

int main(int argc, char** argv) {
    const Options options{argc, argv};
    const eplb::Fd epoll{epoll_create1(EPOLL_CLOEXEC)};
    const eplb::Fd timer{timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
    const timespec period{
        .tv_sec = options.beat / std::chrono::seconds{1},
        .tv_nsec = options.beat % std::chrono::seconds{1} / std::chrono::nanoseconds{1}};
    const itimerspec times{.it_interval = period, .it_value = period};
    timerfd_settime(timer.get(), 0, &times, nullptr);
    epoll_event wanted{.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &wanted);

    const CountingClock clock;
    eplb::Reactor reactor{clock};
    NestedReactor nested{reactor, epoll.get()};
    bool over = false;
    const Service service{reactor, options.tick, [&] { over = true; }};
    while (!over) {
        std::array<epoll_event, 16> events;
        const int count = epoll_wait(epoll.get(), events.data(), events.size(), nested.timeout(-1));
        for (const epoll_event& event : std::span{events}.first(std::size_t(std::max(count, 0)))) {
            std::uint64_t expirations = 0;
            if (event.data.ptr != nullptr) continue;  // the reactor's, which gets its turn anyway
            if (read(timer.get(), &expirations, sizeof expirations) > 0) beat();
        }
        try {
            nested.turn();
        } catch (const std::exception& error) {  // of a task
            caught(error);
        }
    }
}
