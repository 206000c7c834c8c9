#include "results.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace eplb::bench {
namespace {

std::optional<Spread> summarize(std::vector<double> values) {
    if (values.empty()) return std::nullopt;
    std::ranges::sort(values);
    const std::size_t middle = values.size() / 2;
    const double median =
        values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return Spread{median, values.front(), values.back()};
}

template <class Combine>
std::optional<Spread> by_pairs(const Series& a, const Series& b, Metric metric, Combine combine) {
    std::vector<double> values;
    for (std::size_t round = 0; round < std::min(a.rounds.size(), b.rounds.size()); ++round) {
        if (!a.rounds[round] || !b.rounds[round]) continue;
        const auto& x = (*a.rounds[round])[metric];
        const auto& y = (*b.rounds[round])[metric];
        if (!x || !y || !a.rounds[round]->ok() || !b.rounds[round]->ok()) continue;
        if (const std::optional<double> value = combine(*x, *y)) values.push_back(*value);
    }
    return summarize(std::move(values));
}

}  // namespace

bool Series::failed() const {
    bool measured = false;
    for (const auto& sample : rounds) {
        if (sample && sample->ok()) return false;
        measured = measured || sample;
    }
    return measured;
}

std::string Series::failure() const {
    for (const auto& sample : rounds) {
        if (!sample || sample->ok()) continue;
        if (sample->remark.empty()) return sample->failure;
        return fmt::format("{} (\"{}\")", sample->failure, sample->remark);
    }
    return {};
}

std::string Series::first_errors() const {
    for (const auto& sample : rounds) {
        if (!sample || sample->errors.empty()) continue;
        std::string text;
        for (const auto& [reason, count] : sample->errors)
            text += fmt::format("{}{} {}", text.empty() ? "" : "; ", count, reason);
        return sample->remark.empty() ? text : fmt::format("{} (\"{}\")", text, sample->remark);
    }
    return {};
}

const Series* CellResult::find(const std::string& design) const {
    const auto found = std::ranges::find(series, design, &Series::design);
    return found == series.end() ? nullptr : &*found;
}

const CellResult* Results::find(const std::string& cell) const {
    const auto found =
        std::ranges::find(cells, cell, [](const CellResult& r) { return r.cell.name; });
    return found == cells.end() ? nullptr : &*found;
}

std::optional<Spread> spread_of(const Series& series, Metric metric) {
    std::vector<double> values;
    for (const auto& sample : series.rounds) {
        if (sample && (*sample)[metric]) values.push_back(*(*sample)[metric]);
    }
    return summarize(std::move(values));
}

std::optional<Spread> ratio_of(const Series& series, const Series& reference, Metric metric) {
    return by_pairs(series, reference, metric, [](double x, double y) -> std::optional<double> {
        if (y <= 0) return std::nullopt;
        return x / y;
    });
}

std::optional<Spread> difference_of(const Series& series, const Series& reference, Metric metric) {
    return by_pairs(series, reference, metric,
                    [](double x, double y) { return std::optional<double>{x - y}; });
}

}  // namespace eplb::bench
