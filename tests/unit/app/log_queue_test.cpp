#include "app/log_queue.hpp"

#include "support/catch.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

using eplb::LogLevel;
using eplb::app::LogBlock;
using eplb::app::LogQueue;
using eplb::app::LogRecord;
using eplb::control::LogFormat;

namespace {

LogRecord record(std::string_view text) {
    return {std::chrono::system_clock::time_point{}, LogLevel::info, LogFormat::text, text};
}

std::vector<std::string> drained(LogQueue& queue) {
    std::vector<std::string> texts;
    while (!queue.empty()) {
        LogBlock block = queue.take();
        block.for_each([&](const LogRecord& each) { texts.emplace_back(each.text); });
        queue.give_back(std::move(block));
    }
    return texts;
}

}  // namespace

TEST_CASE("log_queue: what was told comes out as it was told, and in order", "[log]") {
    LogQueue queue;
    const auto time = std::chrono::system_clock::now();
    CHECK(queue.push({time, LogLevel::warning, LogFormat::json, "one"}) == 0);
    CHECK(queue.push(record("")) == 0);
    CHECK(queue.push(record(std::string(100'000, 'x'))) == 0);

    const LogBlock block = queue.take();
    std::vector<LogRecord> records;
    block.for_each([&](const LogRecord& each) { records.push_back(each); });
    REQUIRE(records.size() == 2);
    CHECK(records[0].time == time);
    CHECK(records[0].level == LogLevel::warning);
    CHECK(records[0].format == LogFormat::json);
    CHECK(records[0].text == "one");
    CHECK(records[1].text.empty());
    CHECK(drained(queue) == std::vector{std::string(100'000, 'x')});
    CHECK(queue.bytes() == 0);
}

TEST_CASE("log_queue: when it is full the oldest go, are counted, and the newest stay", "[log]") {
    constexpr std::size_t most = 8 * LogQueue::block_bytes;
    LogQueue queue{most};
    std::size_t dropped = 0;
    constexpr std::size_t told = 10'000;
    for (std::size_t i = 0; i < told; ++i) {
        dropped += queue.push(record(std::to_string(i) + std::string(80, '.')));
        REQUIRE(queue.bytes() <= most);
    }
    const std::vector<std::string> left = drained(queue);
    CHECK(dropped > 0);
    CHECK(left.size() + dropped == told);
    CHECK(left.front().starts_with(std::to_string(dropped) + '.'));
    CHECK(left.back().starts_with(std::to_string(told - 1) + '.'));
}

TEST_CASE("log_queue: a line that is larger than all of it is the one that goes", "[log]") {
    LogQueue queue{1000};
    CHECK(queue.push(record("stays")) == 0);
    CHECK(queue.push(record(std::string(1001, 'x'))) == 1);
    CHECK(drained(queue) == std::vector<std::string>{"stays"});
}

TEST_CASE("log_queue: what is told behind a cut is in later blocks", "[log]") {
    LogQueue queue;
    CHECK(queue.cut() == 0);
    CHECK(queue.next() == 0);  // nothing is before it
    queue.push(record("a"));
    const std::uint64_t cut = queue.cut();
    queue.push(record("b"));
    CHECK(queue.next() < cut);
    LogBlock block = queue.take();
    CHECK(block.lines() == 1);
    CHECK(queue.next() >= cut);
    CHECK(drained(queue) == std::vector<std::string>{"b"});
    CHECK(queue.next() > cut);
}
