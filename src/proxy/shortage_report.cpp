#include "proxy/shortage_report.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>

namespace eplb {
namespace {

constexpr Duration message_interval = std::chrono::seconds{1};

}  // namespace

void ShortageReport::report(int error, std::size_t active_sessions, TimePoint now) noexcept {
    report("clients have to wait", error, active_sessions, now);
}

void ShortageReport::report_reset(int error, std::size_t active_sessions, TimePoint now) noexcept {
    report("clients have to be reset", error, active_sessions, now);
}

void ShortageReport::report(std::string_view clients, int error, std::size_t active_sessions,
                            TimePoint now) noexcept {
    shortages_.fetch_add(1);
    const Duration::rep moment = now.time_since_epoch().count();
    Duration::rep next = next_.load();
    if (moment < next) return;
    // Of several threads, one writes the message.
    if (!next_.compare_exchange_strong(next, moment + message_interval.count())) return;
    const std::uint64_t count = shortages_.exchange(0);
    // Not on the heap, which may be what is short.
    std::array<char, 256> text;
    const auto written = fmt::format_to_n(
        text.data(), text.size(),
        "{}: {}; {} sessions active, {} time{} since the last such message", clients,
        std::strerror(error), active_sessions, count, count == 1 ? "" : "s");
    observer_.on_event(
        LogLevel::warning,
        {text.data(), std::min(static_cast<std::size_t>(written.size), text.size())});
}

}  // namespace eplb
