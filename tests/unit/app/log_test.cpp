#include "app/log.hpp"

#include "eplb/backend.hpp"
#include "support/catch.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace eplb::app;
using eplb::Address;
using eplb::Backend;
using eplb::FailedAttempt;
using eplb::SessionSummary;
using eplb::test::contains;

namespace {

// A session that has failed at so many backends.
struct Failed {
    explicit Failed(int count) {
        for (int i = 1; i <= count; ++i) {
            backends.push_back(std::make_shared<Backend>(
                static_cast<std::size_t>(i), "", Address::parse(fmt::format("10.0.0.1:{}", i)), 1));
            FailedAttempt attempt;
            attempt.backend = backends.back();
            attempt.error = ECONNREFUSED;
            attempts.push_back(attempt);
        }
    }
    [[nodiscard]] SessionSummary summary() const {
        return {.client = client,
                .service = "s",
                .listener = listener,
                .failed_attempts = attempts,
                .problem = {},
                .unique_id = {}};
    }

    Address client = Address::parse("10.0.0.2:1");
    Address listener = Address::parse("10.0.0.3:1");
    std::vector<std::shared_ptr<Backend>> backends;
    std::vector<FailedAttempt> attempts;
};

}  // namespace

TEST_CASE(
    "log: of thousands of backends that failed a client, a line tells sixteen, and how many more",
    "[app][log]") {
    const Failed many{6000};
    const std::string text = to_text(many.summary());
    CHECK(text.size() < 1000);
    CHECK_THAT(text, contains(" attempts=6000 "));
    CHECK_THAT(text, contains(" tried=10.0.0.1:1(refused),10.0.0.1:2(refused),"));
    CHECK(text.ends_with(",10.0.0.1:16(refused) tried_more=5984"));

    const auto json = nlohmann::json::parse(to_json(many.summary()));
    CHECK(json.at("attempts") == 6000);
    CHECK(json.at("tried").size() == 16);
    CHECK(json.at("tried").at(15).at("backend") == "10.0.0.1:16");
    CHECK(json.at("tried_more") == 5984);
}

TEST_CASE("log: where a line tells all of them, there are no more", "[app][log]") {
    const Failed some{16};
    CHECK(to_text(some.summary()).ends_with(",10.0.0.1:16(refused)"));
    const auto json = nlohmann::json::parse(to_json(some.summary()));
    CHECK(json.at("tried").size() == 16);
    CHECK_FALSE(json.contains("tried_more"));
}
