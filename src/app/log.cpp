#include "app/log.hpp"

#include "base/escape.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <utility>

namespace eplb::app {
namespace {

using control::LogFormat;
using control::LogValues;
using control::SessionLog;
using nlohmann::ordered_json;

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

// What the kernel refused of our own socket is not told as if the backend had said it.
std::string why_it_failed(const FailedAttempt& attempt) {
    const std::string word = error_word(attempt.error);
    return attempt.option.empty() ? word : fmt::format("{}:{}", attempt.option, word);
}

std::string backend_label(const Backend& backend) {
    if (backend.name().empty()) return backend.address().to_string();
    return fmt::format("{}/{}", backend.name(), backend.address().to_string());
}

void describe_backend(ordered_json& json, const Backend& backend) {
    json["backend"] = backend.address().to_string();
    if (!backend.name().empty()) json["backend_name"] = backend.name();
}

// A line tells the first ones, and how many more there were: thousands of backends may fail one client.
constexpr std::size_t most_told = 16;

std::span<const FailedAttempt> told_of(const SessionSummary& summary) noexcept {
    const std::span<const FailedAttempt> all{summary.failed_attempts};
    return all.first(std::min(all.size(), most_told));
}

std::size_t untold_of(const SessionSummary& summary) noexcept {
    return summary.failed_attempts.size() - told_of(summary).size();
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
    for (const FailedAttempt& attempt : told_of(summary)) {
        fmt::format_to(out, "{}{}({})", std::exchange(separator, ","),
                       backend_label(*attempt.backend), why_it_failed(attempt));
    }
    if (const std::size_t more = untold_of(summary); more > 0)
        fmt::format_to(out, " tried_more={}", more);
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
        for (const FailedAttempt& attempt : told_of(summary)) {
            ordered_json entry;
            describe_backend(entry, *attempt.backend);
            entry["error"] = why_it_failed(attempt);
            tried.push_back(std::move(entry));
        }
        if (const std::size_t more = untold_of(summary); more > 0) json["tried_more"] = more;
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

Log::Log(const LogValues& values) : writer_{values.file}, file_{values.file} { take(values); }

void Log::take(const LogValues& values) noexcept {
    level_.store(values.level, std::memory_order_relaxed);
    format_.store(values.format, std::memory_order_relaxed);
    sessions_.store(values.sessions, std::memory_order_relaxed);
    writer_.set_format(values.format);
}

control::NewLog Log::prepare(const LogValues& values) {
    const std::shared_ptr<LogWriter::Opening> opening = writer_.open(values.file);
    control::NewLog result;
    const LogWriter::State state = writer_.state_of(*opening);
    if (state != LogWriter::State::open) {
        result.problem = writer_.problem_of(*opening);
        const std::lock_guard lock{mutex_};
        if (state == LogWriter::State::failed && values.file != file_)
            throw std::runtime_error(result.problem);
        result.problem += state == LogWriter::State::failed ? "; the old log goes on"
                                                            : "; the old log goes on until then";
    }
    const bool is_open = state != LogWriter::State::failed;
    result.go_over = [this, values, opening, is_open] {
        if (is_open) writer_.go_over_to(opening);
        take(values);
        const std::lock_guard lock{mutex_};
        file_ = values.file;
    };
    return result;
}

void Log::reopen() noexcept { writer_.reopen(); }

void Log::on_event(LogLevel level, std::string_view message) noexcept {
    if (!wants(level)) return;
    const LogFormat format = format_.load(std::memory_order_relaxed);
    if (format == LogFormat::text) return writer_.write(level, format, message);
    write(level, format, [&] { return message_text(format, message); });
}

void Log::on_session_start(const SessionStart& start) noexcept {
    const SessionLog sessions = sessions_.load(std::memory_order_relaxed);
    const LogLevel level =
        sessions == SessionLog::open_and_close ? LogLevel::info : LogLevel::debug;
    if (sessions == SessionLog::off || !wants(level)) return;
    const LogFormat format = format_.load(std::memory_order_relaxed);
    write(level, format, [&] {
        return message_text(
            format,
            fmt::format(
                "session starts: client={} service={} listener={} backend={} connect_ms={:.1f}",
                start.client.to_string(), start.service, start.listener.to_string(),
                backend_label(start.backend), milliseconds(start.connect_time)));
    });
}

void Log::on_session_end(const SessionSummary& summary) noexcept {
    if (sessions_.load(std::memory_order_relaxed) == SessionLog::off || !wants(LogLevel::info))
        return;
    const LogFormat format = format_.load(std::memory_order_relaxed);
    write(LogLevel::info, format, [&] {
        if (format == LogFormat::text) return to_text(summary);
        std::string json = to_json(summary);
        json.pop_back();
        return json.erase(0,
                          1);  // without the braces: time and level are written by the log's thread
    });
}

// No memory for a line: the line is lost, and counted, and the process goes on.
template <class Make>
void Log::write(LogLevel level, LogFormat format, Make make) noexcept {
    try {
        writer_.write(level, format, make());
    } catch (...) {
        writer_.count_lost();
    }
}

}  // namespace eplb::app
