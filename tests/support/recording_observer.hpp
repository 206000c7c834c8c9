#pragma once

#include "eplb/proxy.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb::test {

/// Keeps copies of everything a proxy tells.
class RecordingObserver final : public ProxyObserver {
public:
    struct Event {
        LogLevel level;
        std::string message;
    };
    struct Start {
        Address client;
        Address listener;
        Address backend;
    };
    struct End {
        Address client;
        Address listener;
        std::string backend;  ///< its address, or empty
        std::vector<std::pair<Address, int>> failed_attempts;
        std::uint64_t bytes_up = 0;
        std::uint64_t bytes_down = 0;
        Duration connect_time{0};
        Duration total_time{0};
        EndReason reason = EndReason::drain;
        int error = 0;
    };

    void on_event(LogLevel level, std::string_view message) noexcept override {
        events.push_back({level, std::string{message}});
    }
    void on_session_start(const SessionStart& start) noexcept override {
        starts.push_back({start.client, start.listener, start.backend.address()});
    }
    void on_session_end(const SessionSummary& summary) noexcept override {
        End end{summary.client,
                summary.listener,
                summary.backend == nullptr ? std::string{} : summary.backend->address().to_string(),
                {},
                summary.bytes_up,
                summary.bytes_down,
                summary.connect_time,
                summary.total_time,
                summary.reason,
                summary.error};
        for (const FailedAttempt& attempt : summary.failed_attempts) {
            end.failed_attempts.emplace_back(attempt.backend->address(), attempt.error);
        }
        ends.push_back(std::move(end));
        if (on_end) on_end(summary);
    }

    std::vector<Event> events;
    std::vector<Start> starts;
    std::vector<End> ends;
    std::function<void(const SessionSummary&)> on_end;
};

}  // namespace eplb::test
