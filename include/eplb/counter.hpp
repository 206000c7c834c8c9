// base: numbers that one thread counts and others read.
#pragma once

#include <atomic>
#include <cstdint>

namespace eplb {

/// A number that one thread changes and any thread may read: costs no more than a plain one.
class Counter {
public:
    /// By the one thread only: a load and a store, no locked instruction.
    void add(std::uint64_t count = 1) noexcept { set(value() + count); }
    /// As add(); no more than there is.
    void subtract(std::uint64_t count = 1) noexcept { set(value() - count); }
    /// Any thread. Without order between it and anything else.
    [[nodiscard]] std::uint64_t value() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }

    std::atomic<std::uint64_t> value_{0};
};

}  // namespace eplb
