#include "admission/waiting_room.hpp"

#include "support/catch.hpp"

#include <array>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

using eplb::WaitingRoom;

namespace {

class Guest final : public WaitingRoom::Guest {};
class Host final : public WaitingRoom::Host {};

Host& host() {
    static Host host;
    return host;
}
Guest& session(std::size_t number) {
    static std::array<Guest, 64> guests;
    return guests[number];
}

}  // namespace

TEST_CASE("waiting room: in the order in which they came", "[proxy][waiting_room]") {
    WaitingRoom room;
    CHECK(room.empty());
    CHECK(room.first_of(host(), 1) == nullptr);
    WaitingRoom::Waiter a{host(), session(0)};
    WaitingRoom::Waiter b{host(), session(1)};
    WaitingRoom::Waiter c{host(), session(2)};
    REQUIRE(room.enter(a, 3));
    REQUIRE(room.enter(b, 3));
    REQUIRE(room.enter(c, 3));
    CHECK(room.size() == 3);
    CHECK(room.is_first(a));
    CHECK(room.first_of(host(), 1) == &session(0));
    std::size_t told = 0;
    room.tell_hosts(3, [&](WaitingRoom::Host& called) { told += &called == &host() ? 1U : 100U; });
    CHECK(told == 1);  // all three are of the same one
    room.leave(b);
    CHECK(room.is_first(a));
    room.leave(a);
    CHECK(room.is_first(c));
    CHECK(room.first_of(host(), 1) == &session(2));
    room.leave(a);  // has left
    CHECK(room.size() == 1);
    room.leave(c);
    CHECK(room.empty());
    CHECK_FALSE(room.is_first(c));
}

TEST_CASE("waiting room: takes no more than it has places", "[proxy][waiting_room]") {
    WaitingRoom room;
    WaitingRoom::Waiter a{host(), session(0)};
    WaitingRoom::Waiter b{host(), session(1)};
    CHECK_FALSE(room.enter(a, 0));
    CHECK(room.empty());
    REQUIRE(room.enter(a, 1));
    CHECK_FALSE(room.enter(b, 1));
    room.leave(b);  // was never in
    CHECK(room.size() == 1);
    REQUIRE(room.enter(b, 2));
    room.leave(a);
    room.leave(b);
}

TEST_CASE("waiting room: threads come and go", "[proxy][waiting_room][threads]") {
    WaitingRoom room;
    std::atomic<bool> wrong{false};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            WaitingRoom::Waiter waiter{host(), session(i)};
            for (int round = 0; round < 5'000; ++round) {
                if (!room.enter(waiter, 3)) continue;
                if (room.is_first(waiter) && room.first_of(host(), 1) != &session(i)) wrong = true;
                if (room.size() > 3) wrong = true;
                room.leave(waiter);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_FALSE(wrong);
    CHECK(room.empty());
}
