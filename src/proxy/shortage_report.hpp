#pragma once

#include "eplb/clock.hpp"
#include "eplb/proxy.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace eplb {

/// Tells the observer that clients have to wait, or worse. A shortage is felt at every attempt to accept; an
/// operator needs to hear of it once in a while. Any thread.
class ShortageReport {
public:
    explicit ShortageReport(ProxyObserver& observer) noexcept : observer_{observer} {}

    /// Clients have to wait. One message a second at most; it counts those that were left out. Does
    /// not allocate.
    void report(int error, std::size_t active_sessions, TimePoint now) noexcept;
    /// The same, where it cost one of them its connection.
    void report_reset(int error, std::size_t active_sessions, TimePoint now) noexcept;

private:
    void report(std::string_view clients, int error, std::size_t active_sessions,
                TimePoint now) noexcept;

    ProxyObserver& observer_;
    std::atomic<std::uint64_t> shortages_{0};  // since the last message
    std::atomic<Duration::rep> next_{Duration::min().count()};
};

}  // namespace eplb
