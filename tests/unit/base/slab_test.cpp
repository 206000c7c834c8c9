#include "base/slab.hpp"

#include "proxy/session.hpp"
#include "support/catch.hpp"

#include <array>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using eplb::Slab;

namespace {

struct Thing {
    explicit Thing(int n) : number{n} { ++alive; }
    ~Thing() { --alive; }
    Thing(const Thing&) = delete;
    Thing& operator=(const Thing&) = delete;

    int number;
    std::array<char, 492> bulk{};
    static inline int alive = 0;
};

constexpr std::size_t per_chunk = Slab<Thing>::chunk_bytes / sizeof(Thing);

}  // namespace

TEST_CASE("slab: objects are made and destroyed where nothing else is", "[base][slab]") {
    Slab<Thing> slab;
    std::vector<Thing*> things;
    for (int i = 0; i < 1000; ++i) things.push_back(&slab.create(i));
    CHECK(Thing::alive == 1000);
    CHECK(slab.size() == 1000);
    std::set<std::uintptr_t> places;
    for (int i = 0; i < 1000; ++i) {
        Thing* const thing = things[static_cast<std::size_t>(i)];
        REQUIRE(thing->number == i);
        const auto place = reinterpret_cast<std::uintptr_t>(thing);
        REQUIRE(place % alignof(Thing) == 0);
        const auto behind = places.lower_bound(place);
        if (behind != places.end()) REQUIRE(*behind >= place + sizeof(Thing));
        if (behind != places.begin()) REQUIRE(*std::prev(behind) + sizeof(Thing) <= place);
        places.insert(place);
    }
    for (Thing* thing : things) slab.destroy(*thing);
    CHECK(Thing::alive == 0);
    CHECK(slab.size() == 0);
}

TEST_CASE("slab: a thousand objects take hardly more than their size", "[base][slab]") {
    Slab<Thing> slab;
    std::vector<Thing*> things;
    for (int i = 0; i < 1000; ++i) things.push_back(&slab.create(i));
    CHECK(slab.chunks() <= 1000 / (per_chunk - 1) + 1);
    for (Thing* thing : things) slab.destroy(*thing);
}

TEST_CASE("slab: what a burst took goes back to the system, but for one chunk", "[base][slab]") {
    Slab<Thing> slab;
    std::vector<Thing*> things;
    for (int i = 0; i < 5000; ++i) things.push_back(&slab.create(i));
    CHECK(slab.chunks() > 30);
    // In an order that has nothing to do with that of their making.
    for (std::size_t i = 0; i < 5000; ++i) slab.destroy(*things[i * 1237 % 5000]);
    CHECK(slab.chunks() == 1);
}

TEST_CASE("slab: new objects fill the holes of chunks that are in use", "[base][slab]") {
    Slab<Thing> slab;
    std::vector<Thing*> things;
    for (int i = 0; i < 1000; ++i) things.push_back(&slab.create(i));
    const std::size_t chunks = slab.chunks();
    for (int round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i < 1000; i += 3) slab.destroy(*things[i]);
        for (std::size_t i = 0; i < 1000; i += 3) things[i] = &slab.create(static_cast<int>(i));
        REQUIRE(slab.chunks() == chunks);
    }
    for (std::size_t i = 0; i < 1000; ++i) {
        REQUIRE(things[i]->number == static_cast<int>(i));
        slab.destroy(*things[i]);
    }
}

TEST_CASE("slab: a single object that comes and goes does not map memory each time",
          "[base][slab]") {
    Slab<Thing> slab;
    Thing* const first = &slab.create(1);
    slab.destroy(*first);
    CHECK(slab.chunks() == 1);
    Thing* const second = &slab.create(2);
    CHECK(second == first);
    slab.destroy(*second);
}

TEST_CASE("slab: a constructor that throws takes nothing", "[base][slab]") {
    struct Picky {
        explicit Picky(bool bad) {
            if (bad) throw std::runtime_error{"no"};
        }
        std::array<char, 100> bulk{};
    };
    Slab<Picky> slab;
    CHECK_THROWS_AS(slab.create(true), std::runtime_error);
    CHECK(slab.size() == 0);
    Picky& fine = slab.create(false);
    CHECK(slab.size() == 1);
    slab.destroy(fine);
}

TEST_CASE("slab: a session takes at most 512 bytes, and nothing else while it is idle",
          "[base][slab]") {
    constexpr std::size_t header = 64;
    constexpr std::size_t fit = (Slab<eplb::Session>::chunk_bytes - header) / sizeof(eplb::Session);
    CHECK(Slab<eplb::Session>::chunk_bytes / fit <= 512);
}
