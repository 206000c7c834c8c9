#include "eplb/pipe.hpp"

#include "eplb/descriptor_budget.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

using eplb::DescriptorBudget;
using eplb::PipePool;
using eplb::test::DescriptorCheck;

namespace {

constexpr std::size_t pipe_bytes = 64 * 1024;

bool holds_bytes(int read_end) {
    char byte = 0;
    return ::read(read_end, &byte, 1) == 1;
}

}  // namespace

TEST_CASE("pipe pool: while somebody waits for room, a pipe that comes back is closed",
          "[proxy][pipe]") {
    int told = 0;
    DescriptorBudget budget{4, DescriptorBudget::unlimited, [&](std::size_t) { ++told; }};
    PipePool pool{pipe_bytes, &budget};
    PipePool::Lease lease = pool.lease();
    REQUIRE(lease);
    REQUIRE(budget.take_session());
    REQUIRE_FALSE(budget.take_session());
    budget.want_room();
    lease.give_back();
    CHECK(pool.stats().open == 0);
    CHECK(told == 1);
    CHECK(budget.has_room_for_session());
}

TEST_CASE("pipe pool: a lease is an empty nonblocking pipe of the size asked for",
          "[proxy][pipe]") {
    PipePool pool{pipe_bytes};
    PipePool::Lease lease = pool.lease();
    REQUIRE(lease);
    CHECK(lease.capacity() == pipe_bytes);
    CHECK(lease.bytes() == 0);
    for (const int fd : {lease.read_end(), lease.write_end()}) {
        CHECK(eplb::test::is_nonblocking(fd));
        CHECK(eplb::test::is_close_on_exec(fd));
    }
    CHECK(::fcntl(lease.write_end(), F_GETPIPE_SZ) == pipe_bytes);
    REQUIRE(::write(lease.write_end(), "x", 1) == 1);
    CHECK(holds_bytes(lease.read_end()));
}

TEST_CASE("pipe pool: no lease holds nothing", "[proxy][pipe]") {
    PipePool::Lease none;
    CHECK_FALSE(none);
    CHECK(none.bytes() == 0);
    CHECK(none.capacity() == 0);
    none.give_back();
    CHECK_FALSE(none);
}

TEST_CASE("pipe pool: a clean pipe is used again", "[proxy][pipe]") {
    PipePool pool{pipe_bytes};
    PipePool::Lease first = pool.lease();
    const int number = first.read_end();
    first.filled(100);
    first.drained(100);
    CHECK(pool.stats().lent == 1);
    first.give_back();
    CHECK_FALSE(first);
    CHECK(pool.stats().lent == 0);
    CHECK(pool.stats().open == 1);

    const PipePool::Lease second = pool.lease();
    CHECK(second.read_end() == number);
    CHECK(pool.stats().created == 1);
    CHECK(pool.stats().discarded == 0);
}

TEST_CASE("pipe pool: a pipe that comes back with bytes in it is closed, not lent again",
          "[proxy][pipe]") {
    const DescriptorCheck descriptors;
    PipePool pool{pipe_bytes};
    {
        PipePool::Lease dirty = pool.lease();
        REQUIRE(::write(dirty.write_end(), "secret", 6) == 6);
        dirty.filled(6);
        dirty.drained(5);
    }
    CHECK(pool.stats().discarded == 1);
    CHECK(pool.stats().open == 0);
    CHECK(pool.stats().lent == 0);
    CHECK(descriptors.leaked() == 0);

    const PipePool::Lease next = pool.lease();
    REQUIRE(next);
    CHECK_FALSE(holds_bytes(next.read_end()));
    CHECK(pool.stats().created == 2);
}

TEST_CASE("pipe pool: a lease moves, and gives back once", "[proxy][pipe]") {
    PipePool pool{pipe_bytes};
    PipePool::Lease a = pool.lease();
    PipePool::Lease b = pool.lease();
    CHECK(pool.stats().lent == 2);
    const int number = a.read_end();

    PipePool::Lease c{std::move(a)};
    CHECK_FALSE(a);
    CHECK(c.read_end() == number);
    CHECK(pool.stats().lent == 2);

    b = std::move(c);  // gives its own back
    CHECK(b.read_end() == number);
    CHECK_FALSE(c);
    CHECK(pool.stats().lent == 1);
    CHECK(pool.stats().open == 2);

    PipePool::Lease& alias = b;
    b = std::move(alias);
    CHECK(b.read_end() == number);
    b.give_back();
    b.give_back();
    CHECK(pool.stats().lent == 0);
}

