#include "support/catch.hpp"
#include "support/conversation.hpp"

#include <string>
#include <vector>

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::test::converse;
using eplb::test::decides_at_the_end;

namespace {

CheckConfig with(std::string user, std::string password) {
    CheckConfig result;
    result.type = CheckConfig::Type::redis;
    result.user = std::move(user);
    result.password = std::move(password);
    return result;
}

const std::string ping = "*1\r\n$4\r\nPING\r\n";
const std::string quit = "*1\r\n$4\r\nQUIT\r\n";

}  // namespace

TEST_CASE("redis_probe: PING, PONG, QUIT", "[health][redis_probe]") {
    CHECK(decides_at_the_end(with("", ""), "+PONG\r\n"));
    const auto result = converse(with("", ""), "+PONG\r\n");
    CHECK(result.passed());
    CHECK(result.sent == ping + quit);
    CHECK(result.goodbye == quit);
    CHECK(result.ending == Ending::await_close);
}

TEST_CASE("redis_probe: AUTH goes first, and has an answer of its own", "[health][redis_probe]") {
    CHECK(decides_at_the_end(with("", "p"), "+OK\r\n+PONG\r\n"));
    CHECK(converse(with("", "se cret"), "").sent == "*2\r\n$4\r\nAUTH\r\n$7\r\nse cret\r\n" + ping);
    CHECK(converse(with("me", "p"), "").sent ==
          "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$1\r\np\r\n" + ping);
    CHECK(converse(with("me", "p"), "-WRONGPASS invalid\r\n-NOAUTH x\r\n").cause ==
          "redis: WRONGPASS invalid");
    CHECK(converse(with("me", "p"), "+PONG\r\n").failed());
}

TEST_CASE("redis_probe: which answers mean life", "[health][redis_probe]") {
    struct Case {
        std::string answer;
        std::string cause;  // empty: passes
    };
    const std::vector<Case> cases{
        {"-NOAUTH Authentication required.\r\n", ""},
        {"-NOPERM this user has no permissions\r\n", ""},
        {"-LOADING Redis is loading\r\n", "redis: LOADING Redis is loading"},
        {"-MASTERDOWN Link with MASTER is down\r\n", "redis: MASTERDOWN Link with MASTER is down"},
        {"-MISCONF Redis\r\n", "redis: MISCONF Redis"},
        {"-ERR max number of clients reached\r\n", "redis: ERR max number of clients reached"},
        {"-NOAUTHX\r\n", "redis: NOAUTHX"},
        {"+OK\r\n", "redis: OK"},
        {"+PONG \r\n", "redis: PONG "},
        {"-a\nb\"\r\n", R"(redis: a\x0ab\x22)"},
        {"-\r\n", "redis: "},
    };
    for (const Case& c : cases) {
        CAPTURE(c.answer);
        CHECK(decides_at_the_end(with("", ""), c.answer));
        const auto result = converse(with("", ""), c.answer);
        CHECK(result.passed() == c.cause.empty());
        CHECK(result.cause == c.cause);
    }
    CHECK(converse(with("", ""), "$-1\r\n").cause == "redis: no such answer");
    CHECK(converse(with("", ""), "HTTP").cause == "redis: no such answer");
    CHECK(converse(with("", "p"), "+OK\r\n-NOAUTH x\r\n").failed());
    CHECK(converse(with("", ""), "+" + std::string(4000, 'x')).undecided());
}
