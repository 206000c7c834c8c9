// A program of its own: it replaces operator new, which would take the check that every delete fits
// its new away from all other tests.

#include "eplb/balancer.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace {

std::atomic<std::size_t> allocations{0};

void* allocate(std::size_t size) {
    ++allocations;
    void* const memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) throw std::bad_alloc{};
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
    return operator new(size, tag);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

using eplb::Backend;
using eplb::Balance;

TEST_CASE("balancer: no policy allocates for a pick", "[proxy][balancer]") {
    std::size_t before = allocations;
    const auto counted = std::make_unique<int>(1);
    REQUIRE(allocations == before + 1);  // they are counted at all

    for (const Balance policy :
         {Balance::round_robin, Balance::leastconn, Balance::random, Balance::first,
          Balance::source_hash, Balance::consistent, Balance::least_time, Balance::peak_ewma}) {
        for (const std::size_t count : {1U, 2U, 16U, 300U}) {
            INFO("policy " << static_cast<int>(policy) << " backends " << count);
            eplb::test::BackendSet backends{std::vector<std::uint32_t>(count, 2)};
            const auto balancer = eplb::make_balancer(policy, 1);
            balancer->prepare(backends.all);
            bool found = true;
            before = allocations;
            for (std::size_t left = count; left > 0; left = left * 2 / 3) {
                backends.candidates.clear();
                for (std::size_t i = 0; i < left; ++i) backends.candidates.add(backends[i]);
                for (std::uint32_t i = 0; i < 100; ++i) {
                    const eplb::TimePoint now{std::chrono::seconds{i}};
                    const Backend* const picked = balancer->pick(
                        backends.candidates, {.client = eplb::test::client(i), .now = now});
                    found = found && picked != nullptr;
                    if (picked != nullptr)
                        backends[picked->index()].latency().observe(
                            std::chrono::milliseconds{i % 7}, now);
                }
            }
            const std::size_t after = allocations;
            CHECK(after == before);
            CHECK(found);
        }
    }
}
