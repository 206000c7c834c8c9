#include "app/log.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <thread>
#include <utility>

namespace eplb::app {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t queue_lines = 8192;
constexpr auto longest_finish = std::chrono::seconds{1};

// The JSON object is opened and closed here, so that time and level are written by the log's
// thread.
constexpr const char* json_pattern = R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";
constexpr const char* text_pattern = "%Y-%m-%dT%H:%M:%S.%eZ %^%-7l%$ %v";

spdlog::level::level_enum to_spdlog(LogLevel level) noexcept {
    switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    }
    return spdlog::level::info;
}

double milliseconds(Duration duration) {
    return std::chrono::duration<double, std::milli>{duration}.count();
}

// One decimal: 0.4.
double rounded_milliseconds(Duration duration) {
    return std::floor(milliseconds(duration) * 10) / 10;
}

std::string error_word(int error) {
    switch (error) {
    case ECONNREFUSED: return "refused";
    case ETIMEDOUT: return "timeout";
    case ECONNRESET:
    case ECONNABORTED: return "reset";
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN: return "unreachable";
    default: break;
    }
    const char* const name = strerrorname_np(error);
    return name != nullptr ? name : fmt::format("errno {}", error);
}

std::string backend_label(const Backend& backend) {
    if (backend.name().empty()) return backend.address().to_string();
    return fmt::format("{}/{}", backend.name(), backend.address().to_string());
}

void describe_backend(ordered_json& json, const Backend& backend) {
    json["backend"] = backend.address().to_string();
    if (!backend.name().empty()) json["backend_name"] = backend.name();
}

// Without the braces, for json_pattern. Bytes that are not UTF-8 (a Unix socket's name may have
// any) are replaced instead of thrown at.
std::string members_of(const ordered_json& json) {
    const std::string text = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    return text.substr(1, text.size() - 2);
}

std::size_t attempts_of(const SessionSummary& summary) noexcept {
    return summary.failed_attempts.size() + (summary.backend != nullptr ? 1 : 0);
}

}  // namespace

std::string to_text(const SessionSummary& summary) {
    fmt::memory_buffer line;
    const auto out = fmt::appender(line);
    fmt::format_to(out, "session client={} listener={} backend={} attempts={} up={} down={}",
                   summary.client.to_string(), summary.listener.to_string(),
                   summary.backend != nullptr ? backend_label(*summary.backend) : "-",
                   attempts_of(summary), summary.bytes_up, summary.bytes_down);
    fmt::format_to(out, " connect_ms={:.1f} ms={:.1f} end={}", milliseconds(summary.connect_time),
                   milliseconds(summary.total_time), eplb::to_string(summary.reason));
    if (summary.error != 0) fmt::format_to(out, " error=\"{}\"", std::strerror(summary.error));
    const char* separator = " tried=";
    for (const FailedAttempt& attempt : summary.failed_attempts) {
        fmt::format_to(out, "{}{}({})", std::exchange(separator, ","),
                       backend_label(*attempt.backend), error_word(attempt.error));
    }
    return fmt::to_string(line);
}

