#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace eplb::bench {
namespace {

// Bytes that do not continue a UTF-8 sequence.
std::size_t width_of(const std::string& text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
}

std::string number(double value, int precision) {
    // Small latencies deserve a digit more than large ones.
    if (precision == 0 && value != std::floor(value) && std::abs(value) < 100) precision = 1;
    return fmt::format("{:.{}f}", value, precision);
}

std::vector<std::string> header_of(const Cell& cell, const std::string& reference) {
    std::vector<std::string> header{cell.name};
    for (const Column& column : columns_of(cell.kind)) {
        header.emplace_back(info_of(column.metric).title);
        if (column.spread) header.emplace_back("min–max");
    }
    if (cell.kind == Kind::latency) header.emplace_back("added µs");
    if (!reference.empty()) {
        for (const Metric metric : ratios_of(cell.kind))
            header.push_back(fmt::format("×{}", info_of(metric).title));
    }
    return header;
}

std::vector<std::string> row_of(const CellResult& result, const Series& series,
                                const Series* reference) {
    std::vector<std::string> row{series.design};
    for (const Column& column : columns_of(result.cell.kind)) {
        const auto spread = spread_of(series, column.metric);
        const int precision = info_of(column.metric).precision;
        row.push_back(spread ? number(spread->median, precision) : "-");
        if (!column.spread) continue;
        row.push_back(spread ? fmt::format("{}–{}", number(spread->least, precision),
                                           number(spread->greatest, precision))
                             : "-");
    }
    if (result.cell.kind == Kind::latency) {
        const Series* const direct = result.find("direct");
        const auto added =
            direct != nullptr ? difference_of(series, *direct, Metric::p50) : std::nullopt;
        row.push_back(added ? fmt::format("{:.1f}", added->median) : "-");
    }
    if (reference == nullptr) return row;
    for (const Metric metric : ratios_of(result.cell.kind)) {
        const auto ratio = ratio_of(series, *reference, metric);
        row.push_back(ratio ? fmt::format("{:.2f}", ratio->median) : "-");
    }
    return row;
}

// The first round that failed, or else the first with errors, stands for all.
std::string note_of(const Series& series) {
    const auto count = [&series](auto which) {
        return std::ranges::count_if(series.rounds, [&](const auto& s) { return s && which(*s); });
    };
    const auto measured = count([](const Sample&) { return true; });
    const auto failed = count([](const Sample& sample) { return !sample.ok(); });
    if (failed > 0) {
        return fmt::format("  {}: failed in {} of {} rounds: {}\n", series.design, failed, measured,
                           series.failure());
    }
    const auto troubled = count([](const Sample& sample) { return !sample.errors.empty(); });
    if (troubled == 0) return {};
    return fmt::format("  {}: errors in {} of {} rounds: {}\n", series.design, troubled, measured,
                       series.first_errors());
}

}  // namespace

std::string align(const std::vector<std::vector<std::string>>& rows, std::size_t left) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string blanks(widths[i] - width_of(row[i]), ' ');
            line += i == 0 ? "" : "  ";
            line += i < left ? row[i] + blanks : blanks + row[i];
        }
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    }
    return text;
}

std::string table_of(const CellResult& result, const std::string& reference) {
    const Series* const base = reference.empty() ? nullptr : result.find(reference);
    std::vector<std::vector<std::string>> rows{header_of(result.cell, reference)};
    std::string notes;
    for (const Series& series : result.series) {
        rows.push_back(row_of(result, series, base));
        notes += note_of(series);
    }
    return align(rows) + notes;
}

}  // namespace eplb::bench
