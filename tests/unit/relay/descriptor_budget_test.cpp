#include "eplb/descriptor_budget.hpp"

#include "support/catch.hpp"

#include <atomic>
#include <thread>
#include <vector>

using eplb::DescriptorBudget;

namespace {

constexpr std::size_t unlimited = DescriptorBudget::unlimited;

// Takes all that there is room for.
std::size_t sessions_that_fit(DescriptorBudget& budget) {
    std::size_t count = 0;
    while (budget.take_session()) ++count;
    return count;
}

}  // namespace

TEST_CASE("descriptor budget: sessions get two descriptors each, until there are none",
          "[proxy][budget]") {
    DescriptorBudget budget{5};
    CHECK(sessions_that_fit(budget) == 2);
    CHECK_FALSE(budget.has_room_for_session());
    CHECK(budget.sessions() == 2);
    budget.return_session();
    CHECK(budget.sessions() == 1);
    CHECK(sessions_that_fit(budget) == 1);

    CHECK_FALSE(DescriptorBudget{1}.take_session());
    CHECK_FALSE(DescriptorBudget{0}.take_session());
    CHECK_FALSE(DescriptorBudget{0}.take_pipe());
}

TEST_CASE("descriptor budget: sessions are never more than allowed, whatever descriptors are left",
          "[proxy][budget]") {
    DescriptorBudget budget{100, 3};
    CHECK(sessions_that_fit(budget) == 3);
    CHECK_FALSE(budget.has_room_for_session());
    CHECK(budget.take_pipe());
    budget.return_session();
    CHECK(sessions_that_fit(budget) == 1);
}

TEST_CASE(
    "descriptor budget: pipes take at most half of what sessions leave, and never the last place",
    "[proxy][budget]") {
    for (std::size_t total = 0; total < 200; ++total) {
        for (std::size_t sessions = 0; sessions <= total / 2; sessions += 7) {
            CAPTURE(total, sessions);
            DescriptorBudget budget{total};
            for (std::size_t i = 0; i < sessions; ++i) REQUIRE(budget.take_session());
            const std::size_t left = total - 2 * sessions;
            std::size_t pipes = 0;
            while (budget.take_pipe()) ++pipes;
            REQUIRE(2 * pipes <= left / 2);
            if (pipes > 0) REQUIRE(budget.has_room_for_session());
            if (left >= 8) REQUIRE(pipes > 0);
            for (std::size_t i = 0; i < pipes; ++i) budget.return_pipe();
            for (std::size_t i = 0; i < sessions; ++i) budget.return_session();
            REQUIRE(sessions_that_fit(budget) == total / 2);  // all of it is back
        }
    }
}

TEST_CASE("descriptor budget: who waits for room is told of the first thing that makes some, once",
          "[proxy][budget]") {
    int told = 0;
    DescriptorBudget budget{8, unlimited, [&](std::size_t) { ++told; }};
    REQUIRE(budget.take_pipe());
    REQUIRE(budget.take_pipe());
    CHECK_FALSE(budget.take_pipe());
    CHECK(sessions_that_fit(budget) == 2);
    budget.return_pipe();
    CHECK(told == 0);  // nobody waits
    CHECK(sessions_that_fit(budget) == 1);

    CHECK(budget.want_room());
    CHECK_FALSE(budget.want_room());  // somebody has asked already
    budget.return_pipe();
    CHECK(told == 1);
    budget.return_session();
    CHECK(told == 1);
    CHECK(budget.want_room());
    budget.return_session();
    CHECK(told == 2);
}

TEST_CASE("descriptor budget: those who wait are told in turn, one for each place that comes free",
          "[proxy][budget]") {
    std::vector<std::size_t> told;
    DescriptorBudget budget{100, 1, [&](std::size_t who) { told.push_back(who); }};
    REQUIRE(budget.take_session());
    // Whoever is told takes the place, and waits again.
    for (const std::size_t who : {2U, 0U, 5U}) budget.want_room(who);
    for (int i = 0; i < 6; ++i) {
        budget.return_session();
        REQUIRE(budget.take_session());
        budget.want_room(told.back());
    }
    CHECK(told == std::vector<std::size_t>{2, 5, 0, 2, 5, 0});
    // Whoever has no use for it passes it on.
    told.clear();
    budget.return_session();
    budget.pass_on();
    CHECK(told == std::vector<std::size_t>{2, 5});
    REQUIRE(budget.take_session());
    budget.pass_on();
    CHECK(told.size() == 2);
}

TEST_CASE("descriptor budget: a pipe that comes back under the limit of sessions makes no room",
          "[proxy][budget]") {
    int told = 0;
    DescriptorBudget budget{100, 1, [&](std::size_t) { ++told; }};
    REQUIRE(budget.take_session());
    REQUIRE(budget.take_pipe());
    budget.want_room();
    CHECK_FALSE(budget.pipes_in_the_way());
    budget.return_pipe();
    CHECK(told == 0);
    budget.return_session();
    CHECK(told == 1);
}

TEST_CASE("descriptor budget: pipes are in the way when a session waits for their descriptors",
          "[proxy][budget]") {
    DescriptorBudget budget{4};
    REQUIRE(budget.take_pipe());
    REQUIRE(budget.take_session());
    CHECK_FALSE(budget.pipes_in_the_way());  // nobody waits
    budget.want_room();
    CHECK(budget.pipes_in_the_way());
    budget.return_session();
    CHECK_FALSE(budget.pipes_in_the_way());
}

TEST_CASE("descriptor budget: threads that take and return never exceed it, and lose no room",
          "[proxy][budget]") {
    constexpr std::size_t places = 3;
    constexpr int threads = 4;
    constexpr int rounds = 20'000;
    std::atomic<std::uint64_t> told{0};
    DescriptorBudget budget{2 * places, places, [&](std::size_t) {
                                told.fetch_add(1);
                                told.notify_all();
                            }};
    std::atomic<std::size_t> inside{0};
    std::atomic<bool> exceeded{false};
    std::vector<std::thread> takers;
    for (int i = 0; i < threads; ++i) {
        takers.emplace_back([&] {
            for (int round = 0; round < rounds; ++round) {
                for (;;) {
                    const std::uint64_t before = told.load();
                    if (budget.take_session()) break;
                    budget.want_room();
                    if (budget.take_session()) break;
                    told.wait(before);  // for ever, should room be made and nobody told
                }
                if (inside.fetch_add(1) >= places) exceeded = true;
                inside.fetch_sub(1);
                budget.return_session();
            }
        });
    }
    for (std::thread& taker : takers) taker.join();
    CHECK_FALSE(exceeded);
    CHECK(budget.sessions() == 0);
}
