#pragma once

#include <cstddef>

// For allocators: tells AddressSanitizer, where the build has it, which of their memory is in use.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EPLB_HAS_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define EPLB_HAS_ASAN 1
#endif

#ifdef EPLB_HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace eplb {

/// Nobody may touch it until unpoison().
inline void poison([[maybe_unused]] const void* begin,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef EPLB_HAS_ASAN
    __asan_poison_memory_region(begin, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* begin,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef EPLB_HAS_ASAN
    __asan_unpoison_memory_region(begin, bytes);
#endif
}

}  // namespace eplb
