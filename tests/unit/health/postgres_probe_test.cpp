#include "support/catch.hpp"
#include "support/conversation.hpp"

#include <string>
#include <vector>

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::test::converse;
using eplb::test::decides_at_the_end;
using namespace std::string_literals;

namespace {

CheckConfig as_user(std::string user, std::string database = "") {
    CheckConfig result;
    result.type = CheckConfig::Type::postgres;
    result.user = std::move(user);
    result.database = std::move(database);
    return result;
}

std::string message(char type, const std::string& body) {
    const std::size_t size = body.size() + 4;
    return std::string{type, 0, 0, static_cast<char>(size >> 8 & 0xff),
                       static_cast<char>(size & 0xff)} +
           body;
}

std::string error(const std::string& state, const std::string& text) {
    return message('E', "SFATAL\0VFATAL\0C"s + state + "\0M"s + text + "\0Fauth.c\0L544\0\0"s);
}

const std::string welcome = message('R', "\0\0\0\0"s);
const std::string settings = message('S',
                                     "server_version\0"
                                     "15.18\0"s) +
                             message('K', "12345678");
const std::string ready = message('Z', "I");

}  // namespace

TEST_CASE("postgres_probe: whoever is let in waits until the server is ready, and leaves",
          "[health][postgres_probe]") {
    const std::string answer = welcome + settings + ready;
    CHECK(decides_at_the_end(as_user("check"), answer));
    const auto result = converse(as_user("check", "db"), answer);
    CHECK(result.passed());
    CHECK(result.sent == "\0\0\0\x20\0\3\0\0user\0check\0database\0db\0\0"s + "X\0\0\0\4"s);
    CHECK(result.ending == Ending::await_close);
    CHECK(converse(as_user("check"), "").sent == "\0\0\0\x14\0\3\0\0user\0check\0\0"s);
}

TEST_CASE("postgres_probe: a password is wanted: the server is alive, and takes no goodbye",
          "[health][postgres_probe]") {
    const std::string answer = message('R', "\0\0\0\x0aSCRAM-SHA-256\0\0"s);
    CHECK(decides_at_the_end(as_user("check"), answer));
    const auto result = converse(as_user("check"), answer);
    CHECK(result.passed());
    CHECK(result.goodbye.empty());
    CHECK(result.ending == Ending::finish);
}

TEST_CASE("postgres_probe: what an error says of the server", "[health][postgres_probe]") {
    struct Case {
        std::string state;
        bool passes;
    };
    const std::vector<Case> cases{
        {"28000", true},  {"28P01", true},  {"3D000", true},  {"57P03", false}, {"57P01", false},
        {"53300", false}, {"XX000", false}, {"0A000", false}, {"", false},
    };
    for (const Case& c : cases) {
        CAPTURE(c.state);
        const std::string refusal = error(c.state, "the database system is starting up");
        CHECK(decides_at_the_end(as_user("check"), refusal));
        const auto result = converse(as_user("check"), refusal);
        CHECK(result.passed() == c.passes);
        CHECK(result.ending == Ending::await_close);
        if (!c.passes)
            CHECK(result.cause == "postgres: " + c.state + " the database system is starting up");
        // The places for clients are counted when it is known who it is.
        CHECK(decides_at_the_end(as_user("check"), welcome + refusal));
        CHECK(converse(as_user("check"), welcome + refusal).passed() == c.passes);
    }
}

TEST_CASE("postgres_probe: without a user, any answer to the question about GSSAPI will do",
          "[health][postgres_probe]") {
    CHECK(converse(as_user(""), "").sent == "\0\0\0\x08\x04\xd2\x16\x30"s);
    for (const char* const answer : {"N", "G"}) {
        const auto result = converse(as_user(""), answer);
        CHECK(result.passed());
        CHECK(result.goodbye.empty());
        CHECK(result.ending == Ending::finish);
    }
    CHECK(converse(as_user(""), error("0A000", "unsupported frontend protocol")).passed());
    CHECK(converse(as_user(""), error("53300", "too many")).cause == "postgres: 53300 too many");
    CHECK(converse(as_user(""), welcome).failed());
}

TEST_CASE("postgres_probe: what is no PostgreSQL fails", "[health][postgres_probe]") {
    struct Case {
        std::string answer;
        std::string cause;
    };
    const std::vector<Case> cases{
        {"\n5.5", "postgres: no such message"},
        {"R\xff\xff\xff\xff", "postgres: a message of 4294967295 bytes"},
        {"R\0\0\0\3"s, "postgres: a message of 3 bytes"},
        {"R\0\0\x10\0"s, "postgres: a message of 4096 bytes"},
        {message('R', "\0\0\0"s), "postgres: a message cut short"},
        {message('E', ""), "postgres:  "},
        {message('E', "C"), "postgres:  "},
        {message('E', "MnoCnull"), "postgres:  noCnull"},
        {message('E', "C57P03\0M\"\n\0\0"s), R"(postgres: 57P03 \x22\x0a)"},
        {"HTTP/1.1", "postgres: a message of 1414811695 bytes"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.cause);
        const auto result = converse(as_user("u"), c.answer);
        CHECK(result.failed());
        CHECK(result.cause == c.cause);
        CHECK(converse(as_user("u"), c.answer, 1).cause == c.cause);
    }
}
