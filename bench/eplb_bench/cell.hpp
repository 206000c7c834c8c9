#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eplb::bench {

/// What the load process does, all of it at once.
struct Work {
    std::size_t idle = 0;  ///< connections that are opened, checked with one byte, and then silent
    std::size_t ping = 0;  ///< connections that send a message whenever the last one came back
    std::size_t message_bytes = 64;
    std::size_t push = 0;  ///< streams to the backend, as fast as they go
    std::size_t pull = 0;  ///< streams from the backend
    std::size_t churn =
        0;  ///< connect, one byte there and back, close; and again, so many at a time
};

enum class Kind : std::uint8_t { idle, pingpong, bulk, connect, idle_cost, fairness, latency };

/// One line of a ladder: a work of a certain size, done through every design.
struct Cell {
    std::string name;
    Kind kind = Kind::pingpong;
    Work work;
    bool quick = false;  ///< belongs to the short selection
    double stretch = 1;  ///< windows are so much longer, where a round trip takes long
    /// Neighbours with the same group are measured in the same rounds, so that they can be compared
    /// with each other. Empty: on its own.
    std::string group{};
};

/// All cells, in the order in which they are measured. `descriptors`: the limit per process.
[[nodiscard]] std::vector<Cell> all_cells(std::size_t descriptors);

/// Whether `text` is or matches one of `patterns`, which are names or globs such as "pingpong/*".
[[nodiscard]] bool matches(const std::string& text, const std::vector<std::string>& patterns);

}  // namespace eplb::bench
