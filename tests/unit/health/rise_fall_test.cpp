#include "health/rise_fall.hpp"

#include "support/catch.hpp"

#include <optional>
#include <string_view>

using eplb::health::Health;
using eplb::health::RiseFall;
using eplb::health::Transition;

namespace {

// '+' and '-' are results; how often the state changed.
int count(RiseFall& state, std::string_view results) {
    int changes = 0;
    for (const char c : results) changes += state.count(c == '+', "why") ? 1 : 0;
    return changes;
}

}  // namespace

TEST_CASE("rise_fall: the first result decides", "[health][rise_fall]") {
    RiseFall good{5, 5};
    CHECK(good.health() == Health::unknown);
    CHECK_FALSE(good.changing());
    const std::optional<Transition> first = good.count(true, "");
    REQUIRE(first);
    CHECK(first->from == Health::unknown);
    CHECK(first->to == Health::up);
    CHECK(first->results == 1);
    CHECK(first->cause.empty());

    RiseFall bad{5, 5};
    const std::optional<Transition> other = bad.count(false, "refused");
    REQUIRE(other);
    CHECK(other->to == Health::down);
    CHECK(other->cause == "refused");
}

TEST_CASE("rise_fall: after that, enough in a row", "[health][rise_fall]") {
    RiseFall state{2, 3};
    CHECK(count(state, "+") == 1);
    CHECK(count(state, "--+--+--") == 0);
    CHECK(state.health() == Health::up);
    CHECK(state.changing());
    const std::optional<Transition> fell = state.count(false, "last");
    REQUIRE(fell);
    CHECK(fell->from == Health::up);
    CHECK(fell->results == 3);
    CHECK(fell->cause == "last");
    CHECK(state.health() == Health::down);
    CHECK_FALSE(state.changing());

    CHECK(count(state, "--+-+") == 0);
    CHECK(state.changing());
    CHECK(count(state, "+") == 1);
    CHECK(state.health() == Health::up);
    CHECK(count(state, "++++") == 0);
    CHECK_FALSE(state.changing());
}

TEST_CASE("rise_fall: what changes in between", "[health][rise_fall]") {
    RiseFall state{2, 3};
    CHECK(count(state, "+--") == 1);
    state.forget_streak();
    CHECK_FALSE(state.changing());
    CHECK(count(state, "--") == 0);
    state.set_limits(2, 0);
    CHECK(count(state, "-") == 1);
    state.reset();
    CHECK(state.health() == Health::unknown);
    CHECK(count(state, "-") == 1);
    state.set_limits(1, 1);
    CHECK(count(state, "+-+-") == 4);
}
