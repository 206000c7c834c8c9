#include "base/random_word.hpp"

#include <atomic>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

namespace eplb {
namespace {

// splitmix64's: each bit of the input changes half of those of the output.
std::uint64_t mixed(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

std::uint64_t nanoseconds(clockid_t clock) noexcept {
    timespec now{};
    static_cast<void>(::clock_gettime(clock, &now));
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t random_word() noexcept {
    std::uint64_t word = 0;
    // So few bytes come at once, or not at all, getrandom(2).
    if (::getrandom(&word, sizeof word, GRND_NONBLOCK) == static_cast<ssize_t>(sizeof word))
        return word;
    return makeshift_random_word();
}

std::uint64_t makeshift_random_word() noexcept {
    static std::atomic<std::uint64_t> count{0};
    std::uint64_t word = mixed(count.fetch_add(0x9e3779b97f4a7c15U, std::memory_order_relaxed));
    word = mixed(word ^ nanoseconds(CLOCK_REALTIME));
    word = mixed(word ^ nanoseconds(CLOCK_MONOTONIC));
    word = mixed(word ^ static_cast<std::uint64_t>(::gettid()) << 32 ^
                 static_cast<std::uint64_t>(::getpid()));
    return mixed(word ^ reinterpret_cast<std::uintptr_t>(&word));  // which the kernel has shuffled
}

}  // namespace eplb
