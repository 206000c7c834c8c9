#pragma once

#include "control/settings.hpp"
#include "eplb/proxy.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace eplb::app {

/// Writes what the proxy tells to standard error or a file, one line an event, from a thread of its
/// own: a reader of the log who is slow, or dead, never holds the reactor up. What does not fit into
/// the queue is dropped, oldest first, and counted. Any thread may tell.
class Log final : public ProxyObserver {
public:
    /// Throws std::runtime_error when the file cannot be opened.
    explicit Log(const control::LogValues& values);
    ~Log() override;

    /// Goes on with other values, and opens the file anew; what was told before is written as it
    /// would have been. Throws std::runtime_error, and goes on as before, when it cannot be opened.
    void reconfigure(const control::LogValues& values);

    void on_event(LogLevel level, std::string_view message) noexcept override;
    void on_session_start(const SessionStart& start) noexcept override;
    void on_session_end(const SessionSummary& summary) noexcept override;

    /// Waits for the queue to be written, a second at most, and says whether it was.
    [[nodiscard]] bool finish() noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// What a session looks like in the log; without time and level.
[[nodiscard]] std::string to_text(const SessionSummary& summary);
[[nodiscard]] std::string to_json(const SessionSummary& summary);

}  // namespace eplb::app
