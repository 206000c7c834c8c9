#include "discovery/name_source.hpp"

#include "support/catch.hpp"

#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace eplb::control;
using eplb::Address;
using eplb::test::contains;

TEST_CASE("name source: an address is a host and a port, a service, or no question",
          "[control][names]") {
    const auto read = [](std::string_view text) {
        const auto question = NameQuestion::parse(text);
        return question ? fmt::format("{} {}{}", question->name, question->port,
                                      question->is_service() ? " service" : "")
                        : std::string{"none"};
    };
    CHECK(read("db.example:3306") == "db.example 3306");
    CHECK(read("localhost:65535") == "localhost 65535");
    CHECK(read("srv:_mysql._tcp.example") == "_mysql._tcp.example 0 service");
    CHECK(read("srv:mysql.service.consul.") == "mysql.service.consul. 0 service");
    CHECK(read("srv:3306") == "srv 3306");
    CHECK(read("127.0.0.1:3306") == "none");
    CHECK(read("[::1]:3306") == "none");
    CHECK(read(":3306") == "none");
    CHECK(read("unix:/run/x") == "none");
}

TEST_CASE("name source: what is neither is told", "[control][names]") {
    for (const std::string& text :
         {std::string{"srv:"}, std::string{"srv:."}, std::string{"srv:a..b"},
          std::string{"srv:a b"}, std::string{"srv:_x._tcp.example:1"},
          "srv:" + std::string(64, 'a'), "srv:a" + std::string(260, '.')}) {
        INFO(text);
        CHECK_THROWS_AS(NameQuestion::parse(text), std::invalid_argument);
        CHECK_THROWS_WITH(NameQuestion::parse(text), contains("is not the name of a service"));
    }
    CHECK_THROWS_AS(NameQuestion::parse("db.example:0"), std::invalid_argument);
    CHECK_THROWS_AS(NameQuestion::parse("db.example"), std::invalid_argument);
}

TEST_CASE("name source: targets have one order, and of an address the best one is left",
          "[control][names]") {
    const auto target = [](std::string_view text, std::uint16_t priority, std::uint16_t weight) {
        return NameTarget{Address::parse(text), priority, weight, ""};
    };
    std::vector<NameTarget> targets{target("[::1]:1", 0, 0),    target("10.0.0.10:1", 1, 0),
                                    target("10.0.0.9:2", 1, 0), target("10.0.0.9:1", 2, 9),
                                    target("10.0.0.9:1", 1, 3), target("10.0.0.9:1", 1, 5)};
    arrange(targets);
    CHECK(targets == std::vector{target("10.0.0.9:1", 1, 5), target("10.0.0.9:2", 1, 0),
                                 target("10.0.0.10:1", 1, 0), target("[::1]:1", 0, 0)});
}
