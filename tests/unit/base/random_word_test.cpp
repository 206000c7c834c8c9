#include "base/random_word.hpp"

#include "support/catch.hpp"

#include <cstdint>
#include <set>

TEST_CASE("random word: no two are the same, with the system's source or without",
          "[base][random_word]") {
    std::set<std::uint64_t> all;
    std::uint64_t ones = 0;
    std::uint64_t zeros = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t makeshift = eplb::makeshift_random_word();
        ones |= makeshift;
        zeros |= ~makeshift;
        CHECK(all.insert(makeshift).second);
        CHECK(all.insert(eplb::random_word()).second);
    }
    CHECK(ones == ~std::uint64_t{0});
    CHECK(zeros == ~std::uint64_t{0});
}
