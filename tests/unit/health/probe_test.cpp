#include "health/probe.hpp"

#include "support/catch.hpp"
#include "support/conversation.hpp"

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::health::quotable;
using eplb::test::converse;

TEST_CASE("probe: a connection is enough for tcp", "[health][probe]") {
    CheckConfig config;
    config.type = CheckConfig::Type::tcp;
    const auto result = converse(config, "");
    CHECK(result.passed());
    CHECK(result.sent.empty());
    CHECK(result.ending == Ending::reset);
}

TEST_CASE("probe: a server cannot write lines or fields into a log", "[health][probe]") {
    CHECK(quotable("too many\r\n\"a\"=\xff") == R"(too many\x0d\x0a\x22a\x22=\xff)");
    CHECK(quotable(std::string(160, 'x')) == std::string(160, 'x'));
    CHECK(quotable(std::string(5000, 'x')) == std::string(160, 'x') + "...");
}
