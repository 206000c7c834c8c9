#include "app/log_format.hpp"

#include "support/catch.hpp"

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

using eplb::LogLevel;
using eplb::app::LogFormatter;
using eplb::app::LogRecord;
using eplb::app::message_text;
using eplb::control::LogFormat;
using namespace std::chrono_literals;

namespace {

const std::chrono::system_clock::time_point noon{1'795'953'600s + 42ms};  // 2026-11-29

std::string line(const LogRecord& record, bool colours = false) {
    LogFormatter formatter;
    std::string text;
    formatter.append_line(text, record, colours);
    return text;
}

}  // namespace

TEST_CASE("log_format: a line of text has the time in UTC, the level, and what was told", "[log]") {
    CHECK(line({noon, LogLevel::info, LogFormat::text, "ready"}) ==
          "2026-11-29T12:00:00.042Z info    ready\n");
    CHECK(line({noon, LogLevel::warning, LogFormat::text, "x"}) ==
          "2026-11-29T12:00:00.042Z warning x\n");
}

TEST_CASE("log_format: the date follows the clock, also back", "[log]") {
    LogFormatter formatter;
    std::string text;
    for (const auto time : {noon, noon + 958ms, noon - 24h, noon})
        formatter.append_line(text, {time, LogLevel::error, LogFormat::text, "x"}, false);
    CHECK(text ==
          "2026-11-29T12:00:00.042Z error   x\n2026-11-29T12:00:01.000Z error   x\n"
          "2026-11-28T12:00:00.042Z error   x\n2026-11-29T12:00:00.042Z error   x\n");
}

TEST_CASE("log_format: on a terminal the level has a colour, and JSON has none", "[log]") {
    CHECK(line({noon, LogLevel::error, LogFormat::text, "x"}, true) ==
          "2026-11-29T12:00:00.042Z \033[31m\033[1merror  \033[m x\n");
    const std::string json = line({noon, LogLevel::error, LogFormat::json, "\"a\":1"}, true);
    CHECK(json == "{\"ts\":\"2026-11-29T12:00:00.042Z\",\"level\":\"error\",\"a\":1}\n");
}

TEST_CASE("log_format: a message is JSON whatever bytes it has", "[log]") {
    const std::string text = message_text(LogFormat::json, "\"quoted\"\n\xff");
    const auto json = nlohmann::json::parse('{' + text + '}');
    CHECK(json["event"] == "message");
    CHECK(json["message"] == "\"quoted\"\n\xef\xbf\xbd");
    CHECK(message_text(LogFormat::text, "as it is") == "as it is");
}
