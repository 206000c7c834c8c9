#include "proxy/late_listeners.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"

#include <cstdint>
#include <set>
#include <vector>

using eplb::LateListeners;

TEST_CASE("late listeners: each is tried again every second until it is open",
          "[proxy][late_listeners]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    std::vector<std::uint32_t> tried;
    std::set<std::uint32_t> open;
    LateListeners late{reactor, [&](std::uint32_t socket) {
                           tried.push_back(socket);
                           return open.contains(socket);
                       }};
    const auto turn = [&](eplb::Duration time) {
        clock.advance(time);
        for (int i = 0; i < 3; ++i) static_cast<void>(reactor.run_once(eplb::Duration{0}));
        return std::exchange(tried, {});
    };
    using Sockets = std::vector<std::uint32_t>;
    late.add(7);
    late.add(9);
    late.add(7);
    CHECK(turn(LateListeners::interval / 2).empty());
    CHECK(turn(LateListeners::interval) == Sockets{7, 9});
    open = {7};
    CHECK(turn(LateListeners::interval * 2) == Sockets{7, 9});
    CHECK(turn(LateListeners::interval * 2) == Sockets{9});
    late.clear();
    CHECK(turn(LateListeners::interval * 2).empty());
    late.add(7);
    CHECK(turn(LateListeners::interval * 2) == Sockets{7});
    CHECK(turn(LateListeners::interval * 2).empty());
}

TEST_CASE("late listeners: an attempt may be the end of all the others",
          "[proxy][late_listeners]") {
    eplb::ManualClock clock;
    eplb::Reactor reactor{clock};
    std::vector<std::uint32_t> tried;
    LateListeners* all = nullptr;
    LateListeners late{reactor, [&](std::uint32_t socket) {
                           tried.push_back(socket);
                           all->clear();
                           return true;
                       }};
    all = &late;
    for (const std::uint32_t socket : {7U, 9U, 11U}) late.add(socket);
    for (int i = 0; i < 3; ++i) {
        clock.advance(LateListeners::interval * 2);
        static_cast<void>(reactor.run_once(eplb::Duration{0}));
    }
    CHECK(tried == std::vector<std::uint32_t>{7});
}
