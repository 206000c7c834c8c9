#include "support/catch.hpp"
#include "support/conversation.hpp"

#include <string>
#include <vector>

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::test::contains;
using eplb::test::converse;
using eplb::test::decides_at_the_end;
using namespace std::string_literals;

namespace {

CheckConfig as_user(std::string user) {
    CheckConfig result;
    result.type = CheckConfig::Type::mysql;
    result.user = std::move(user);
    return result;
}

std::string packet(unsigned sequence, const std::string& payload) {
    const std::size_t size = payload.size();
    return std::string{static_cast<char>(size & 0xff), static_cast<char>(size >> 8 & 0xff),
                       static_cast<char>(size >> 16 & 0xff), static_cast<char>(sequence)} +
           payload;
}

// As MariaDB 10.11 sent it.
const std::string greeting = packet(0,
                                    "\n5.5.5-10.11.19-MariaDB-0+deb12u1\0"s
                                    "t\0\0\0"s
                                    "[eje<9IE\0"s
                                    "\xfe\xf7\x08\x02\0"s
                                    "\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0"s
                                    "^(K#iiVOjHiX\0mysql_native_password\0"s);
const std::string ok = packet(2, "\0\0\0\2\0\0\0"s);
const std::string denied =
    packet(2, "\xff\x15\x04#28000Access denied for user 'x'@'192.0.2.1' (using password: NO)");
const std::string quit = "\1\0\0\0\1"s;

std::string login(const std::string& user) {
    return packet(1, "\0\xa2\x08\0\0\0\0\1\x21"s + std::string(23, '\0') + user + "\0\0"s +
                         "mysql_native_password\0"s);
}

}  // namespace

TEST_CASE("mysql_probe: logs in as a user, and out again", "[health][mysql_probe]") {
    CHECK(decides_at_the_end(as_user("check"), greeting + ok));
    const auto result = converse(as_user("check"), greeting + ok);
    CHECK(result.passed());
    CHECK(result.sent == login("check") + quit);
    CHECK(result.goodbye == quit);
    CHECK(result.ending == Ending::await_close);
}

TEST_CASE("mysql_probe: only whoever has a user minds being turned away", "[health][mysql_probe]") {
    CHECK(decides_at_the_end(as_user("check"), greeting + denied));
    const auto named = converse(as_user("check"), greeting + denied);
    CHECK(named.failed());
    CHECK(named.cause == "mysql: 1045 Access denied for user 'x'@'192.0.2.1' (using password: NO)");
    const auto anonymous = converse(as_user(""), greeting + denied);
    CHECK(anonymous.passed());
    CHECK(anonymous.sent == login(""));
    CHECK(anonymous.ending == Ending::await_close);
    CHECK(converse(as_user(""), greeting + packet(2, "\xff\x57\x0c#HY000encrypt")).passed());
    CHECK(converse(as_user(""), greeting + packet(2, "\xff\xa2\x06#28000no")).passed());
    CHECK(converse(as_user(""), greeting + packet(2, "\xff\x10\x04#08004Too many")).cause ==
          "mysql: 1040 Too many");
}

TEST_CASE("mysql_probe: an error instead of a greeting says why", "[health][mysql_probe]") {
    for (const char* const user : {"", "check"}) {
        const std::string blocked = packet(0, "\xffi\4Host '192.0.2.1' is blocked");
        CHECK(decides_at_the_end(as_user(user), blocked));
        const auto result = converse(as_user(user), blocked);
        CHECK(result.failed());
        CHECK(result.cause == "mysql: 1129 Host '192.0.2.1' is blocked");
        CHECK(result.sent.empty());
        CHECK(converse(as_user(user), packet(0, "\xff\x10\4Too many connections")).cause ==
              "mysql: 1040 Too many connections");
        CHECK(converse(as_user(user), packet(0, "\xff\x15\4#28000denied")).failed());
    }
}

TEST_CASE("mysql_probe: another method gets an empty answer", "[health][mysql_probe]") {
    const std::string native = packet(2, "\xfemysql_native_password\0scramble\0"s);
    CHECK(decides_at_the_end(as_user("check"), greeting + native + packet(4, "\0\0\0\2\0\0\0"s)));
    CHECK(converse(as_user("check"), greeting + native).sent == login("check") + packet(3, ""));
    const std::string sha2 = packet(2,
                                    "\xfe"
                                    "caching_sha2_password\0scramble\0"s);
    CHECK(converse(as_user("check"), greeting + sha2).sent == login("check") + packet(3, "\0"s));
    CHECK(converse(as_user("check"), greeting + packet(2, "\xfe")).sent ==
          login("check") + packet(3, ""));
    const auto endless =
        converse(as_user("check"), greeting + native + native + native + native + native + native);
    CHECK(endless.failed());
    CHECK(endless.cause == "mysql: a login without end");
}

TEST_CASE("mysql_probe: an old server is not promised what it does not know",
          "[health][mysql_probe]") {
    const std::string old = packet(0, "\n4.1.0\0id..scramble\0\x01\x82"s);
    CHECK(converse(as_user("u"), old).sent ==
          packet(1, "\x01\x82\0\0\0\0\0\1\x21"s + std::string(23, '\0') + "u\0\0"s));
    CHECK(converse(as_user("u"), packet(0, "\n4.0.0\0id..scramble\0\x01\x80"s)).cause ==
          "mysql: a server from before 4.1");
}

TEST_CASE("mysql_probe: what is no MySQL fails", "[health][mysql_probe]") {
    struct Case {
        std::string answer;
        std::string cause;
    };
    const std::vector<Case> cases{
        {"HTTP/1.1 400 Bad Request\r\n", "mysql: a packet of 5526600 bytes"},
        {"\xff\xff\xff\0"s, "mysql: a packet of 16777215 bytes"},
        {"\xfd\x0f\0\0"s, "mysql: a packet of 4093 bytes"},
        {"\0\0\0\0"s, "mysql: an empty packet"},
        {packet(0, "\x09old"), "mysql: a greeting of protocol 9"},
        {packet(0, "\n"), "mysql: a greeting that is too short"},
        {packet(0, "\n5.5\0id..scramble\0\xff"s), "mysql: a greeting that is too short"},
        {packet(0, "\xff"), "mysql: 0 "},
        {packet(0, "\xff\x10\4#"), "mysql: 1040 #"},
        {packet(0, "\xff\x10\4#1234\nx"), R"(mysql: 1040 x)"},
        {packet(0, "\xff\x10\4\"\n"), R"(mysql: 1040 \x22\x0a)"},
        {greeting + packet(2, "\x05"), "mysql: no answer to the login"},
        {greeting + "\0\0\0\2"s, "mysql: an empty packet"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.cause);
        const auto result = converse(as_user("u"), c.answer);
        CHECK(result.failed());
        CHECK(result.cause == c.cause);
        CHECK(converse(as_user("u"), c.answer, 1).cause == c.cause);
    }
}
