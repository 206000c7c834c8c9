#include "proxy/shortage_report.hpp"

#include <cstring>
#include <fmt/format.h>

namespace eplb {
namespace {

constexpr Duration message_interval = std::chrono::seconds{1};

}  // namespace

void ShortageReport::report(int error, std::size_t active_sessions, TimePoint now) noexcept {
    shortages_.fetch_add(1);
    const Duration::rep moment = now.time_since_epoch().count();
    Duration::rep next = next_.load();
    if (moment < next) return;
    // Of several threads, one writes the message.
    if (!next_.compare_exchange_strong(next, moment + message_interval.count())) return;
    const std::uint64_t count = shortages_.exchange(0);
    observer_.on_event(
        LogLevel::warning,
        fmt::format(
            "clients have to wait: {}; {} sessions active, {} time{} since the last such message",
            std::strerror(error), active_sessions, count, count == 1 ? "" : "s"));
}

}  // namespace eplb
