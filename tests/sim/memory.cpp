// The operators new of the simulation: those of the standard library, but that they can be made to fail.

#include "sim/memory.hpp"

#include "sim/random.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace sim {
namespace {

struct State {
    std::uint32_t once_in = 0;
    std::uint64_t sequence = 0;
    std::uint64_t refused = 0;
    bool at_stake = false;
};

// Before main() as well: constants alone.
constinit State state;

}  // namespace

ScarceMemory::ScarceMemory(std::uint32_t once_in, std::uint64_t seed) noexcept {
    state.once_in = once_in;
    state.sequence = seed;
}

ScarceMemory::~ScarceMemory() { state.once_in = 0; }

std::uint64_t ScarceMemory::refused() noexcept { return state.refused; }

BalancersTurn::BalancersTurn() noexcept : before_{state.at_stake} { state.at_stake = true; }
BalancersTurn::~BalancersTurn() { state.at_stake = before_; }

SimulationsTurn::SimulationsTurn() noexcept : before_{state.at_stake} { state.at_stake = false; }
SimulationsTurn::~SimulationsTurn() { state.at_stake = before_; }

bool memory_is_refused() noexcept {
    if (!state.at_stake || state.once_in == 0) return false;
    if (Random::mix(++state.sequence) % state.once_in != 0) return false;
    ++state.refused;
    return true;
}

namespace {

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (memory_is_refused()) return nullptr;
    if (size == 0) size = 1;
    if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* const memory = allocate(size, alignment);
    if (memory == nullptr) throw std::bad_alloc{};
    return memory;
}

constexpr std::size_t plain = alignof(std::max_align_t);

}  // namespace
}  // namespace sim

// NOLINTBEGIN(misc-new-delete-overloads)
void* operator new(std::size_t size) { return sim::allocate_or_throw(size, sim::plain); }
void* operator new[](std::size_t size) { return sim::allocate_or_throw(size, sim::plain); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return sim::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return sim::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return sim::allocate(size, sim::plain);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return sim::allocate(size, sim::plain);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
// NOLINTEND(misc-new-delete-overloads)
