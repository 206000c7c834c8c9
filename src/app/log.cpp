#include "app/log.hpp"

#include "base/escape.hpp"
#include "eplb/fd.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace eplb::app {
namespace {

using control::LogFormat;
using control::LogValues;
using control::SessionLog;
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

// spdlog's own file sinks leave their descriptor to children.
class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
public:
    explicit FileSink(const std::string& file)
        : file_{::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)} {
        if (!file_.valid()) throw fmt::system_error(errno, "cannot write the log file {}", file);
    }

protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        std::string_view rest{line.data(), line.size()};
        while (!rest.empty()) {
            const ssize_t written = ::write(file_.get(), rest.data(), rest.size());
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) throw fmt::system_error(errno, "cannot write the log file");
            rest.remove_prefix(static_cast<std::size_t>(written));
        }
    }
    void flush_() override {}  // nothing is kept

private:
    Fd file_;
};

spdlog::sink_ptr open_sink(const std::string& file) {
    if (file == "-") return std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    return std::make_shared<FileSink>(file);
}

std::shared_ptr<spdlog::async_logger> open_logger(
    const LogValues& values, const std::shared_ptr<spdlog::details::thread_pool>& threads) {
    auto logger = std::make_shared<spdlog::async_logger>(
        "eplb", open_sink(values.file), threads, spdlog::async_overflow_policy::overrun_oldest);
    logger->set_pattern(values.format == LogFormat::json ? json_pattern : text_pattern,
                        spdlog::pattern_time_type::utc);
    logger->set_level(to_spdlog(values.level));
    return logger;
}

std::size_t attempts_of(const SessionSummary& summary) noexcept {
    return summary.failed_attempts.size() + (summary.backend != nullptr ? 1 : 0);
}

}  // namespace

