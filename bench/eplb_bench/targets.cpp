#include "targets.hpp"

#include "report.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>

namespace eplb::bench {
namespace {

/// What a family of peers has to need, as a multiple of what eplb needs.
struct Rival {
    Family family;
    std::string_view name;
    double factor;
};

struct Comparison {
    std::string_view figure;
    std::vector<std::string> cells;
    Metric metric;
    bool more_is_better;
    std::vector<Rival> rivals;
};

std::vector<Rival> rivals(double haproxy, double nginx, double naive_go) {
    return {{Family::haproxy, "haproxy", haproxy},
            {Family::nginx, "nginx", nginx},
            {Family::naive_go, "naive-go", naive_go}};
}

std::vector<Comparison> comparisons() {
    return {
        {"CPU per ping-pong",
         {"pingpong/64B/64c", "pingpong/1KiB/64c", "pingpong/16KiB/64c", "pingpong/64B/1000c",
          "pingpong/1KiB/1000c"},
         Metric::cpu_per_op,
         false,
         rivals(1.2, 1, 1)},
        {"CPU per connection", {"connect/64c"}, Metric::cpu_per_op, false, rivals(1, 1, 1)},
        {"CPU per GB",
         {"bulk/push/1s", "bulk/push/16s", "bulk/pull/1s", "bulk/pull/16s"},
         Metric::cpu_per_gb,
         false,
         rivals(2, 2, 1)},
        {"Gb/s", {"bulk/push/16s", "bulk/pull/16s"}, Metric::gigabits, true, rivals(1, 1, 1)},
        {"p99 latency",
         {"pingpong/64B/64c", "pingpong/64B/1000c"},
         Metric::p99,
         false,
         rivals(1, 1, 1)},
        {"latency, so what is added", {"latency/64B/1c"}, Metric::p50, false, rivals(1, 1, 1)},
    };
}

class Checker {
public:
    Checker(const Results& results, const std::vector<Design>& designs)
        : results_{results}, designs_{designs} {}

    [[nodiscard]] Verdict compare(const Comparison& comparison, const std::string& cell) const {
        Verdict verdict{std::string{comparison.figure}, cell, {}, {}, {}};
        const CellResult* const result = results_.find(cell);
        const Series* const ours = result == nullptr ? nullptr : result->find(results_.reference);
        std::string missing;  // peers that were not measured here
        bool all = true;
        bool any = false;
        for (const Rival& rival : comparison.rivals) {
            verdict.target +=
                fmt::format("{}{} {} {:g}×", verdict.target.empty() ? "" : ", ", rival.name,
                            comparison.more_is_better ? "≤" : "≥", rival.factor);
            const auto ratio =
                ours == nullptr ? std::nullopt : best(*result, *ours, comparison, rival.family);
            if (!ratio) {
                missing += fmt::format(", {} -", rival.name);
                continue;
            }
            any = true;
            all = all &&
                  (comparison.more_is_better ? *ratio <= rival.factor : *ratio >= rival.factor);
            verdict.measured += fmt::format("{}{} {:.2f}×", verdict.measured.empty() ? "" : ", ",
                                            rival.name, *ratio);
        }
        if (!any) return verdict;
        verdict.met = all;
        verdict.measured += missing;
        return verdict;
    }

    // `value` has to be at most `limit`.
    [[nodiscard]] Verdict limit(std::string figure, const std::string& cell, Metric metric,
                                double limit, std::string_view unit) const {
        Verdict verdict{std::move(figure), cell, fmt::format("≤ {:g} {}", limit, unit), {}, {}};
        const Series* const ours = find(cell);
        const auto spread = ours == nullptr ? std::nullopt : spread_of(*ours, metric);
        if (!spread) return verdict;
        verdict.measured = fmt::format("{:.0f} {}", spread->median, unit);
        verdict.met = spread->median <= limit;
        return verdict;
    }

    [[nodiscard]] Verdict all_answered(const std::string& cell) const {
        Verdict verdict{"sessions within the limit", cell, "all answered", {}, {}};
        const Series* const ours = find(cell);
        const auto answered = ours == nullptr ? std::nullopt : spread_of(*ours, Metric::answered);
        if (!answered) return verdict;
        const std::size_t asked = results_.find(cell)->cell.work.idle;
        verdict.measured = fmt::format("{:.0f} of {}", answered->least, asked);
        verdict.met = answered->least >= static_cast<double>(asked);
        return verdict;
    }

    [[nodiscard]] Verdict flat(const std::string& few, const std::string& many,
                               double limit) const {
        Verdict verdict{"cost per event as idle ones grow",
                        fmt::format("{} / {}", many, few),
                        fmt::format("≤ {:g}×", limit),
                        {},
                        {}};
        const Series* const before = find(few);
        const Series* const after = find(many);
        if (before == nullptr || after == nullptr) return verdict;
        const auto ratio = ratio_of(*after, *before, Metric::cpu_per_op);
        if (!ratio) return verdict;
        verdict.measured = fmt::format("{:.2f}×", ratio->median);
        verdict.met = ratio->median <= limit;
        return verdict;
    }

private:
    [[nodiscard]] const Series* find(const std::string& cell) const {
        const CellResult* const result = results_.find(cell);
        return result == nullptr ? nullptr : result->find(results_.reference);
    }

    // Of the variants of a family, the one that is hardest to beat.
    [[nodiscard]] std::optional<double> best(const CellResult& cell, const Series& ours,
                                             const Comparison& comparison, Family family) const {
        std::optional<double> result;
        for (const Design& design : designs_) {
            const Series* const series = design.family == family ? cell.find(design.name) : nullptr;
            const auto ratio =
                series == nullptr ? std::nullopt : ratio_of(*series, ours, comparison.metric);
            if (!ratio) continue;
            if (!result) result = ratio->median;
            result = comparison.more_is_better ? std::max(*result, ratio->median)
                                               : std::min(*result, ratio->median);
        }
        return result;
    }

    const Results& results_;
    const std::vector<Design>& designs_;
};

}  // namespace

std::vector<Verdict> check_targets(const Results& results, const std::vector<Design>& designs) {
    const Checker checker{results, designs};
    std::vector<Verdict> verdicts;
    for (const Comparison& comparison : comparisons()) {
        for (const std::string& cell : comparison.cells)
            verdicts.push_back(checker.compare(comparison, cell));
    }
    // The more sessions, the less the pages that are only partly used weigh.
    std::string most = "idle/9000c";
    for (const char* cell : {"idle/5000c", "idle/1000c"}) {
        if (results.find(most) == nullptr) most = cell;
    }
    verdicts.push_back(
        checker.limit("memory per idle session", most, Metric::per_connection, 512, "B"));
    verdicts.push_back(checker.all_answered("idle/limit"));
    verdicts.push_back(checker.flat("idle-cost/100i", "idle-cost/9000i", 1.1));
    for (const char* cell : {"fairness/push", "fairness/pull"})
        verdicts.push_back(checker.limit("p99 beside bulk", cell, Metric::p99, 5000, "µs"));
    return verdicts;
}

std::string table_of(const std::vector<Verdict>& verdicts) {
    std::vector<std::vector<std::string>> rows{{"target", "cell", "wanted", "measured", "verdict"}};
    for (const Verdict& verdict : verdicts) {
        rows.push_back({verdict.figure, verdict.cell, verdict.target,
                        verdict.measured.empty() ? "-" : verdict.measured,
                        !verdict.met   ? "not measured"
                        : *verdict.met ? "met"
                                       : "NOT MET"});
    }
    return align(rows, rows.front().size());
}

}  // namespace eplb::bench
