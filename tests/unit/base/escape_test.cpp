#include "base/escape.hpp"

#include "support/catch.hpp"

TEST_CASE("escape: what is no printable word cannot get into a log as it is", "[base][escape]") {
    CHECK(eplb::escaped("db-1.example:5!~").compare("db-1.example:5!~") == 0);
    CHECK(eplb::escaped("a b\"c\\d\n\x7f\xff") == R"(a\x20b\x22c\x5cd\x0a\x7f\xff)");
    CHECK(eplb::escaped(std::string_view{"\0", 1}) == R"(\x00)");
    CHECK(eplb::escaped("").empty());
}

TEST_CASE("escape: a phrase keeps its blanks", "[base][escape]") {
    CHECK(eplb::escaped_phrase("too many clients") == "too many clients");
    CHECK(eplb::escaped_phrase("a \"b\"\t\\\n") == R"(a \x22b\x22\x09\x5c\x0a)");
}
