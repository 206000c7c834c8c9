#pragma once

// Catch2 is version 2 on Debian 12 and version 3 on newer systems. This is the only place that
// knows: a test includes this header, keeps to what both have (TEST_CASE, SECTION, CHECK, REQUIRE,
// GENERATE, INFO, CAPTURE, CHECK_THROWS_AS, CHECK_THROWS_WITH), and takes the rest from eplb::test.

// An assertion does not catch what is thrown in it: the test case does. Compilers are a fifth quicker with that.
#define CATCH_CONFIG_FAST_COMPILE

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#define EPLB_CATCH2_V3 1
#else
#include <catch2/catch.hpp>
#define EPLB_CATCH2_V3 0
#endif

#include <string>

namespace eplb::test {

/// Matches a text that has `part` somewhere inside.
[[nodiscard]] inline auto contains(const std::string& part) {
#if EPLB_CATCH2_V3
    return Catch::Matchers::ContainsSubstring(part);
#else
    return Catch::Matchers::Contains(part);
#endif
}

[[nodiscard]] inline auto starts_with(const std::string& part) {
    return Catch::Matchers::StartsWith(part);
}

[[nodiscard]] inline auto ends_with(const std::string& part) {
    return Catch::Matchers::EndsWith(part);
}

/// Told by EPLB_SKIP, asked by the listener in catch_main.cpp.
inline bool current_test_case_skipped = false;

}  // namespace eplb::test

/// Ends a test case whose precondition this machine does not meet. Version 2 knows no skipping:
/// there the case returns, and only EPLB_TEST_COUNTS tells it apart from a passed one.
#if defined(SKIP)
#define EPLB_SKIP(message)                              \
    do {                                                \
        ::eplb::test::current_test_case_skipped = true; \
        SKIP(message);                                  \
    } while (false)
#else
#define EPLB_SKIP(message)                              \
    do {                                                \
        ::eplb::test::current_test_case_skipped = true; \
        WARN("skipped: " << message);                   \
        return;                                         \
    } while (false)
#endif
