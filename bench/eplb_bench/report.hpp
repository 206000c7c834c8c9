#pragma once

#include "results.hpp"

#include <string>
#include <vector>

namespace eplb::bench {

/// Rows of text in columns that are as wide as they need to be: the first `left` to the left, the
/// others to the right. Counts characters, not bytes.
[[nodiscard]] std::string align(const std::vector<std::vector<std::string>>& rows,
                                std::size_t left = 1);

/// The table of a cell: a row per design with medians, the least and greatest of the rounds, and
/// the ratio to `reference`; below it, what failed and why.
[[nodiscard]] std::string table_of(const CellResult& result, const std::string& reference);

}  // namespace eplb::bench
