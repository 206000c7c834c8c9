#include "eplb/clock.hpp"

#include "support/catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("clock: the manual one stands still until told to advance", "[base][clock]") {
    eplb::ManualClock clock;
    const eplb::TimePoint before = clock.now();
    CHECK(clock.now() == before);
    clock.advance(250ms);
    CHECK(clock.now() - before == 250ms);
}

TEST_CASE("clock: the manual one starts where it is told to", "[base][clock]") {
    const eplb::TimePoint start{5s};
    CHECK(eplb::ManualClock{start}.now() == start);
}

TEST_CASE("clock: the monotonic one never goes back", "[base][clock]") {
    const eplb::Clock& clock = eplb::MonotonicClock::instance();
    eplb::TimePoint last = clock.now();
    for (int i = 0; i < 1000; ++i) {
        const eplb::TimePoint now = clock.now();
        REQUIRE(now >= last);
        last = now;
    }
}