std::string to_json(const SessionSummary& summary) {
    ordered_json json;
    json["event"] = "session";
    json["client"] = summary.client.to_string();
    json["listener"] = summary.listener.to_string();
    if (summary.backend != nullptr) describe_backend(json, *summary.backend);
    json["attempts"] = attempts_of(summary);
    if (!summary.failed_attempts.empty()) {
        ordered_json& tried = json["tried"] = ordered_json::array();
        for (const FailedAttempt& attempt : summary.failed_attempts) {
            ordered_json entry;
            describe_backend(entry, *attempt.backend);
            entry["error"] = error_word(attempt.error);
            tried.push_back(std::move(entry));
        }
    }
    json["up"] = summary.bytes_up;
    json["down"] = summary.bytes_down;
    json["connect_ms"] = rounded_milliseconds(summary.connect_time);
    json["ms"] = rounded_milliseconds(summary.total_time);
    json["end"] = eplb::to_string(summary.reason);
    if (summary.error != 0) json["error"] = std::strerror(summary.error);
    return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

class Log::Impl {
public:
    Impl(LogFormat format, LogLevel level)
        : format_{format},
          threads_{std::make_shared<spdlog::details::thread_pool>(queue_lines, 1)},
          logger_{std::make_shared<spdlog::async_logger>(
              "eplb", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(), threads_,
              spdlog::async_overflow_policy::overrun_oldest)} {
        logger_->set_pattern(format == LogFormat::json ? json_pattern : text_pattern,
                             spdlog::pattern_time_type::utc);
        logger_->set_level(to_spdlog(level));
    }

    [[nodiscard]] bool wants(LogLevel level) const noexcept {
        return logger_->should_log(to_spdlog(level));
    }

    void message(LogLevel level, std::string_view text) {
        if (!wants(level)) return;
        if (format_ == LogFormat::text) return line(level, text);
        ordered_json json;
        json["event"] = "message";
        json["message"] = text;
        line(level, members_of(json));
    }

    void session(const SessionSummary& summary) {
        if (!wants(LogLevel::info)) return;
        if (format_ == LogFormat::text) return line(LogLevel::info, to_text(summary));
        const std::string json = to_json(summary);
        line(LogLevel::info, std::string_view{json}.substr(1, json.size() - 2));
    }

    // No memory for a line: the line is lost, and counted, and the process goes on.
    template <class Write>
    void write_or_count(Write write) noexcept {
        try {
            write();
        } catch (...) {
            lost_.fetch_add(1);
        }
    }

    void line(LogLevel level, std::string_view text) {
        report_dropped();
        logger_->log(to_spdlog(level), text);
    }

    [[nodiscard]] bool finish() noexcept {
        try {
            report_dropped();
            // Destroying the pool writes what is queued, and that takes as long as whoever reads
            // the log.
            std::promise<void> written;
            std::future<void> done = written.get_future();
            std::thread{[threads = std::move(threads_), logger = std::move(logger_),
                         written = std::move(written)]() mutable {
                threads.reset();
                logger.reset();  // the queue referred to it
                written.set_value();
            }}.detach();
            return done.wait_for(longest_finish) == std::future_status::ready;
        } catch (...) {
            return false;
        }
    }

private:
    void report_dropped() {
        if (const std::size_t count = newly_dropped()) {
            message(
                LogLevel::warning,
                fmt::format(
                    "{} log lines dropped: nobody reads standard error fast enough, or no memory",
                    count));
        }
    }

    // Once a second at most; so the report's own line finds nothing new to report.
    [[nodiscard]] std::size_t newly_dropped() {
        const std::lock_guard lock{reporting_};
        const std::size_t dropped = threads_->overrun_counter() + lost_;
        const auto now = std::chrono::steady_clock::now();
        if (dropped == reported_ || now < next_report_) return 0;
        next_report_ = now + std::chrono::seconds{1};
        return dropped - std::exchange(reported_, dropped);
    }

    LogFormat format_;
    std::shared_ptr<spdlog::details::thread_pool> threads_;
    std::shared_ptr<spdlog::async_logger> logger_;
    std::atomic<std::size_t> lost_{0};
    std::mutex reporting_;
    std::size_t reported_ = 0;  // these two are guarded by it
    std::chrono::steady_clock::time_point next_report_{};
};

Log::Log(LogFormat format, LogLevel level) : impl_{std::make_unique<Impl>(format, level)} {}
Log::~Log() = default;

void Log::on_event(LogLevel level, std::string_view message) noexcept {
    impl_->write_or_count([&] { impl_->message(level, message); });
}

void Log::on_session_start(const SessionStart& start) noexcept {
    if (!impl_->wants(LogLevel::debug)) return;
    impl_->write_or_count([&] {
        impl_->message(
            LogLevel::debug,
            fmt::format("session starts: client={} listener={} backend={} connect_ms={:.1f}",
                        start.client.to_string(), start.listener.to_string(),
                        backend_label(start.backend), milliseconds(start.connect_time)));
    });
}

void Log::on_session_end(const SessionSummary& summary) noexcept {
    impl_->write_or_count([&] { impl_->session(summary); });
}

bool Log::finish() noexcept { return impl_->finish(); }

}  // namespace eplb::app
