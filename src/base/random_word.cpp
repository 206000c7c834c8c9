#include "base/random_word.hpp"

#include <atomic>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

namespace eplb {
namespace {

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
    std::uint64_t word = mix_bits(count.fetch_add(0x9e3779b97f4a7c15U, std::memory_order_relaxed));
    word = mix_bits(word ^ nanoseconds(CLOCK_REALTIME));
    word = mix_bits(word ^ nanoseconds(CLOCK_MONOTONIC));
    word = mix_bits(word ^ static_cast<std::uint64_t>(::gettid()) << 32 ^
                    static_cast<std::uint64_t>(::getpid()));
    return mix_bits(word ^
                    reinterpret_cast<std::uintptr_t>(&word));  // which the kernel has shuffled
}

}  // namespace eplb
