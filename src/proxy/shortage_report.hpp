#pragma once

#include "eplb/clock.hpp"
#include "eplb/proxy.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace eplb {

/// Tells the observer that clients have to wait. A shortage is felt at every attempt to accept; an
/// operator needs to hear of it once in a while. Any thread.
class ShortageReport {
public:
    explicit ShortageReport(ProxyObserver& observer) noexcept : observer_{observer} {}

    /// One message a second at most; it counts those that were left out.
    void report(int error, std::size_t active_sessions, TimePoint now) noexcept;

private:
    ProxyObserver& observer_;
    std::atomic<std::uint64_t> shortages_{0};  // since the last message
    std::atomic<Duration::rep> next_{Duration::min().count()};
};

}  // namespace eplb
