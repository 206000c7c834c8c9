#pragma once

#include "cell.hpp"
#include "metric.hpp"

#include <optional>
#include <string>
#include <vector>

namespace eplb::bench {

/// The samples of one design in one cell, by round; nothing where the round was not reached.
struct Series {
    std::string design;
    std::vector<std::optional<Sample>> rounds;

    /// Whether it was measured and never worked.
    [[nodiscard]] bool failed() const;
    /// Why the first run that failed did, with what the program said; empty if none did.
    [[nodiscard]] std::string failure() const;
    /// What went wrong in the first run with errors, and how often; empty if nothing did.
    [[nodiscard]] std::string first_errors() const;
};

struct CellResult {
    Cell cell;
    std::vector<Series> series;  ///< in the order of the designs

    [[nodiscard]] const Series* find(const std::string& design) const;
};

struct Spread {
    double median = 0;
    double least = 0;
    double greatest = 0;
};

/// Of a metric over the rounds that worked; nothing if there is none. (A failed run in a cell of
/// idle connections still has its memory and counts.)
[[nodiscard]] std::optional<Spread> spread_of(const Series& series, Metric metric);

/// Of `series` divided by `reference`, pair by pair in the same round: the machine's speed drifts,
/// but hardly within a round.
[[nodiscard]] std::optional<Spread> ratio_of(const Series& series, const Series& reference,
                                             Metric metric);

/// The same of differences.
[[nodiscard]] std::optional<Spread> difference_of(const Series& series, const Series& reference,
                                                  Metric metric);

/// Everything that was measured, and between what.
struct Results {
    std::vector<CellResult> cells;
    std::vector<std::string> designs;
    std::string reference;  ///< the design that ratios relate to; empty: there is none
    bool interrupted = false;

    [[nodiscard]] const CellResult* find(const std::string& cell) const;
};

}  // namespace eplb::bench
