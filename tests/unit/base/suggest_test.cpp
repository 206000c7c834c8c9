#include "base/suggest.hpp"

#include "support/catch.hpp"

#include <array>
#include <string_view>

using eplb::did_you_mean;

TEST_CASE("suggest: a slip is answered with what it looks like", "[base][suggest]") {
    constexpr std::array<std::string_view, 4> words{"weight", "name", "--listen", "--log-level"};
    CHECK(did_you_mean("wieght", words) == "; did you mean \"weight\"?");
    CHECK(did_you_mean("weigth", words) == "; did you mean \"weight\"?");
    CHECK(did_you_mean("weights", words) == "; did you mean \"weight\"?");
    CHECK(did_you_mean("nam", words) == "; did you mean \"name\"?");
    CHECK(did_you_mean("--listn", words) == "; did you mean \"--listen\"?");
    CHECK(did_you_mean("--loglevel", words) == "; did you mean \"--log-level\"?");
}

TEST_CASE("suggest: the nearest of several is taken", "[base][suggest]") {
    constexpr std::array<std::string_view, 3> words{"debug", "error", "warning"};
    CHECK(did_you_mean("eror", words) == "; did you mean \"error\"?");
    CHECK(did_you_mean("warnin", words) == "; did you mean \"warning\"?");
}

TEST_CASE("suggest: another word altogether gets no suggestion", "[base][suggest]") {
    constexpr std::array<std::string_view, 2> words{"weight", "name"};
    CHECK(did_you_mean("colour", words).empty());
    CHECK(did_you_mean("", words).empty());
    CHECK(did_you_mean("x", {}).empty());
}
