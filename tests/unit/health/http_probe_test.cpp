#include "support/catch.hpp"
#include "support/conversation.hpp"

#include <string>

using eplb::CheckConfig;
using eplb::health::Ending;
using eplb::test::contains;
using eplb::test::converse;
using eplb::test::decides_at_the_end;

namespace {

CheckConfig http() {
    CheckConfig result;
    result.type = CheckConfig::Type::http;
    return result;
}

}  // namespace

TEST_CASE("http_probe: one request, and the server closes", "[health][http_probe]") {
    CheckConfig config = http();
    CHECK(converse(config, "").sent ==
          "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\nUser-Agent: eplb\r\nAccept: */*\r\n"
          "Connection: close\r\n\r\n");
    config.path = "/primary?x=1";
    config.host = "db.example";
    CHECK_THAT(converse(config, "").sent,
               eplb::test::starts_with("GET /primary?x=1 HTTP/1.1\r\nHost: db.example\r\n"));
    config.host.clear();
    config.address = eplb::Address::parse("unix:/x");
    CHECK_THAT(converse(config, "").sent, contains("\r\nHost: localhost\r\n"));
    CHECK(decides_at_the_end(config, "HTTP/1.1 200 "));
    CHECK(converse(config, "HTTP/1.0 200 OK\r\n\r\nbody").ending == Ending::await_close);
}

TEST_CASE("http_probe: the status decides", "[health][http_probe]") {
    CheckConfig config = http();
    CHECK(converse(config, "HTTP/1.1 200\r\n").passed());
    CHECK(converse(config, "HTTP/1.1 200\n").passed());
    CHECK(converse(config, "HTTP/1.1 399 x").passed());
    CHECK(converse(config, "HTTP/1.1 199 x").cause == "http: status 199");
    CHECK(converse(config, "HTTP/1.1 400 x").failed());
    CHECK(decides_at_the_end(config, "HTTP/1.1 503 "));
    config.statuses = {{204, 204}, {500, 599}};
    CHECK(converse(config, "HTTP/1.1 204 x").passed());
    CHECK(converse(config, "HTTP/1.1 503 x").passed());
    CHECK(converse(config, "HTTP/1.1 200 x").failed());
    config.statuses.clear();
    CHECK(converse(config, "HTTP/1.1 200 x").failed());
}

TEST_CASE("http_probe: what is no status line fails", "[health][http_probe]") {
    for (const char* const answer :
         {"\n", "http/1.1 200 OK", "HTTP/2.0 200 OK", "HTTP/1.x 200 OK", "HTTP/1.1-200 OK",
          "HTTP/1.1 2000 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1  20 OK", "HTTX"}) {
        CAPTURE(answer);
        CHECK(converse(http(), answer).cause == "http: no status line");
        CHECK(converse(http(), answer, 1).cause == "http: no status line");
    }
}
