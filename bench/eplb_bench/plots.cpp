#include "plots.hpp"

#include "process.hpp"
#include "temp_dir.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;

struct Figure {
    std::string_view file;
    std::string_view title;
    std::string_view cells;  ///< the ladder that it shows
    std::size_t Work::* size;
    std::string_view x;
    Metric metric;
    std::string_view y;
    bool logarithmic;
};

constexpr std::array figures{
    Figure{"throughput", "64 B ping-pong: round trips per second", "pingpong/64B/*", &Work::ping,
           "connections, all active", Metric::operations, "round trips/s", false},
    Figure{"latency-p99", "64 B ping-pong: latency that 99 % do not exceed", "pingpong/64B/*",
           &Work::ping, "connections, all active", Metric::p99, "µs", true},
    Figure{"cpu-per-operation", "64 B ping-pong: processor time of the proxy", "pingpong/64B/*",
           &Work::ping, "connections, all active", Metric::cpu_per_op, "µs per round trip", true},
    Figure{"idle-cost", "64 active connections beside idle ones: processor time of the proxy",
           "idle-cost/*", &Work::idle, "idle connections", Metric::cpu_per_op, "µs per round trip",
           true},
    Figure{"memory", "Idle connections: memory of the proxy", "idle/*", &Work::idle,
           "idle connections", Metric::rss, "resident MiB", true},
};

struct Line {
    std::string title;
    std::vector<std::pair<std::size_t, double>> points;
};

std::string shortened(const std::string& text) {
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

// What the design said last, without where: "too many open files".
std::string reason_of(const Series& series) {
    for (const auto& sample : series.rounds) {
        if (!sample || sample->remark.empty()) continue;
        const std::size_t colon = sample->remark.rfind(": ");
        return sample->remark.substr(colon == std::string::npos ? 0 : colon + 2);
    }
    return series.failed() ? series.failure() : "no more were answered";
}

// Up to where the design still did all that was asked.
Line line_of(const Figure& figure, const std::vector<const CellResult*>& ladder,
             const std::string& design) {
    Line line{design, {}};
    for (const CellResult* cell : ladder) {
        const Series* const series = cell->find(design);
        if (series == nullptr) continue;
        const std::size_t size = cell->cell.work.*figure.size;
        const Work& work = cell->cell.work;
        const auto answered = spread_of(*series, Metric::answered);
        const auto asked = static_cast<double>(work.idle + work.ping);
        const bool partly = answered && answered->median < asked;
        if (series->failed() || partly) {
            line.title = fmt::format("{}: stops before {}", design, size);
            if (partly) line.title += fmt::format(", at {:.0f}", answered->median);
            line.title += fmt::format(" ({})", shortened(reason_of(*series)));
            break;
        }
        if (const auto value = spread_of(*series, figure.metric); value && value->median > 0)
            line.points.emplace_back(size, value->median);
    }
    return line;
}

// gnuplot's own colors repeat after eight.
constexpr std::array colors{"#0060ad", "#dd181f", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b",
                            "#17becf", "#e377c2", "#7f7f7f", "#bcbd22", "#000000", "#1b9e77"};

std::string script_of(const Figure& figure, const std::vector<Line>& lines) {
    std::string script;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        script += fmt::format("$line{} << EOD\n", i);
        for (const auto& [x, y] : lines[i].points) script += fmt::format("{} {}\n", x, y);
        script += "EOD\n";
    }
    script += fmt::format(
        "set encoding utf8\n"
        "set title \"{}\"\nset xlabel \"{}\"\nset ylabel \"{}\"\n"
        "set logscale x\n{}set grid\nset key outside below left reverse Left noenhanced\n"
        "set yrange [{}:*]\n",
        figure.title, figure.x, figure.y, figure.logarithmic ? "set logscale y\n" : "",
        figure.logarithmic ? "*" : "0");
    std::string plot;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (lines[i].points.empty()) {  // only its words
            plot +=
                fmt::format("{}NaN with linespoints linecolor \"{}\" title \"{}\"",
                            plot.empty() ? "" : ", ", colors[i % colors.size()], lines[i].title);
            continue;
        }
        plot += fmt::format("{}$line{} with linespoints linewidth 2 linecolor \"{}\" title \"{}\"",
                            plot.empty() ? "" : ", ", i, colors[i % colors.size()], lines[i].title);
    }
    for (const auto& [terminal, suffix] : {std::pair{"svg size 900,650 background 'white'", "svg"},
                                           std::pair{"pngcairo size 900,650", "png"}}) {
        script += fmt::format("set terminal {}\nset output \"{}.{}\"\nplot {}\nunset output\n",
                              terminal, figure.file, suffix, plot);
    }
    return script;
}

// gnuplot has no escape for a quote inside of quotes that would be the same in all versions, and
// runs what is between backquotes.
void make_printable(std::string& text) {
    std::ranges::replace(text, '"', '\'');
    std::ranges::replace(text, '`', '\'');
    std::ranges::replace(text, '\\', '/');
}

}  // namespace

std::size_t draw_plots(const std::filesystem::path& directory, const Results& results) {
    std::filesystem::create_directories(directory);
    const TempDir scratch;
    std::string script = fmt::format("cd \"{}\"\n", directory.string());
    std::size_t drawn = 0;
    for (const Figure& figure : figures) {
        std::vector<const CellResult*> ladder;
        for (const CellResult& cell : results.cells) {
            if (matches(cell.cell.name, {std::string{figure.cells}})) ladder.push_back(&cell);
        }
        if (ladder.size() < 2) continue;
        std::vector<Line> lines;
        for (const std::string& design : results.designs) {
            Line line = line_of(figure, ladder, design);
            make_printable(line.title);
            if (!line.points.empty() || line.title != design) lines.push_back(std::move(line));
        }
        if (lines.empty()) continue;
        script += script_of(figure, lines);
        ++drawn;
    }
    if (drawn == 0) return 0;
    write_file(scratch.path() / "plots.gp", script);
    Child gnuplot{{"gnuplot", (scratch.path() / "plots.gp").string()},
                  {.errors = scratch.path() / "gnuplot.err"}};
    // What was measured before Ctrl-C gets its figures too.
    if (!gnuplot.wait_even_if_interrupted(std::chrono::steady_clock::now() + 60s) ||
        !gnuplot.succeeded()) {
        throw std::runtime_error{
            fmt::format("cannot draw figures: gnuplot (Debian: gnuplot-nox): {} {}",
                        gnuplot.how_it_ended(), tail_of(scratch.path() / "gnuplot.err"))};
    }
    return drawn;
}

}  // namespace eplb::bench
