#include "eplb/backend.hpp"

#include "support/catch.hpp"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::Backend;

TEST_CASE("backend: tells what it was made of", "[proxy][backend]") {
    const Backend backend{3, "db", Address::parse("10.0.0.3:3306"), 7};
    CHECK(backend.index() == 3);
    CHECK(backend.name() == "db");
    CHECK(backend.address() == Address::parse("10.0.0.3:3306"));
    CHECK(backend.weight() == 7);
    CHECK(backend.active() == 0);
    CHECK(backend.attempts() == 0);
    CHECK(backend.failures() == 0);
}

TEST_CASE("backend: a lease counts as active while it lives, and as a session for ever",
          "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    {
        const Backend::Lease first{backend};
        CHECK(first.get() == &backend);
        const Backend::Lease second{backend};
        CHECK(backend.active() == 2);
    }
    CHECK(backend.active() == 0);
    CHECK(backend.attempts() == 2);
}

TEST_CASE("backend: moving a lease counts once", "[proxy][backend]") {
    Backend a{0, "a", Address::parse("10.0.0.3:1"), 1};
    Backend b{1, "b", Address::parse("10.0.0.3:2"), 1};
    Backend::Lease lease{a};
    Backend::Lease moved{std::move(lease)};
    CHECK(lease.get() == nullptr);
    CHECK(moved.get() == &a);
    CHECK(a.active() == 1);

    moved = Backend::Lease{b};
    CHECK(a.active() == 0);
    CHECK(b.active() == 1);
    moved = {};
    CHECK(b.active() == 0);
    CHECK(moved.get() == nullptr);
    CHECK(a.attempts() == 1);
    CHECK(b.attempts() == 1);
}

TEST_CASE("backend: a session that the server has finished counts apart", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    backend.set_max_connections(1);
    {
        Backend::Lease first = Backend::Lease::try_take(backend);
        CHECK(backend.full());
        CHECK_FALSE(first.finished());
        first.finish();
        first.finish();
        CHECK(first.finished());
        CHECK(first.get() == &backend);
        CHECK(backend.active() == 0);
        CHECK(backend.sessions() == 1);

        const Backend::Lease second = Backend::Lease::try_take(backend);
        CHECK(second.get() == &backend);
        CHECK(backend.active() == 1);
        CHECK(backend.sessions() == 2);

        const Backend::Lease moved{std::move(first)};
        CHECK(moved.finished());
        CHECK_FALSE(first.finished());
        first.finish();  // of nothing
        CHECK(backend.sessions() == 2);
    }
    CHECK(backend.active() == 0);
    CHECK(backend.sessions() == 0);
    CHECK(backend.attempts() == 2);
}

TEST_CASE("backend: it is known for how long it was met", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    const eplb::TimePoint now{std::chrono::hours{1}};
    CHECK(backend.met_ago(now) == eplb::Duration::max());
    backend.meet(now);
    CHECK(backend.met_ago(now + std::chrono::seconds{3}) == std::chrono::seconds{3});
    backend.forget_meeting();
    CHECK(backend.met_ago(now) == eplb::Duration::max());
}

TEST_CASE("backend: a lease assigned to itself stays", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    Backend::Lease lease{backend};
    Backend::Lease& alias = lease;
    lease = std::move(alias);
    CHECK(lease.get() == &backend);
    CHECK(backend.active() == 1);
}

TEST_CASE("backend: failures are counted", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    backend.count_failure();
    backend.count_failure();
    CHECK(backend.failures() == 2);
}

TEST_CASE("backend: no lease beyond its limit", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    backend.set_max_connections(2);
    Backend::Lease first = Backend::Lease::try_take(backend);
    CHECK(first.get() == &backend);
    CHECK_FALSE(backend.full());
    const Backend::Lease second = Backend::Lease::try_take(backend);
    CHECK(backend.full());
    CHECK(Backend::Lease::try_take(backend).get() == nullptr);
    CHECK(backend.active() == 2);
    CHECK(backend.attempts() == 2);

    first = {};
    CHECK_FALSE(backend.full());
    CHECK(Backend::Lease::try_take(backend).get() == &backend);

    backend.set_max_connections(1);  // who is there stays
    CHECK(backend.active() == 1);
    CHECK(backend.full());
    backend.set_max_connections(0);
    CHECK(Backend::Lease::try_take(backend).get() == &backend);
}

TEST_CASE("backend: threads that take leases never hold more than the limit",
          "[proxy][backend][threads]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 1};
    backend.set_max_connections(3);
    std::atomic<bool> exceeded{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 20'000; ++round) {
                const Backend::Lease lease = Backend::Lease::try_take(backend);
                const Backend::Lease another = Backend::Lease::try_take(backend);
                if (backend.active() > 3) exceeded = true;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_FALSE(exceeded);
    CHECK(backend.active() == 0);
}

TEST_CASE("backend: its effective weight is its weight, in finer units, and less at a slow start",
          "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 3};
    CHECK(backend.effective_weight() == 3 * Backend::full_share);
    backend.set_share(64);
    CHECK(backend.effective_weight() == 3 * 64);
    backend.set_share(0);
    CHECK(backend.effective_weight() == 3);
    backend.set_share(1000);
    CHECK(backend.effective_weight() == 3 * Backend::full_share);
    backend.set_weight(0);
    CHECK(backend.effective_weight() == 0);
}

TEST_CASE("backend: who sees how long it takes tells its latency", "[proxy][backend]") {
    Backend backend{0, "a", Address::parse("10.0.0.3:1"), 3};
    const eplb::TimePoint now{std::chrono::hours{1}};
    CHECK(backend.latency().at(now) == eplb::Duration{0});
    backend.latency().observe(std::chrono::milliseconds{2}, now);
    CHECK(backend.latency().at(now) > std::chrono::microseconds{1999});
}
