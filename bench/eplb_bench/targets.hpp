#pragma once

#include "design.hpp"
#include "results.hpp"

#include <optional>
#include <string>
#include <vector>

namespace eplb::bench {

/// One thing that eplb wants to reach, in one cell.
struct Verdict {
    std::string figure;
    std::string cell;
    std::string target;
    std::string measured;
    std::optional<bool> met;  ///< nothing: it was not measured
};

/// Compares the reference design of `results` with the peers (HAProxy, in each case its better
/// variant; nginx; naive Go) and with fixed limits. Ratios are medians of pairs from one round.
[[nodiscard]] std::vector<Verdict> check_targets(const Results& results,
                                                 const std::vector<Design>& designs);

/// The verdicts as a table.
[[nodiscard]] std::string table_of(const std::vector<Verdict>& verdicts);

}  // namespace eplb::bench
