#include "admission/source_limits.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory_resource>
#include <netinet/in.h>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Admission;
using eplb::Duration;
using eplb::HashSecret;
using eplb::Rate;
using eplb::sip_hash;
using eplb::SourceLimits;
using eplb::TimePoint;
using Options = SourceLimits::Options;
using Ticket = SourceLimits::Ticket;

static_assert(!std::is_copy_constructible_v<Ticket> && !std::is_copy_assignable_v<Ticket>);
static_assert(std::is_nothrow_move_constructible_v<Ticket>);
static_assert(std::is_nothrow_move_assignable_v<Ticket>);

namespace {

constexpr TimePoint start{1h};
constexpr HashSecret secret{0x0706050403020100, 0x0f0e0d0c0b0a0908};

Address ipv4(std::uint32_t number) {
    sockaddr_storage raw{};
    auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(4711);
    v4.sin_addr.s_addr = htonl(number);
    return Address::from(raw, sizeof v4);
}

// One of each /64 of 2001:db8::/32.
Address ipv6(std::uint32_t number) {
    sockaddr_storage raw{};
    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    v6.sin6_family = AF_INET6;
    const std::uint32_t words[2] = {htonl(0x20010db8), htonl(number)};
    std::memcpy(&v6.sin6_addr, words, sizeof words);
    v6.sin6_addr.s6_addr[15] = 1;
    return Address::from(raw, sizeof v6);
}

// Of another /32 each, but for 2001:db8::.
Address ipv6_of(std::uint32_t network, std::uint32_t number = 0) {
    sockaddr_storage raw{};
    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    v6.sin6_family = AF_INET6;
    const std::uint32_t words[2] = {htonl(0x30000000 + network), htonl(number)};
    std::memcpy(&v6.sin6_addr, words, sizeof words);
    return Address::from(raw, sizeof v6);
}

const Address client = ipv4(0x0a000001);
const Address other = ipv4(0x0a000002);

// Connections of `source` that are let in, until one is not; they stay in `tickets`.
std::size_t admit_all(SourceLimits& limits, const Address& source, TimePoint now,
                      std::vector<Ticket>& tickets) {
    for (std::size_t count = 0;; ++count) {
        SourceLimits::Decision decision = limits.admit(source, now);
        if (decision.admission != Admission::admitted || count == 10'000) return count;
        tickets.push_back(std::move(decision.ticket));
    }
}

// The same, of connections that end at once.
std::size_t admit_all(SourceLimits& limits, const Address& source, TimePoint now) {
    std::size_t count = 0;
    while (count < 10'000 && limits.admit(source, now).admission == Admission::admitted) ++count;
    return count;
}

// Memory for what is made while this is the default, and only so much of it.
class Memory : public std::pmr::memory_resource {
public:
    explicit Memory(std::size_t bytes) : limit{bytes} { std::pmr::set_default_resource(this); }
    ~Memory() override { std::pmr::set_default_resource(nullptr); }
    std::size_t limit;
    std::size_t used = 0;

private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
        if (used + bytes > limit) throw std::bad_alloc{};
        used += bytes;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void* place, std::size_t bytes, std::size_t alignment) override {
        used -= bytes;
        std::pmr::new_delete_resource()->deallocate(place, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(const memory_resource& b) const noexcept override {
        return this == &b;
    }
};

}  // namespace

TEST_CASE("source limits: the hash is SipHash-1-3", "[proxy][source_limits]") {
    // With the secret 0 it is Python's hash() of 8 bytes, PYTHONHASHSEED=0; that of the paper's
    // secret was worked out by code that gives the paper's results for 2-4.
    CHECK(sip_hash(0x0706050403020100, {}) == 0xead411e67ebe2eea);
    CHECK(sip_hash(0, {}) == 0xbd60acb658c79e45);
    CHECK(sip_hash(0xffffffffffffffff, {}) == 0x2f205be2fec8e38d);
    CHECK(sip_hash(0x0706050403020100, secret) == 0x369095118d299a8e);
    CHECK(sip_hash(0, secret) == 0x5cb96f6ba2a4fcfc);
}

TEST_CASE("source limits: no two secrets are the same", "[proxy][source_limits]") {
    const HashSecret a = HashSecret::random();
    const HashSecret b = HashSecret::random();
    CHECK((a.first != b.first && a.second != b.second && a.first != a.second));
}

TEST_CASE("source limits: without limits everybody comes in and nobody is tracked",
          "[proxy][source_limits]") {
    for (const Options& options : {Options{}, Options{0, {0, 1h}, 100}, Options{0, {5, 0s}, 100}}) {
        SourceLimits limits{options, secret};
        std::vector<Ticket> tickets;
        CHECK(admit_all(limits, client, start, tickets) == 10'000);
        CHECK_FALSE(tickets.front().counts());
        const SourceLimits::Stats stats = limits.stats(start);
        CHECK(stats.sources == 0);
        CHECK(stats.untracked == 0);
        CHECK(stats.too_many == 0);
        CHECK(stats.too_fast == 0);
    }
}

TEST_CASE("source limits: a source has as many connections as it may have, and no more",
          "[proxy][source_limits]") {
    for (const std::uint32_t max : {1U, 2U, 100U}) {
        CAPTURE(max);
        SourceLimits limits{{max, {}, 1000}, secret};
        std::vector<Ticket> tickets;
        CHECK(admit_all(limits, client, start, tickets) == max);
        CHECK(limits.admit(client, start + 24h).admission == Admission::too_many);
        CHECK(admit_all(limits, other, start, tickets) == max);

        tickets.erase(tickets.begin());
        CHECK(admit_all(limits, other, start, tickets) == 0);
        CHECK(admit_all(limits, client, start, tickets) == 1);
        CHECK(limits.stats(start).sources == 2);
        CHECK(limits.stats(start).too_many == 5);
        CHECK(limits.stats(start).too_fast == 0);
        tickets.clear();
        CHECK(limits.stats(start).sources == 0);
        CHECK(admit_all(limits, client, start, tickets) == max);
    }
}

TEST_CASE("source limits: who is the same source", "[proxy][source_limits]") {
    struct Row {
        std::string a;
        std::string b;
        bool same;
    };
    const std::vector<Row> table{
        {"10.0.0.1:1", "10.0.0.1:2", true},
        {"10.0.0.1:1", "[::ffff:10.0.0.1]:1", true},
        {"10.0.0.1:1", "10.0.0.2:1", false},
        {"10.0.0.1:1", "11.0.0.1:1", false},
        {"10.0.0.1:1", "[::10.0.0.1]:1", false},
        {"[2001:db8::1]:1", "[2001:db8::1]:2", true},
        {"[2001:db8::1]:1", "[2001:db8::ffff:ffff:ffff:ffff]:1", true},
        {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
        {"[2001:db8::1]:1", "[2001:db9::1]:1", false},
        {"[2001:db8::1]:1", "[3001:db8::1]:1", false},
        {"[fe80::1%77]:1", "[fe80::2%77]:1", true},
        {"[::1]:1", "127.0.0.1:1", false},
        {"[::]:1", "0.0.0.0:1", false},
        {"[ff00:0:7f00:1::]:1", "127.0.0.1:1", false},
        {"[0:0:7f00:1::]:1", "127.0.0.1:1", false},
        {"[::7f00:1]:1", "127.0.0.1:1", false},
        {"[ffff:ffff:ffff:ffff::]:1", "255.255.255.255:1", false},
    };
    for (const Row& row : table) {
        INFO(row.a << " and " << row.b);
        SourceLimits limits{{1, {}, 1000}, secret};
        const auto first = limits.admit(Address::parse(row.a), start);
        REQUIRE(first.admission == Admission::admitted);
        const auto second = limits.admit(Address::parse(row.b), start);
        CHECK((second.admission == Admission::too_many) == row.same);
    }
}

TEST_CASE("source limits: clients of Unix sockets are nobody's, and have no limit",
          "[proxy][source_limits]") {
    SourceLimits limits{{1, {1, 1h}, 1000}, secret};
    for (const Address& address : {Address{}, Address::parse("unix:/a")}) {
        std::vector<Ticket> tickets;
        CHECK(admit_all(limits, address, start, tickets) == 10'000);
        CHECK_FALSE(tickets.front().counts());
    }
    CHECK(limits.stats(start).sources == 0);
    CHECK(limits.stats(start).untracked == 0);
}

TEST_CASE("source limits: a source may connect in a burst of the count, and then at the rate",
          "[proxy][source_limits]") {
    SourceLimits limits{{0, {100, 1s}, 1000}, secret};
    CHECK(admit_all(limits, client, start) == 100);
    CHECK(limits.admit(client, start).admission == Admission::too_fast);
    CHECK(admit_all(limits, other, start) == 100);
    CHECK(admit_all(limits, client, start + 9ms) == 0);
    CHECK(admit_all(limits, client, start + 10ms) == 1);
    CHECK(admit_all(limits, client, start + 110ms) == 10);
    CHECK(limits.stats(start + 110ms).sources == 2);
    CHECK(limits.stats(start + 110ms).too_fast == 6);
    CHECK(limits.stats(start + 110ms).too_many == 0);
    CHECK(limits.stats(start + 1s).sources == 1);
    CHECK(limits.stats(start + 1110ms).sources == 0);
    CHECK(admit_all(limits, client, start + 10s) == 100);
}

TEST_CASE("source limits: for the rate alone, connections are not counted",
          "[proxy][source_limits]") {
    SourceLimits limits{{0, {1, 1s}, 1000}, secret};
    const auto decision = limits.admit(client, start);
    CHECK(decision.admission == Admission::admitted);
    CHECK_FALSE(decision.ticket.counts());
    CHECK(limits.stats(start + 999ms).sources == 1);
    CHECK(limits.stats(start + 1s).sources == 0);
}

TEST_CASE("source limits: a client that tries without pause gets its rate, no more and no less",
          "[proxy][source_limits]") {
    SourceLimits limits{{0, {10, 1s}, 1000}, secret};
    int admitted = 0;
    for (TimePoint now = start; now <= start + 5s; now += 1ms) {
        if (limits.admit(client, now).admission == Admission::admitted) ++admitted;
    }
    CHECK(admitted == 10 + 50);
}

TEST_CASE("source limits: who is refused for its connections keeps its rate",
          "[proxy][source_limits]") {
    SourceLimits limits{{2, {3, 1h}, 1000}, secret};
    std::vector<Ticket> tickets;
    CHECK(admit_all(limits, client, start, tickets) == 2);
    for (int i = 0; i < 1000; ++i) {
        CHECK(limits.admit(client, start).admission == Admission::too_many);
    }
    tickets.clear();
    CHECK(admit_all(limits, client, start, tickets) == 1);
    CHECK(limits.admit(client, start).admission == Admission::too_fast);
}

TEST_CASE("source limits: who is refused for its rate has no more connections for it",
          "[proxy][source_limits]") {
    SourceLimits limits{{2, {1, 1s}, 1000}, secret};
    std::vector<Ticket> tickets;
    CHECK(admit_all(limits, client, start, tickets) == 1);
    for (int i = 0; i < 1000; ++i) {
        CHECK(limits.admit(client, start).admission == Admission::too_fast);
    }
    CHECK(admit_all(limits, client, start + 1s, tickets) == 1);
    CHECK(limits.admit(client, start + 2s).admission == Admission::too_many);
}

TEST_CASE("source limits: a ticket counts once, wherever it is moved", "[proxy][source_limits]") {
    SourceLimits limits{{2, {}, 1000}, secret};
    Ticket a = limits.admit(client, start).ticket;
    CHECK(a.counts());
    Ticket b{std::move(a)};
    CHECK(b.counts());
    std::vector<Ticket> tickets;
    CHECK(admit_all(limits, client, start, tickets) == 1);
    b = std::move(tickets.back());
    tickets.clear();  // with the one that b had
    CHECK(b.counts());
    CHECK(admit_all(limits, client, start, tickets) == 1);
    tickets.clear();
    b = Ticket{};
    CHECK_FALSE(b.counts());
    CHECK(limits.stats(start).sources == 0);
    CHECK(admit_all(limits, client, start, tickets) == 2);
}

TEST_CASE("source limits: other limits meet the counts that there are", "[proxy][source_limits]") {
    SourceLimits limits{{4, {}, 1000}, secret};
    std::vector<Ticket> tickets;
    CHECK(admit_all(limits, client, start, tickets) == 4);

    limits.set_options({6, {}, 1000});
    CHECK(admit_all(limits, client, start, tickets) == 2);
    limits.set_options({2, {}, 1000});
    CHECK(limits.admit(client, start).admission == Admission::too_many);
    tickets.resize(2);
    CHECK(limits.admit(client, start).admission == Admission::too_many);
    tickets.resize(1);
    CHECK(admit_all(limits, client, start, tickets) == 1);

    limits.set_options({});
    CHECK(admit_all(limits, client, start) == 10'000);
    CHECK(limits.stats(start).sources == 1);  // with the two connections from before
    limits.set_options({3, {5, 1s}, 1000});
    CHECK(admit_all(limits, client, start, tickets) == 1);
    limits.set_options({10, {5, 1s}, 1000});
    CHECK(admit_all(limits, client, start, tickets) == 4);
    CHECK(limits.admit(client, start).admission == Admission::too_fast);
    limits.set_options({10, {}, 1000});
    CHECK(admit_all(limits, client, start, tickets) == 3);
}

TEST_CASE("source limits: a debt of a slow rate does not outlast the period of a fast one",
          "[proxy][source_limits]") {
    // Neither for the source itself, nor in the way of others.
    SourceLimits limits{{0, {1, 24h}, 32}, secret};
    for (std::uint32_t i = 0; i < 1000; ++i) static_cast<void>(limits.admit(ipv4(i), start));
    CHECK(limits.stats(start).sources == 32);
    CHECK(limits.stats(start).shared == 1000 - 32);
    limits.set_options({0, {10, 1s}, 32});
    for (std::uint32_t i = 1000; i < 2000; ++i) {
        static_cast<void>(limits.admit(ipv4(i), start + 10s));  // looks at every place
    }
    const auto shared = limits.stats(start).shared;
    for (std::uint32_t i = 0; i < 100; ++i) {
        const TimePoint now = start + 12s + i * 100ms;
        CHECK(limits.admit(ipv4(2000 + i), now).admission == Admission::admitted);
    }
    CHECK(limits.stats(start).shared == shared);
    CHECK(admit_all(limits, ipv4(2099), start + 22s) == 10);
}

TEST_CASE("source limits: memory is bounded, and who finds no place at all comes in all the same",
          "[proxy][source_limits]") {
    for (const std::size_t max_sources : {0U, 32U, 1024U, 16'384U}) {
        CAPTURE(max_sources);
        Memory memory{SIZE_MAX};
        {
            SourceLimits limits{{1, {1, 24h}, max_sources}, secret};
            CHECK(memory.used == 0);
            std::vector<Ticket> tickets;
            std::size_t admitted = 0;
            std::size_t tracked = 0;
            for (std::uint32_t i = 0; i < 40'000; ++i) {
                // Each of another /16 or /32, as far as there are so many.
                auto decision =
                    limits.admit(i % 2 == 0 ? ipv4(i << 15 | i >> 16) : ipv6_of(i), start);
                if (decision.admission == Admission::admitted) ++admitted;
                if (decision.ticket.counts()) ++tracked;
                tickets.push_back(std::move(decision.ticket));
            }
            CHECK(admitted == 40'000);
            const std::size_t bound = std::max<std::size_t>(max_sources, 32);
            const std::size_t networks = 2 * std::max<std::size_t>(max_sources / 8, 8);
            CHECK(tracked == bound + networks);
            CHECK(limits.stats(start).sources == bound);
            CHECK(limits.stats(start).networks == networks);
            CHECK(limits.stats(start).shared == networks);
            CHECK(limits.stats(start).untracked == admitted - tracked);
            // 24 bytes and a head, of which there are at most twice as many; and a chunk or two
            // that are not full, for each of 48 shards.
            CHECK(memory.used < (bound + networks) * 34 + 48 * 1024);

            // Who was not tracked gives nothing back; each one tracked has its one connection.
            tickets.clear();
            CHECK(limits.stats(start + 24h).sources == 0);
            const std::uint32_t fit = bound < 1024 ? 1 : 100;
            for (std::uint32_t i = 0; i < fit; ++i) {
                CHECK(admit_all(limits, ipv4(1'000'000 + i), start + 24h, tickets) == 1);
            }
            tickets.clear();
            CHECK(memory.used < (bound + networks) * 34 + 48 * 1024);
        }
        CHECK(memory.used == 0);
    }
}

TEST_CASE("source limits: a source is not forgotten in a flood of others while it matters",
          "[proxy][source_limits]") {
    SourceLimits limits{{1, {1, 1s}, 1024}, secret};
    const Ticket connected = limits.admit(client, start).ticket;  // has a connection
    static_cast<void>(limits.admit(other, start));                // has used up its rate
    for (std::uint32_t i = 0; i < 10'000; ++i) static_cast<void>(limits.admit(ipv6(i), start));
    CHECK(limits.admit(client, start + 999ms).admission == Admission::too_many);
    CHECK(limits.admit(other, start + 999ms).admission == Admission::too_fast);
    // The second flood takes over all places of the first.
    for (std::uint32_t i = 10'000; i < 20'000; ++i) {
        static_cast<void>(limits.admit(ipv6(i), start + 1h));
    }
    CHECK(limits.stats(start + 1h).sources == 1024);
    CHECK(limits.stats(start + 1h).networks == 1);  // all of the flood is one /48
    CHECK(limits.stats(start + 1h).untracked == 0);
    CHECK(limits.admit(client, start + 1h).admission == Admission::too_many);
}

TEST_CASE("source limits: places of sources at rest are taken over before there are more",
          "[proxy][source_limits]") {
    Memory memory{SIZE_MAX};
    SourceLimits limits{{1, {10, 1s}, 1'000'000}, secret};
    TimePoint now = start;
    // Each source is short of its burst for 100 ms, so there are about 100 at a time.
    for (std::uint32_t i = 0; i < 20'000; ++i) {
        static_cast<void>(limits.admit(ipv6(i), now));
        now += 1ms;
    }
    CHECK(limits.stats(now).sources <= 100);
    CHECK(limits.stats(now).untracked == 0);
    CHECK(memory.used < 64 * 1024);
}

TEST_CASE("source limits: when places are taken, a network's further sources share one limit",
          "[proxy][source_limits]") {
    SourceLimits limits{{3, {}, 1024}, secret};
    std::vector<Ticket> flood;
    std::size_t told = 0;
    for (std::uint32_t i = 0; i < 65'536; ++i) {  // every /64 of a /48
        auto decision = limits.admit(ipv6(i), start);
        if (decision.first_without_place) ++told;
        if (decision.ticket.counts()) flood.push_back(std::move(decision.ticket));
    }
    CHECK(told == 1);
    CHECK(flood.size() == 1024 + 3);
    CHECK(limits.stats(start).networks == 1);

    // Others are not held up by that, and have a limit.
    std::vector<Ticket> others;
    CHECK(admit_all(limits, ipv4(0x0a000001), start, others) == 3);
    CHECK(limits.admit(ipv4(0x0a0000ff), start).admission == Admission::too_many);  // same /24
    CHECK(admit_all(limits, ipv4(0x0a000101), start, others) == 3);
    CHECK(admit_all(limits, ipv6_of(1), start, others) == 3);
    CHECK(limits.admit(ipv6_of(1, 0xffff), start).admission == Admission::too_many);
    CHECK(admit_all(limits, ipv6_of(1, 0x10000), start, others) == 3);

    // Who leaves gives back what it had, whoever was counted for it.
    others.pop_back();
    CHECK(limits.admit(ipv6_of(1, 0x10000), start).admission == Admission::admitted);
    flood.clear();
    others.clear();
    CHECK(limits.stats(start).sources == 0);
    CHECK(limits.stats(start).networks == 0);
    CHECK(admit_all(limits, ipv4(0x0a000001), start, others) == 3);
    CHECK(limits.stats(start).sources == 1);
    CHECK(limits.stats(start).networks == 0);
}

TEST_CASE("source limits: whoever has more networks than there are places shares one with them all",
          "[proxy][source_limits]") {
    SourceLimits limits{{1, {}, 1024}, secret};
    std::vector<Ticket> flood;
    for (std::uint32_t i = 0; i < 20'000; ++i) {  // as many /48s of a /32
        auto decision = limits.admit(ipv6(i << 16), start);
        if (decision.ticket.counts()) flood.push_back(std::move(decision.ticket));
    }
    CHECK(flood.size() == 1024 + 128 + 1);
    CHECK(limits.stats(start).untracked == 0);
    std::vector<Ticket> others;
    CHECK(admit_all(limits, ipv4(0x0a000001), start, others) == 1);
    CHECK(limits.admit(ipv4(0x0a00ff01), start).admission == Admission::too_many);  // same /16
    CHECK(admit_all(limits, ipv4(0x0a010001), start, others) == 1);
}

TEST_CASE("source limits: a network has the rate of one source", "[proxy][source_limits]") {
    SourceLimits limits{{0, {2, 1s}, 32}, secret};
    std::size_t admitted = 0;
    for (std::uint32_t i = 0; i < 1000; ++i)
        if (limits.admit(ipv6(i), start).admission == Admission::admitted) ++admitted;
    CHECK(admitted == 32 + 2);
    CHECK(admit_all(limits, ipv4(0x0a000001), start) == 2);
}

TEST_CASE("source limits: fewer places keep what they hold and grow no more",
          "[proxy][source_limits]") {
    SourceLimits limits{{1, {}, 1024}, secret};
    std::vector<Ticket> tickets;
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        tickets.push_back(limits.admit(ipv4(i), start).ticket);
    }
    REQUIRE(limits.stats(start).sources == 1024);
    limits.set_options({1, {}, 32});
    CHECK(limits.stats(start).sources == 1024);
    CHECK(limits.admit(ipv4(0x0b000001), start).admission == Admission::admitted);
    CHECK(limits.stats(start).sources == 1024);
    limits.set_options({1, {}, 2048});
    for (std::uint32_t i = 10'000; i < 20'000; ++i) {
        tickets.push_back(limits.admit(ipv4(i), start).ticket);
    }
    CHECK(limits.stats(start).sources == 2048);
}

TEST_CASE("source limits: a source is not tracked for want of memory, and is once there is some",
          "[proxy][source_limits]") {
    for (std::size_t limit = 0; limit < 12'000; limit += 64) {
        CAPTURE(limit);
        Memory memory{limit};
        SourceLimits limits{{1, {}, 65'536}, secret};
        std::vector<Ticket> tickets;
        std::size_t tracked = 0;
        for (std::uint32_t i = 0; i < 200; ++i) {
            auto decision = limits.admit(ipv4(i << 16), start);
            REQUIRE(decision.admission == Admission::admitted);
            if (decision.ticket.counts()) ++tracked;
            tickets.push_back(std::move(decision.ticket));
        }
        CHECK(limits.stats(start).sources + limits.stats(start).networks == tracked);
        CHECK(limits.stats(start).untracked == 200 - tracked);
        const bool is_short = limits.stats(start).sources < 200;

        memory.limit = SIZE_MAX;
        for (std::uint32_t i = 0; i < 200; ++i) {
            std::vector<Ticket> more;
            const std::size_t count = admit_all(limits, ipv4(i << 16), start, more);
            // Who was counted with a network has a place of its own now.
            REQUIRE(count <= 1);
            if (!tickets[i].counts()) REQUIRE(count == 1);
            if (!is_short) REQUIRE(count == 0);
        }
    }
}

TEST_CASE("source limits: decide as a list of every connection would", "[proxy][source_limits]") {
    struct Model {
        std::vector<Ticket> tickets;
        TimePoint paid_to = TimePoint::min();
    };
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        Options options{3, {5, 2s}, 65'536};
        SourceLimits limits{options, secret};
        std::map<std::uint32_t, Model> model;
        std::uint64_t too_many = 0;
        std::uint64_t too_fast = 0;
        TimePoint now = start;
        for (int step = 0; step < 3000; ++step) {
            now += Duration{random() % 20'000'000};
            const auto number = static_cast<std::uint32_t>(random() % 8);
            Model& source = model[number];
            if (random() % 3 == 0 && !source.tickets.empty()) {
                const auto which = static_cast<std::ptrdiff_t>(random() % source.tickets.size());
                source.tickets.erase(source.tickets.begin() + which);
                continue;
            }
            if (random() % 100 == 0) {
                options.max_connections_per_source = static_cast<std::uint32_t>(1 + random() % 4);
                limits.set_options(options);
            }
            Admission expected = Admission::admitted;
            if (source.tickets.size() >= options.max_connections_per_source) {
                expected = Admission::too_many;
                ++too_many;
            } else if (std::max(source.paid_to, now) + 400ms > now + 2s) {
                expected = Admission::too_fast;
                ++too_fast;
            }
            auto decision = limits.admit(number % 2 == 0 ? ipv4(number) : ipv6(number), now);
            REQUIRE(decision.admission == expected);
            REQUIRE(decision.ticket.counts() == (expected == Admission::admitted));
            if (expected != Admission::admitted) continue;
            source.paid_to = std::max(source.paid_to, now) + 400ms;
            source.tickets.push_back(std::move(decision.ticket));
        }
        const auto busy = std::count_if(model.begin(), model.end(), [&](const auto& entry) {
            return !entry.second.tickets.empty() || entry.second.paid_to > now;
        });
        CHECK(limits.stats(now).sources == static_cast<std::size_t>(busy));
        CHECK(limits.stats(now).too_many == too_many);
        CHECK(limits.stats(now).too_fast == too_fast);
        CHECK(limits.stats(now).untracked == 0);
        CHECK((too_many > 100 && too_fast > 10));
    }
}

TEST_CASE("source limits: threads never let in more than may be, and no count is lost",
          "[proxy][source_limits]") {
    constexpr int threads = 4;
    constexpr int rounds = 20'000;
    constexpr std::size_t sources = 3;
    SourceLimits limits{{2, {}, 1000}};
    std::array<std::atomic<int>, sources> inside{};
    std::atomic<bool> exceeded{false};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<int> running{threads};
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
        workers.emplace_back([&, t] {
            for (int round = 0; round < rounds; ++round) {
                const std::size_t number = static_cast<std::size_t>(round + t) % sources;
                const auto decision = limits.admit(ipv4(static_cast<std::uint32_t>(number)), start);
                if (decision.admission != Admission::admitted) {
                    refused.fetch_add(1);
                    continue;
                }
                if (inside[number].fetch_add(1) >= 2) exceeded = true;
                if (round % 100 == 0) std::this_thread::yield();  // so that somebody meets it
                inside[number].fetch_sub(1);
            }
            running.fetch_sub(1);
        });
    }
    while (running > 0) {
        limits.set_options({1, {}, 1000});
        if (limits.stats(start).sources > sources) exceeded = true;
        limits.set_options({2, {}, 1000});
    }
    for (std::thread& worker : workers) worker.join();
    CHECK_FALSE(exceeded);
    CHECK(limits.stats(start).too_many == refused);
    CHECK(limits.stats(start).sources == 0);
    for (std::uint32_t number = 0; number < sources; ++number) {
        std::vector<Ticket> tickets;
        CHECK(admit_all(limits, ipv4(number), start, tickets) == 2);
    }
}

TEST_CASE("source limits: threads that flood a table too small for it leave nothing behind",
          "[proxy][source_limits]") {
    constexpr std::uint32_t threads = 4;
    constexpr std::uint32_t rounds = 20'000;
    SourceLimits limits{{2, {2, 1s}, 256}};
    std::atomic<std::uint64_t> without_ticket{0};
    std::atomic<std::uint64_t> refused{0};
    std::vector<std::thread> workers;
    for (std::uint32_t t = 0; t < threads; ++t) {
        workers.emplace_back([&, t] {
            std::mt19937 random{t};
            std::vector<Ticket> tickets(100);
            for (std::uint32_t round = 0; round < rounds; ++round) {
                const TimePoint now = start + round * 1ms;
                auto decision =
                    limits.admit(ipv6(static_cast<std::uint32_t>(random() % 1000)), now);
                const bool admitted = decision.admission == Admission::admitted;
                if (!admitted) refused.fetch_add(1);
                if (admitted && !decision.ticket.counts()) without_ticket.fetch_add(1);
                tickets[round % tickets.size()] = std::move(decision.ticket);
            }
        });
    }
    for (std::thread& worker : workers) worker.join();
    const SourceLimits::Stats stats = limits.stats(start + 1h);
    CHECK(stats.sources == 0);
    CHECK(stats.networks == 0);
    CHECK(stats.untracked == without_ticket);
    CHECK(stats.too_many + stats.too_fast == refused);
    CHECK(stats.shared > 0);
    CHECK(refused > 0);
    for (std::uint32_t number = 0; number < 1000; ++number) {
        std::vector<Ticket> tickets;
        // With time enough for those before to be forgotten.
        REQUIRE(admit_all(limits, ipv6(number), start + 1h + number * 1s, tickets) == 2);
    }
}
