#include "proxy/verdict_memory.hpp"

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <string>

using namespace std::chrono_literals;
using eplb::Backend;
using eplb::TimePoint;
using eplb::VerdictMemory;

TEST_CASE("verdict memory: what was said last is known until its time is over",
          "[proxy][supervisor]") {
    VerdictMemory memory;
    const TimePoint start{1h};
    CHECK(memory.recall("a", start) == nullptr);
    memory.remember("a", {.wanted = Backend::Wanted::drain}, start + 1s);
    memory.remember("a", {.wanted = Backend::Wanted::maintenance}, start + 2s);
    REQUIRE(memory.recall("a", start + 2s - 1ns) != nullptr);
    CHECK(memory.recall("a", start)->wanted == Backend::Wanted::maintenance);
    CHECK(memory.recall("a", start + 2s) == nullptr);
    CHECK(memory.recall("b", start) == nullptr);
    memory.tidy(start + 1s);
    CHECK(memory.size() == 1);
    memory.tidy(start + 2s);
    CHECK(memory.size() == 0);
}

TEST_CASE("verdict memory: of too many, those that would be forgotten first are",
          "[proxy][supervisor]") {
    VerdictMemory memory;
    const TimePoint start{1h};
    constexpr std::size_t most = VerdictMemory::most;
    for (std::size_t i = 0; i < 5 * most; ++i) {
        // Later ones have less time, three at a time the same.
        memory.remember(std::to_string(i), {}, start + 1h - 1ms * static_cast<int>(i / 3));
        REQUIRE(memory.size() < 2 * most);
    }
    memory.tidy(start);
    CHECK(memory.size() == most);
    CHECK(memory.recall("0", start) != nullptr);
    CHECK(memory.recall(std::to_string(most - 3), start) != nullptr);
    CHECK(memory.recall(std::to_string(most + 3), start) == nullptr);
}
