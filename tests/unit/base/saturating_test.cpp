#include "base/saturating.hpp"

#include "support/catch.hpp"

using namespace std::chrono_literals;
using eplb::Duration;
using eplb::saturating_add;
using eplb::TimePoint;

namespace {

constexpr TimePoint now{1h};

}  // namespace

TEST_CASE("saturating: a sum that fits is the sum", "[base][saturating]") {
    CHECK(saturating_add(2s, -3s) == -1s);
    CHECK(saturating_add(now, 5s) == now + 5s);
    CHECK(saturating_add(now, -2h) == now - 2h);
    CHECK(saturating_add(now, TimePoint::max() - now) == TimePoint::max());
    CHECK(saturating_add(Duration::max(), Duration::min()) == -1ns);
}

TEST_CASE("saturating: one that does not is the nearest there is", "[base][saturating]") {
    CHECK(saturating_add(now, Duration::max()) == TimePoint::max());
    CHECK(saturating_add(now, TimePoint::max() - now + 1ns) == TimePoint::max());
    CHECK(saturating_add(TimePoint::min(), -1ns) == TimePoint::min());
    CHECK(saturating_add(TimePoint{-1h}, Duration::min()) == TimePoint::min());
    CHECK(saturating_add(Duration::max(), 1ns) == Duration::max());
    CHECK(saturating_add(Duration::max(), Duration::max()) == Duration::max());
}
