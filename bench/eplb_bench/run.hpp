#pragma once

#include "cell.hpp"
#include "design.hpp"
#include "metric.hpp"

#include <filesystem>
#include <string>

namespace eplb::bench {

struct RunOptions {
    double warm_up_seconds = 0.3;
    double seconds = 1;
    bool pin = true;
    std::filesystem::path directory;  ///< for configurations and what programs write
};

/// Measures one design in one cell, once, with fresh processes, and stops them all. Whatever goes
/// wrong is in the sample. Takes a bounded time.
[[nodiscard]] Sample measure(const Design& design, const Cell& cell, const RunOptions& options);

/// Which processors a run uses: "load and backends on 0, proxy on 1".
[[nodiscard]] std::string describe_pinning(bool pin);

}  // namespace eplb::bench