std::string to_text(const SessionSummary& summary) {
    fmt::memory_buffer line;
    const auto out = fmt::appender(line);
    fmt::format_to(out,
                   "session client={} service={} listener={} backend={} attempts={} up={} down={}",
                   summary.client.to_string(), summary.service, summary.listener.to_string(),
                   summary.backend != nullptr ? backend_label(*summary.backend) : "-",
                   attempts_of(summary), summary.bytes_up, summary.bytes_down);
    fmt::format_to(out, " connect_ms={:.1f} ms={:.1f} end={}", milliseconds(summary.connect_time),
                   milliseconds(summary.total_time), eplb::to_string(summary.reason));
    if (summary.error != 0) fmt::format_to(out, " error=\"{}\"", std::strerror(summary.error));
    if (!summary.problem.empty()) fmt::format_to(out, " problem=\"{}\"", summary.problem);
    if (summary.proxy != nullptr) fmt::format_to(out, " proxy={}", summary.proxy->to_string());
    if (!summary.unique_id.empty()) fmt::format_to(out, " id={}", escaped(summary.unique_id));
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
    json["service"] = summary.service;
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
    if (!summary.problem.empty()) json["problem"] = summary.problem;
    if (summary.proxy != nullptr) json["proxy"] = summary.proxy->to_string();
    if (!summary.unique_id.empty()) json["id"] = escaped(summary.unique_id);
    return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

class Log::Impl {
public:
    explicit Impl(const LogValues& values)
        : threads_{std::make_shared<spdlog::details::thread_pool>(queue_lines, 1)} {
        reconfigure(values);
    }

    void reconfigure(const LogValues& values) {
        const auto target = std::make_shared<const Target>(
            Target{open_logger(values, threads_), values.format, values.sessions});
        const std::lock_guard lock{choosing_};
        if (target_) replaced_.push_back(std::move(target_));
        target_ = target;
        forget_written();
    }

    void message(LogLevel level, std::string_view text) {
        report_dropped();
        write(*target(), level, text);
    }

    void session_start(const SessionStart& start) {
        const auto target = this->target();
        const LogLevel level =
            target->sessions == SessionLog::open_and_close ? LogLevel::info : LogLevel::debug;
        if (target->sessions == SessionLog::off || !target->wants(level)) return;
        report_dropped();
        write(*target, level,
              fmt::format(
                  "session starts: client={} service={} listener={} backend={} connect_ms={:.1f}",
                  start.client.to_string(), start.service, start.listener.to_string(),
                  backend_label(start.backend), milliseconds(start.connect_time)));
    }

    void session_end(const SessionSummary& summary) {
        const auto target = this->target();
        if (target->sessions == SessionLog::off || !target->wants(LogLevel::info)) return;
        report_dropped();
        if (target->format == LogFormat::text) {
            target->logger->info(to_text(summary));
        } else {
            const std::string json = to_json(summary);
            target->logger->info(std::string_view{json}.substr(1, json.size() - 2));
        }
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

    [[nodiscard]] bool finish() noexcept {
        try {
            report_dropped();
            // Destroying the pool writes what is queued, and that takes as long as whoever reads
            // the log.
            std::promise<void> written;
            std::future<void> done = written.get_future();
            std::thread{[threads = std::move(threads_), target = std::move(target_),
                         written = std::move(written)]() mutable {
                threads.reset();
                target.reset();  // the queue referred to its logger
                written.set_value();
            }}.detach();
            return done.wait_for(longest_finish) == std::future_status::ready;
        } catch (...) {
            return false;
        }
    }

private:
    // Never changed, so that whoever is writing a line while it is replaced need not care.
    struct Target {
        std::shared_ptr<spdlog::async_logger> logger;
        LogFormat format;
        SessionLog sessions;

        [[nodiscard]] bool wants(LogLevel level) const {
            return logger->should_log(to_spdlog(level));
        }
    };

    [[nodiscard]] std::shared_ptr<const Target> target() {
        const std::lock_guard lock{choosing_};
        if (!replaced_.empty()) forget_written();
        return target_;
    }

    // A logger that was replaced goes when its last line is written, and on one of our threads: its
    // references are counted within libspdlog as well, which ThreadSanitizer does not see, and so
    // would take its end there for a race.
    void forget_written() {
        std::erase_if(replaced_, [](const std::shared_ptr<const Target>& old) {
            return old.use_count() == 1 && old->logger.use_count() == 1;
        });
    }

    static void write(const Target& target, LogLevel level, std::string_view text) {
        if (!target.wants(level)) return;
        if (target.format == LogFormat::text) return target.logger->log(to_spdlog(level), text);
        ordered_json json;
        json["event"] = "message";
        json["message"] = text;
        target.logger->log(to_spdlog(level), members_of(json));
    }

    void report_dropped() {
        if (const std::size_t count = newly_dropped()) {
            write(*target(), LogLevel::warning,
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

    std::shared_ptr<spdlog::details::thread_pool> threads_;
    std::mutex choosing_;
    std::shared_ptr<const Target> target_;                 // guarded by it
    std::vector<std::shared_ptr<const Target>> replaced_;  // this one, too
    std::atomic<std::size_t> lost_{0};
    std::mutex reporting_;
    std::size_t reported_ = 0;  // these two are guarded by it
    std::chrono::steady_clock::time_point next_report_{};
};

Log::Log(const LogValues& values) : impl_{std::make_unique<Impl>(values)} {}
Log::~Log() = default;

void Log::reconfigure(const LogValues& values) { impl_->reconfigure(values); }

void Log::on_event(LogLevel level, std::string_view message) noexcept {
    impl_->write_or_count([&] { impl_->message(level, message); });
}

void Log::on_session_start(const SessionStart& start) noexcept {
    impl_->write_or_count([&] { impl_->session_start(start); });
}

void Log::on_session_end(const SessionSummary& summary) noexcept {
    impl_->write_or_count([&] { impl_->session_end(summary); });
}

bool Log::finish() noexcept { return impl_->finish(); }

}  // namespace eplb::app
