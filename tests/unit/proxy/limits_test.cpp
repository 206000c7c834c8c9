#include "proxy/limits.hpp"

#include "support/catch.hpp"
#include "support/process.hpp"

#include <limits>
#include <stdexcept>
#include <string>

using eplb::descriptor_limit;
using eplb::Limits;
using eplb::work_out_limits;
using eplb::test::contains;

TEST_CASE("limits: whatever is worked out fits into the descriptors there are", "[proxy][limits]") {
    for (const std::size_t listeners :
         {std::size_t{0}, std::size_t{1}, std::size_t{10}, std::size_t{300}}) {
        std::size_t last = 0;
        for (std::size_t available = 0; available < 3000; ++available) {
            CAPTURE(listeners, available);
            Limits limits;
            try {
                limits = work_out_limits(available, 0, listeners);
            } catch (const std::runtime_error&) {
                REQUIRE(last == 0);  // once enough, always enough
                continue;
            }
            REQUIRE(limits.sessions > 0);
            REQUIRE(limits.sessions >= last);
            REQUIRE(2 * limits.sessions <= limits.descriptors);
            REQUIRE(limits.descriptors + listeners <= available);
            last = limits.sessions;
        }
        CHECK(last > 1000);
    }
}

TEST_CASE("limits: a typical limit gives about half as many sessions", "[proxy][limits]") {
    const Limits limits = work_out_limits(1024, 0, 1);
    CHECK(limits.sessions > 400);
    CHECK(limits.sessions <= 512);
}

TEST_CASE("limits: a low limit gives fewer sessions, down to one, and says how many",
          "[proxy][limits]") {
    const auto sessions = [](std::size_t available) {
        return work_out_limits(available, 0, 1).sessions;
    };
    CHECK(sessions(256) == 64);
    CHECK(sessions(128) == 32);
    CHECK(sessions(64) == 16);
    CHECK(sessions(32) == 4);
    CHECK(sessions(23) == 1);
    CHECK_THROWS_WITH(work_out_limits(22, 0, 1), contains("at least 23 are needed"));
    CHECK(work_out_limits(128, 40, 1).sessions == 40);

    CHECK(eplb::describe_low_limit(128, work_out_limits(128, 0, 1)) ==
          "a limit of 128 open files is low: 32 sessions at a time; raise it (ulimit -n) for more");
    CHECK(eplb::describe_low_limit(23, work_out_limits(23, 0, 1)) ==
          "a limit of 23 open files is low: 1 session at a time; raise it (ulimit -n) for more");
    CHECK(eplb::describe_low_limit(256, work_out_limits(256, 0, 1)) == "");
}

TEST_CASE("limits: what was asked for is given if it fits", "[proxy][limits]") {
    CHECK(work_out_limits(1024, 100, 1).sessions == 100);
    CHECK(work_out_limits(1024, 1, 1).sessions == 1);
    CHECK(work_out_limits(1'000'000, 400'000, 1).sessions == 400'000);
    CHECK(2 * work_out_limits(1024, 100, 1).sessions <= work_out_limits(1024, 100, 1).descriptors);
}

TEST_CASE("limits: more than fits is an error that says how many would be needed",
          "[proxy][limits]") {
    CHECK_THROWS_AS(work_out_limits(1024, 512, 1), std::runtime_error);
    CHECK_THROWS_WITH(work_out_limits(1024, 512, 1), contains("512"));
    CHECK_THROWS_WITH(work_out_limits(1024, 512, 1), contains("1024"));
    CHECK_THROWS_WITH(work_out_limits(1024, 512, 1), contains("ulimit"));
}

TEST_CASE("limits: absurd wishes do not wrap around", "[proxy][limits]") {
    constexpr std::size_t huge = std::numeric_limits<std::size_t>::max();
    for (const std::size_t wanted : {huge, huge / 2, huge / 2 + 1, huge / 2 - 32, huge - 64}) {
        CHECK_THROWS_AS(work_out_limits(1024, wanted, 1), std::runtime_error);
    }
}

TEST_CASE("limits: too few descriptors to work at all is an error", "[proxy][limits]") {
    CHECK_THROWS_AS(work_out_limits(20, 0, 1), std::runtime_error);
    CHECK_THROWS_WITH(work_out_limits(20, 0, 1), contains("20"));
}

TEST_CASE("limits: the descriptor limit is the process's soft limit", "[proxy][limits]") {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur <= 1'000'000) CHECK(descriptor_limit() == limit.rlim_cur);
    CHECK(descriptor_limit() <= 1'000'000);
    const eplb::test::DescriptorShortage shortage;
    CHECK(descriptor_limit() < 1000);
}
