#include "cell.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fnmatch.h>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace eplb::bench {
namespace {

std::string bytes(std::size_t count) {
    return count >= 1024 ? fmt::format("{}KiB", count / 1024) : fmt::format("{}B", count);
}

Cell idle(std::string name, std::size_t connections) {
    return {std::move(name), Kind::idle, {.idle = connections}};
}

Cell pingpong(std::size_t message, std::size_t connections) {
    Cell cell{fmt::format("pingpong/{}/{}c", bytes(message), connections),
              Kind::pingpong,
              {.ping = connections, .message_bytes = message}};
    if (connections >= 5000) cell.stretch = 2;
    return cell;
}

Cell idle_cost(std::size_t idle) {
    Cell cell{fmt::format("idle-cost/{}i", idle), Kind::idle_cost, {.idle = idle, .ping = 64}};
    cell.group = "idle-cost";
    return cell;
}

Cell bulk(bool push, std::size_t streams) {
    return {fmt::format("bulk/{}/{}s", push ? "push" : "pull", streams),
            Kind::bulk,
            {.push = push ? streams : 0, .pull = push ? 0 : streams}};
}

constexpr std::array<std::string_view, 10> quick_cells{
    "latency/64B/1c", "pingpong/64B/64c", "pingpong/64B/1000c", "pingpong/16KiB/64c",
    "bulk/push/16s",  "bulk/pull/1s",     "connect/64c",        "fairness/pull",
    "idle/1000c",     "idle-cost/5000i"};

}  // namespace

std::vector<Cell> all_cells(std::size_t descriptors) {
    using Sizes = std::initializer_list<std::size_t>;
    std::vector<Cell> cells;
    cells.push_back({"latency/64B/1c", Kind::latency, {.ping = 1}});
    cells.push_back(pingpong(64, 1));
    for (const std::size_t connections : Sizes{10, 64, 100, 1000, 5000, 9000})
        cells.push_back(pingpong(64, connections));
    for (const std::size_t message : Sizes{1024, 4096, 16384})
        cells.push_back(pingpong(message, 64));
    cells.push_back(pingpong(1024, 1000));
    for (const bool push : {true, false}) {
        for (const std::size_t streams : Sizes{1, 16}) cells.push_back(bulk(push, streams));
    }
    cells.push_back({"connect/64c", Kind::connect, {.churn = 64}});
    cells.push_back({"fairness/push", Kind::fairness, {.ping = 20, .push = 4}});
    cells.push_back({"fairness/pull", Kind::fairness, {.ping = 20, .pull = 4}});
    for (const std::size_t connections : Sizes{100, 1000, 5000, 9000})
        cells.push_back(idle_cost(connections));
    for (const std::size_t connections : Sizes{10, 100, 1000, 5000, 9000})
        cells.push_back(idle(fmt::format("idle/{}c", connections), connections));
    // What a proxy should hold at least with two descriptors per session: a few are for itself.
    if (descriptors > 256) cells.push_back(idle("idle/limit", descriptors / 2 - 64));
    for (Cell& cell : cells)
        cell.quick = std::ranges::find(quick_cells, cell.name) != quick_cells.end();
    return cells;
}

bool matches(const std::string& text, const std::vector<std::string>& patterns) {
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
        return ::fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
    });
}

}  // namespace eplb::bench
