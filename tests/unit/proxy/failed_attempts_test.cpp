#include "proxy/failed_attempts.hpp"

#include "support/catch.hpp"

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

using eplb::Address;
using eplb::Backend;
using eplb::FailedAttempts;

TEST_CASE("failed attempts: who is listed is found, nobody else is, and the order is kept",
          "[proxy][attempts]") {
    std::vector<std::shared_ptr<Backend>> backends;
    for (std::size_t i = 0; i < 3000; ++i)
        backends.push_back(std::make_shared<Backend>(i, "", Address::parse("127.0.0.1:80"), 1U));
    FailedAttempts failed;
    for (const auto& backend : backends) REQUIRE_FALSE(failed.contains(*backend));
    for (std::size_t i = 0; i < backends.size(); i += 2) {
        failed.add(backends[i], ECONNREFUSED);
        REQUIRE(failed.contains(*backends[i]));
        REQUIRE_FALSE(failed.contains(*backends[i + 1]));
    }
    REQUIRE(failed.size() == 1500);
    for (std::size_t i = 0; i < backends.size(); ++i) {
        REQUIRE(failed.contains(*backends[i]) == (i % 2 == 0));
        if (i % 2 == 0) REQUIRE(failed.list()[i / 2].backend == backends[i]);
    }
}

TEST_CASE("failed attempts: a backend that took the index of one that failed has not failed",
          "[proxy][attempts]") {
    FailedAttempts failed;
    failed.add(std::make_shared<Backend>(0U, "old", Address::parse("127.0.0.1:80"), 1U), ETIMEDOUT);
    const auto successor = std::make_shared<Backend>(0U, "new", Address::parse("127.0.0.1:81"), 1U);
    CHECK_FALSE(failed.contains(*successor));
}
