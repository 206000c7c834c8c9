#include "base/source_turn.hpp"

#include "support/catch.hpp"

#include <sys/socket.h>

using eplb::Address;
using eplb::SourceTurn;

TEST_CASE("source turn: each address of the family has its turn, and no other one",
          "[base][source_turn]") {
    const std::vector<Address> sources{Address::parse("192.0.2.1:0"),
                                       Address::parse("[2001:db8::1]:0"),
                                       Address::parse("192.0.2.2:0")};
    SourceTurn turn;
    for (int round = 0; round < 3; ++round) {
        CHECK(turn.next(sources, AF_INET) == &sources[0]);
        CHECK(turn.next(sources, AF_INET) == &sources[2]);
    }
    CHECK(turn.next(sources, AF_INET6) == &sources[1]);
    CHECK(turn.next(sources, AF_INET6) == &sources[1]);
}

TEST_CASE("source turn: where no address has the family there is none", "[base][source_turn]") {
    SourceTurn turn;
    CHECK(turn.next({}, AF_INET) == nullptr);
    CHECK(turn.next({Address::parse("192.0.2.1:0")}, AF_INET6) == nullptr);
}