TEST_CASE("pipe pool: trim closes the idle pipes and leaves those that are lent", "[proxy][pipe]") {
    const DescriptorCheck descriptors;
    PipePool pool{pipe_bytes};
    PipePool::Lease kept = pool.lease();
    pool.lease().give_back();
    static_cast<void>(pool.lease());
    CHECK(pool.stats().open == 2);
    pool.trim();
    CHECK(pool.stats().open == 1);
    CHECK(pool.stats().lent == 1);
    CHECK(descriptors.leaked() == 2);
    REQUIRE(::write(kept.write_end(), "x", 1) == 1);
    kept.give_back();
    pool.trim();
    CHECK(pool.stats().open == 0);
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("pipe pool: keeps a limited number of idle pipes", "[proxy][pipe]") {
    PipePool pool{pipe_bytes};
    std::vector<PipePool::Lease> leases;
    for (int i = 0; i < 200; ++i) {
        leases.push_back(pool.lease());
        REQUIRE(leases.back());
    }
    CHECK(pool.stats().open == 200);
    leases.clear();
    CHECK(pool.stats().lent == 0);
    CHECK(pool.stats().open > 0);
    CHECK(pool.stats().open < 200);
    CHECK(pool.stats().discarded == 0);
}

TEST_CASE("pipe pool: closes everything when it dies", "[proxy][pipe]") {
    const DescriptorCheck descriptors;
    DescriptorBudget budget{100};
    {
        PipePool pool{pipe_bytes, &budget};
        static_cast<void>(pool.lease());
        CHECK(descriptors.leaked() == 2);
    }
    CHECK(descriptors.leaked() == 0);
    for (int i = 0; i < 50; ++i) REQUIRE(budget.take_session());  // the pipe was returned
}

TEST_CASE("pipe pool: the budget is respected, and idle pipes count", "[proxy][pipe]") {
    DescriptorBudget budget{20};
    PipePool pool{pipe_bytes, &budget};
    std::vector<PipePool::Lease> leases;
    for (;;) {
        PipePool::Lease lease = pool.lease();
        if (!lease) break;
        leases.push_back(std::move(lease));
    }
    CHECK(leases.size() == 5);
    CHECK(pool.stats().unavailable == 1);
    leases.clear();
    CHECK(pool.stats().open == 5);
    int sessions = 0;
    for (; budget.has_room_for_session(); ++sessions) REQUIRE(budget.take_session());
    CHECK(sessions == 5);
    pool.trim();
    for (; budget.has_room_for_session(); ++sessions) REQUIRE(budget.take_session());
    CHECK(sessions == 10);
    CHECK_FALSE(pool.lease());
}

TEST_CASE("pipe pool: a dirty pipe goes back to the budget too", "[proxy][pipe]") {
    DescriptorBudget budget{8};
    PipePool pool{pipe_bytes, &budget};
    for (int i = 0; i < 20; ++i) {
        PipePool::Lease lease = pool.lease();
        REQUIRE(lease);
        lease.filled(1);
    }
    CHECK(pool.stats().discarded == 20);
}

TEST_CASE("pipe pool: without descriptors there is none, and the budget is not charged",
          "[proxy][pipe]") {
    const DescriptorCheck descriptors;
    DescriptorBudget budget{100};
    PipePool pool{pipe_bytes, &budget};
    bool none_at_all = false;
    bool none_with_one = false;
    {
        const eplb::test::DescriptorShortage shortage;
        none_at_all = !pool.lease();
    }
    {
        const eplb::test::DescriptorShortage shortage{1};
        none_with_one = !pool.lease();
    }
    CHECK(none_at_all);
    CHECK(none_with_one);
    CHECK(pool.stats().unavailable == 2);
    CHECK(pool.stats().open == 0);
    CHECK(descriptors.leaked() == 0);
    for (int i = 0; i < 50; ++i) REQUIRE(budget.take_session());
}

TEST_CASE("pipe pool: a pipe that is too small for the borrower is not lent to it",
          "[proxy][pipe]") {
    const DescriptorCheck descriptors;
    PipePool pool{4096};  // stands in for what the kernel gives beyond the user's quota
    CHECK_FALSE(pool.lease(PipePool::useful_bytes));
    CHECK(pool.stats().unavailable == 1);
    CHECK(pool.stats().degraded == 1);
    CHECK(pool.stats().lent == 0);
    CHECK(descriptors.leaked() == static_cast<long>(2 * pool.stats().open));

    PipePool::Lease small = pool.lease();
    REQUIRE(small);
    CHECK(small.capacity() == 4096);
    small.give_back();
    CHECK_FALSE(pool.lease(4097));
    CHECK(pool.lease(0));
}

TEST_CASE("pipe pool: beyond the user's quota pipes are degraded, and still work",
          "[proxy][pipe]") {
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([]() -> int {
        if (!eplb::test::become_unprivileged()) return cannot_try;
        PipePool pool{1024 * 1024};
        std::vector<PipePool::Lease> leases;
        while (pool.stats().degraded == 0) {
            leases.push_back(pool.lease());
            if (!leases.back()) return 1;
            if (leases.size() > 2000) return cannot_try;  // no quota on this machine
        }
        PipePool::Lease& small = leases.back();
        if (small.capacity() == 0 || small.capacity() >= PipePool::useful_bytes) return 2;
        if (::write(small.write_end(), "x", 1) != 1) return 3;
        if (!holds_bytes(small.read_end())) return 4;
        if (pool.lease(PipePool::useful_bytes)) return 5;
        if (pool.stats().unavailable != 1) return 6;
        const std::size_t lent = leases.size();
        if (pool.stats().lent != lent) return 7;
        leases.clear();
        if (pool.stats().lent != 0) return 8;
        // The quota is free again, and so are useful pipes.
        pool.trim();
        for (int i = 0; i < 1000; ++i) {
            if (pool.lease(PipePool::useful_bytes)) return fine;
        }
        return 9;
    });
    if (code == cannot_try) EPLB_SKIP("this user has no quota of pipe buffers");
    CHECK(code == fine);
}
