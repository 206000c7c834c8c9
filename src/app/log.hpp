#pragma once

#include "app/log_writer.hpp"
#include "config/settings.hpp"
#include "control/reloader.hpp"
#include "eplb/proxy.hpp"

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

namespace eplb::app {

/// Writes what the proxy tells to standard error or a file, one line an event, through a LogWriter: it
/// never holds a reactor up. Any thread may tell.
class Log final : public ProxyObserver {
public:
    /// Throws std::runtime_error when the file cannot be opened.
    explicit Log(const control::LogValues& values);

    /// Why nothing is written yet, or nothing.
    [[nodiscard]] const std::string& problem() const noexcept { return writer_.problem(); }

    /// Opens the file of other values, or the same one anew, and waits for that, two seconds at most: not
    /// for a reactor's thread. Going over is for one, and cheap. Throws std::runtime_error when another
    /// file cannot be opened; if it is the same one, or takes longer, the log of before goes on, with a
    /// problem.
    [[nodiscard]] control::NewLog prepare(const control::LogValues& values);

    /// Opens the file anew, which may have been moved away; what fails is told. Waits for nothing.
    void reopen() noexcept;

    void on_event(LogLevel level, std::string_view message) noexcept override;
    void on_session_start(const SessionStart& start) noexcept override;
    void on_session_end(const SessionSummary& summary) noexcept override;

    /// LogWriter::finish().
    [[nodiscard]] bool finish() noexcept { return writer_.finish(); }

private:
    [[nodiscard]] bool wants(LogLevel level) const noexcept {
        return level >= level_.load(std::memory_order_relaxed);
    }
    void take(const control::LogValues& values) noexcept;
    template <class Make>
    void write(LogLevel level, control::LogFormat format, Make make) noexcept;

    LogWriter writer_;
    std::atomic<LogLevel> level_{LogLevel::info};
    std::atomic<control::LogFormat> format_{control::LogFormat::text};
    std::atomic<control::SessionLog> sessions_{control::SessionLog::close};
    std::mutex mutex_;
    std::string file_;  // guarded by it
};

/// What a session looks like in the log; without time and level.
[[nodiscard]] std::string to_text(const SessionSummary& summary);
[[nodiscard]] std::string to_json(const SessionSummary& summary);

}  // namespace eplb::app
