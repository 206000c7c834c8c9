#include "eplb/waiting_turns.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <optional>

using eplb::WaitingTurns;

TEST_CASE("waiting turns: who comes behind whom was told last is next", "[base][turns]") {
    WaitingTurns turns;
    CHECK_FALSE(turns.anyone());
    CHECK(turns.take_next() == std::nullopt);
    for (const std::size_t who : {7, 3, 63, 0}) turns.ask(who);
    CHECK(turns.anyone());
    CHECK(turns.take_next() == std::size_t{3});
    turns.ask(3);
    CHECK(turns.take_next() == std::size_t{7});
    turns.ask(1);
    CHECK(turns.take_next() == std::size_t{63});
    for (const std::size_t who : {0, 1, 3}) CHECK(turns.take_next() == who);
    CHECK_FALSE(turns.anyone());
}

TEST_CASE("waiting turns: however often one asks, it is told once", "[base][turns]") {
    WaitingTurns turns;
    for (int i = 0; i < 3; ++i) turns.ask(5);
    CHECK(turns.take_next() == std::size_t{5});
    CHECK(turns.take_next() == std::nullopt);
}

TEST_CASE("waiting turns: beyond the numbers that are told apart, several have one turn",
          "[base][turns]") {
    WaitingTurns turns;
    turns.ask(WaitingTurns::most_told_apart + 2);
    turns.ask(2);
    CHECK(turns.take_next() == std::size_t{2});
    CHECK_FALSE(turns.anyone());
}
