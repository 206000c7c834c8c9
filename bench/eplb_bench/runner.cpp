#include "runner.hpp"

#include "interrupt.hpp"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <span>
#include <unistd.h>

namespace eplb::bench {
namespace {

/// One line on standard error that is overwritten; nothing when that is not a terminal.
class Progress {
public:
    explicit Progress(std::size_t total) : total_{total}, shown_{::isatty(STDERR_FILENO) == 1} {}

    void show(const std::string& what) {
        ++done_;
        if (!shown_) return;
        const double passed = seconds_since_start();
        const double share = static_cast<double>(done_ - 1) / static_cast<double>(total_);
        const auto left = share > 0 ? static_cast<long>(passed / share - passed) : 0L;
        fmt::print(stderr, "\r\033[K[{}/{}] {}  about {}:{:02} left", done_, total_, what,
                   left / 60, left % 60);
        std::fflush(stderr);
    }
    void clear() const {
        if (shown_) fmt::print(stderr, "\r\033[K");
    }

private:
    [[nodiscard]] double seconds_since_start() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    }

    std::size_t total_;
    std::size_t done_ = 0;
    bool shown_;
    TimePoint began_ = std::chrono::steady_clock::now();
};

bool is_hopeless(const Series& series) {
    return std::ranges::count_if(series.rounds, [](const auto& s) { return s && !s->ok(); }) >= 2 &&
           series.failed();
}

/// Measures cells and designs, and remembers how far it came.
class Runner {
public:
    Runner(std::size_t cells, const std::vector<Design>& designs, const Plan& plan,
           const RunOptions& options)
        : designs_{designs},
          plan_{plan},
          options_{options},
          progress_{cells * plan.rounds * designs.size()} {}

    std::vector<CellResult> measure_group(std::span<const Cell> cells) {
        std::vector<CellResult> results;
        for (const Cell& cell : cells) {
            CellResult& result = results.emplace_back(CellResult{cell, {}});
            for (const Design& design : designs_) {
                result.series.push_back(
                    {design.name, std::vector<std::optional<Sample>>(plan_.rounds)});
            }
        }
        for (std::size_t round = 0; round < plan_.rounds; ++round) {
            for (std::size_t i = 0; i < designs_.size(); ++i) {
                for (CellResult& result : results)
                    measure_one(result, (i + round) % designs_.size(), round);
            }
        }
        progress_.clear();
        return results;
    }

private:
    void measure_one(CellResult& result, std::size_t design, std::size_t round) {
        if (interrupted()) return;
        Series& series = result.series[design];
        progress_.show(fmt::format("{} round {}/{} {}", result.cell.name, round + 1, plan_.rounds,
                                   series.design));
        if (is_hopeless(series)) return;
        Sample sample = measure(designs_[design], result.cell, options_);
        if (!interrupted()) series.rounds[round] = std::move(sample);
    }

    const std::vector<Design>& designs_;
    const Plan& plan_;
    const RunOptions& options_;
    Progress progress_;
};

}  // namespace

Results run_all(const std::vector<Cell>& cells, const std::vector<Design>& designs,
                const Plan& plan, const RunOptions& options,
                const std::function<void(const Results&, const CellResult&)>& on_cell) {
    Runner runner{cells.size(), designs, plan, options};
    Results results;
    for (const Design& design : designs) results.designs.push_back(design.name);
    results.reference = plan.reference;
    const std::span<const Cell> all{cells};
    for (std::size_t first = 0, end = 0; first < all.size() && !interrupted(); first = end) {
        end = first + 1;
        while (end < all.size() && !all[end].group.empty() && all[end].group == all[first].group)
            ++end;
        for (CellResult& result : runner.measure_group(all.subspan(first, end - first))) {
            results.cells.push_back(std::move(result));
            on_cell(results, results.cells.back());
        }
    }
    results.interrupted = interrupted();
    return results;
}

std::string choose_reference(const std::vector<Design>& designs, const std::string& wanted) {
    if (!wanted.empty()) return wanted;
    const auto automatic = std::ranges::find(designs, "eplb-auto", &Design::name);
    if (automatic != designs.end()) return automatic->name;
    for (const Design& design : designs) {
        if (design.family != Family::direct) return design.name;
    }
    return {};
}

}  // namespace eplb::bench
