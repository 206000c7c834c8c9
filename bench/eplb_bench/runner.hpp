#pragma once

#include "design.hpp"
#include "results.hpp"
#include "run.hpp"

#include <functional>
#include <string>
#include <vector>

namespace eplb::bench {

struct Plan {
    std::size_t rounds = 5;
    std::string reference;  ///< the design that ratios relate to
};

/// Measures every design in every cell. Within a cell, or a group of cells, each round runs every design once, one after
/// the other, starting with another design each time, so that drift of the machine hits all alike.
/// A design that failed in the first two rounds of a cell is not tried again there. After an
/// interrupt it returns what there is. `on_cell` is called when a cell is complete.
[[nodiscard]] Results run_all(
    const std::vector<Cell>& cells, const std::vector<Design>& designs, const Plan& plan,
    const RunOptions& options,
    const std::function<void(const Results&, const CellResult&)>& on_cell);

/// The design that ratios relate to: `wanted` if it is not empty, else eplb-auto, else the first
/// proxy.
[[nodiscard]] std::string choose_reference(const std::vector<Design>& designs,
                                           const std::string& wanted);

}  // namespace eplb::bench
