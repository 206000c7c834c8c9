#include "admission/rate_limiter.hpp"

#include "support/catch.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::Pace;
using eplb::Rate;
using eplb::RateLimiter;
using eplb::TimePoint;

namespace {

constexpr TimePoint start{1h};

// Takes all that there is to take at `now`, unless it is more than anybody asks for.
std::uint64_t take_all(RateLimiter& limiter, TimePoint now) {
    std::uint64_t count = 0;
    while (count < 10'000 && limiter.try_take(now)) ++count;
    return count;
}

const std::vector<Rate> rates{
    {1, 1s}, {1, 1ns}, {2, 1ns}, {3, 1s}, {3, 10ns}, {7, 1ms}, {100, 1s}, {5, 10s}, {1000, 1min},
};

}  // namespace

TEST_CASE("rate limiter: no limit lets everything through at any time", "[proxy][rate_limiter]") {
    for (const Rate rate : {Rate{}, Rate{0, 1h}, Rate{5, 0s}, Rate{5, -1s}}) {
        INFO(rate.count << " per " << rate.period.count() << " ns");
        RateLimiter limiter{rate};
        CHECK(take_all(limiter, start) == 10'000);
        CHECK(take_all(limiter, TimePoint{}) == 10'000);
        CHECK(limiter.next_free(start) == start);
        CHECK(Pace{rate}.unlimited());
    }
}

TEST_CASE("rate limiter: a burst of the count, and then one each interval",
          "[proxy][rate_limiter]") {
    for (const Rate& rate : rates) {
        INFO(rate.count << " per " << rate.period.count() << " ns");
        RateLimiter limiter{rate};
        const Duration interval = Pace{rate}.interval();
        CHECK(take_all(limiter, start) == rate.count);
        TimePoint now = start;
        for (int i = 0; i < 20; ++i) {
            CHECK(take_all(limiter, now + interval - 1ns) == 0);
            now += interval;
            CHECK(take_all(limiter, now) == 1);
        }
        // What was not used comes back, up to the burst.
        now += interval * rate.count;
        CHECK(take_all(limiter, now) == rate.count);
        now += interval * rate.count * 10;
        CHECK(take_all(limiter, now) == rate.count);
    }
}

TEST_CASE("rate limiter: the interval is rounded against who takes", "[proxy][rate_limiter]") {
    CHECK(Pace{Rate{3, 1s}}.interval() == 333'333'334ns);
    CHECK(Pace{Rate{4, 1s}}.interval() == 250ms);
    CHECK(Pace{Rate{UINT32_MAX, 1s}}.interval() == 1ns);
    CHECK(Pace{Rate{3, 1s}}.burst() == 1'000'000'002ns);
    for (const Rate& rate : rates) CHECK(Pace{rate}.interval() * rate.count >= rate.period);
}

TEST_CASE("rate limiter: no window has more than the count and one for each interval in it",
          "[proxy][rate_limiter]") {
    std::mt19937_64 random{4711};
    for (const Rate& rate : rates) {
        INFO(rate.count << " per " << rate.period.count() << " ns");
        RateLimiter limiter{rate};
        const Duration interval = Pace{rate}.interval();
        std::vector<TimePoint> taken;
        TimePoint now = start;
        for (int step = 0; step < 2000; ++step) {
            // Mostly haste, and now and then a rest in which a part of the burst comes back.
            const auto nanoseconds = static_cast<std::uint64_t>(interval.count());
            if (random() % 50 == 0)
                now += interval * (random() % (2 * rate.count + 1));
            else
                now += Duration{random() % (nanoseconds + 1)};
            if (limiter.try_take(now)) taken.push_back(now);
        }
        REQUIRE(taken.size() > 100);
        for (std::size_t first = 0; first < taken.size(); ++first) {
            for (std::size_t last = first; last < taken.size(); ++last) {
                const auto intervals = (taken[last] - taken[first]) / interval;
                if (last - first + 1 > rate.count + static_cast<std::uint64_t>(intervals)) {
                    FAIL("the window of " << last - first + 1 << " from " << first);
                }
            }
        }
    }
}

TEST_CASE("rate limiter: who tries without pause gets all of the rate", "[proxy][rate_limiter]") {
    for (const Rate rate : {Rate{1, 1s}, Rate{4, 1s}, Rate{100, 1s}, Rate{5, 10s}}) {
        INFO(rate.count << " per " << rate.period.count() << " ns");
        RateLimiter limiter{rate};
        const Duration interval = Pace{rate}.interval();
        std::uint64_t taken = 0;
        const TimePoint end = start + rate.period * 3;
        for (TimePoint now = start; now <= end; now += 1ms) {
            if (limiter.try_take(now)) ++taken;
        }
        CHECK(taken == rate.count + static_cast<std::uint64_t>((end - start) / interval));
    }
}

TEST_CASE("rate limiter: next_free says the first moment at which taking succeeds",
          "[proxy][rate_limiter]") {
    std::mt19937_64 random{99};
    for (const Rate& rate : rates) {
        INFO(rate.count << " per " << rate.period.count() << " ns");
        RateLimiter limiter{rate};
        CHECK(limiter.next_free(start) == start);
        TimePoint now = start;
        for (int i = 0; i < 50; ++i) {
            static_cast<void>(take_all(limiter, now));
            const TimePoint free = limiter.next_free(now);
            REQUIRE(free > now);
            REQUIRE_FALSE(limiter.try_take(free - 1ns));
            REQUIRE(limiter.next_free(free) == free);
            REQUIRE(limiter.try_take(free));
            now = free + Duration{random() % static_cast<std::uint64_t>(rate.period.count())};
        }
    }
}

TEST_CASE("rate limiter: another rate counts what was taken under the old one",
          "[proxy][rate_limiter]") {
    RateLimiter limiter{{10, 1s}};
    CHECK(take_all(limiter, start) == 10);
    limiter.set_rate({20, 1s});
    CHECK(take_all(limiter, start) == 0);
    CHECK(take_all(limiter, start + 100ms) == 2);
    limiter.set_rate({});
    CHECK(take_all(limiter, start + 100ms) == 10'000);
    limiter.set_rate({10, 1s});
    CHECK(take_all(limiter, start + 100ms) == 0);
    CHECK(take_all(limiter, start + 10s) == 10);
}

TEST_CASE("rate limiter: a debt of a slow rate does not outlast the period of a fast one",
          "[proxy][rate_limiter]") {
    RateLimiter limiter{{1, 24h}};
    CHECK(take_all(limiter, start) == 1);
    limiter.set_rate({10, 1s});
    CHECK(limiter.next_free(start) <= start + 100ms);
    CHECK_FALSE(limiter.try_take(start));
    CHECK(take_all(limiter, start + 100ms) == 1);
    CHECK(take_all(limiter, start + 500ms) == 4);
    CHECK(take_all(limiter, start + 10s) == 10);

    // One just a little too long stays, but not for longer than max_lag.
    limiter.set_rate({1, 2s});
    CHECK(limiter.try_take(start + 20s));
    limiter.set_rate({10, 1s});
    CHECK(take_all(limiter, start + 20s + Pace::max_lag) == 0);
    CHECK(take_all(limiter, start + 20s + Pace::max_lag + 100ms) == 1);
}

TEST_CASE("rate limiter: a thread whose clock is behind gives nothing away",
          "[proxy][rate_limiter]") {
    RateLimiter limiter{{1000, 1s}};
    CHECK(take_all(limiter, start) == 1000);
    for (int i = 0; i < 100; ++i) {
        CHECK_FALSE(limiter.try_take(start - 10ms));
        CHECK_FALSE(limiter.try_take(start));
    }
    CHECK(take_all(limiter, start + 10ms) == 10);
}

TEST_CASE("rate limiter: the longest period there is does not overflow", "[proxy][rate_limiter]") {
    for (const Duration period : {Duration{24h} * 36'525, Duration::max()}) {
        for (const std::uint32_t count : {std::uint32_t{1}, std::uint32_t{3}}) {
            RateLimiter limiter{{count, period}};
            CHECK(take_all(limiter, start) == count);
            CHECK(take_all(limiter, start + 24h * 365) == 0);
            CHECK(limiter.next_free(start) > start + 24h * 10'000);
        }
    }
}

TEST_CASE("rate limiter: threads get together what one would get", "[proxy][rate_limiter]") {
    constexpr int threads = 4;
    constexpr int rounds = 50'000;
    constexpr std::uint32_t count = 1000;
    RateLimiter limiter{{count, 1s}};
    std::atomic<std::uint64_t> taken{0};
    std::vector<std::thread> takers;
    for (int i = 0; i < threads; ++i) {
        takers.emplace_back([&] {
            for (int round = 0; round < rounds; ++round) {
                if (limiter.try_take(start + std::chrono::microseconds{round})) taken.fetch_add(1);
            }
        });
    }
    for (std::thread& taker : takers) taker.join();
    // 50 ms: 49 intervals have gone by, and the clocks are all of one day.
    CHECK(taken == count + 49);
}

TEST_CASE("rate limiter: whatever the rate is changed to meanwhile, it ends as the last says",
          "[proxy][rate_limiter]") {
    RateLimiter limiter{{1, 24h}};
    std::atomic<bool> stop{false};
    std::thread taker{[&] {
        while (!stop) static_cast<void>(limiter.try_take(start));
    }};
    for (int round = 0; round < 20'000; ++round) {
        limiter.set_rate({1, 24h});
        limiter.set_rate({});
        limiter.set_rate({10, 1s});
    }
    stop = true;
    taker.join();
    static_cast<void>(limiter.try_take(start));  // forgives a debt of a day
    CHECK(take_all(limiter, start + 2s + Pace::max_lag) == 10);
}
