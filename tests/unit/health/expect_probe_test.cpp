#include "support/catch.hpp"
#include "support/conversation.hpp"

#include <string>

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::test::converse;
using eplb::test::decides_at_the_end;
using namespace std::string_literals;

namespace {

CheckConfig config(std::string send, std::string expect) {
    CheckConfig result;
    result.type = CheckConfig::Type::send_expect;
    result.send = std::move(send);
    result.expect = std::move(expect);
    return result;
}

}  // namespace

TEST_CASE("expect_probe: the text may be anywhere in the answer", "[health][expect_probe]") {
    CHECK(converse(config("EHLO x\r\n", "220 "), "").sent == "EHLO x\r\n");
    CHECK(decides_at_the_end(config("", "220"), "220"));
    CHECK(decides_at_the_end(config("a", "\0b"s), "x\0\0b"s));
    CHECK(converse(config("", "220"), "xx220yy").passed());
    CHECK(converse(config("", "220"), "22 022").undecided());
}

TEST_CASE("expect_probe: nothing expected, nothing waited for", "[health][expect_probe]") {
    const auto silent = converse(config("", ""), "");
    CHECK(silent.passed());
    CHECK(silent.ending == Ending::reset);
    const auto spoken = converse(config("bye\n", ""), "");
    CHECK(spoken.passed());
    CHECK(spoken.sent == "bye\n");
    CHECK(spoken.ending == Ending::finish);  // a reset would overtake it
}
