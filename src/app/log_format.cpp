#include "app/log_format.hpp"

#include <fmt/format.h>
#include <iterator>
#include <nlohmann/json.hpp>

namespace eplb::app {
namespace {

using control::LogFormat;
using nlohmann::ordered_json;

std::string_view name_of(LogLevel level) noexcept {
    switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warning: return "warning";
    case LogLevel::error: return "error";
    }
    return "info";
}

std::string_view colour_of(LogLevel level) noexcept {
    switch (level) {
    case LogLevel::debug: return "\033[36m";
    case LogLevel::info: return "\033[32m";
    case LogLevel::warning: return "\033[33m\033[1m";
    case LogLevel::error: return "\033[31m\033[1m";
    }
    return "";
}

constexpr std::string_view no_colour = "\033[m";

}  // namespace

std::string message_text(LogFormat format, std::string_view message) {
    if (format == LogFormat::text) return std::string{message};
    ordered_json json;
    json["event"] = "message";
    json["message"] = message;
    const std::string text = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    return text.substr(1, text.size() - 2);
}

void LogFormatter::append_time(std::string& out, std::chrono::system_clock::time_point time) {
    using namespace std::chrono;
    const auto second = floor<seconds>(time);
    const std::time_t count = system_clock::to_time_t(second);
    if (count != second_) {
        std::tm date{};
        ::gmtime_r(&count, &date);
        date_ = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.tm_year + 1900,
                            date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec);
        second_ = count;
    }
    fmt::format_to(std::back_inserter(out), "{}.{:03}Z", date_,
                   duration_cast<milliseconds>(time - second).count());
}

void LogFormatter::append_line(std::string& out, const LogRecord& record, bool colours) {
    const std::string_view level = name_of(record.level);
    if (record.format == LogFormat::json) {
        out += R"({"ts":")";
        append_time(out, record.time);
        out += R"(","level":")";
        out += level;
        out += "\",";
        out += record.text;
        out += "}\n";
        return;
    }
    append_time(out, record.time);
    out += ' ';
    if (colours) out += colour_of(record.level);
    fmt::format_to(std::back_inserter(out), "{:<7}", level);
    if (colours) out += no_colour;
    out += ' ';
    out += record.text;
    out += '\n';
}

}  // namespace eplb::app
