#include "proxy/unique_ids.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

using eplb::UniqueIds;

TEST_CASE("unique ids: 32 hexadecimal digits, and the next one each time", "[proxy][unique_ids]") {
    UniqueIds ids;
    std::set<std::string> all;
    for (int i = 0; i < 1000; ++i) {
        const std::string id = ids.next();
        CHECK(id.size() == 32);
        CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
        CHECK(all.insert(id).second);
        CHECK(id.substr(0, 16) == all.begin()->substr(0, 16));
    }
}

TEST_CASE("unique ids: however many sequences there are, no two are near each other",
          "[proxy][unique_ids]") {
    std::set<std::string> sequences;
    std::set<std::string> places;
    for (int i = 0; i < 20'000; ++i) {
        UniqueIds ids;
        const std::string id = ids.next();
        CHECK(sequences.insert(id.substr(0, 16)).second);
        CHECK(places.insert(id.substr(16, 14)).second);  // 256 ids apart
    }
}
