// eplb-bench: eplb beside the naive designs and its peers, as connections grow.
//
// Starts backends, a proxy and load as separate processes for every run, so that each has its own
// descriptors; `eplb-bench --help` says how to choose what is measured.

#include "backend.hpp"
#include "base/suggest.hpp"
#include "cell.hpp"
#include "design.hpp"
#include "interrupt.hpp"
#include "json_report.hpp"
#include "load.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "plots.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "targets.hpp"
#include "temp_dir.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fmt/format.h>
#include <fstream>
#include <string>
#include <vector>

namespace eplb::bench {
namespace {

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

/// Those that a pattern selects, in their own order; a pattern that selects none is a mistake.
template <class Thing>
std::vector<Thing> select(const std::vector<Thing>& all, const std::vector<std::string>& patterns,
                          std::string_view option) {
    for (const std::string& pattern : patterns) {
        std::vector<std::string_view> names;
        bool used = false;
        for (const Thing& thing : all) {
            used = used || matches(thing.name, {pattern});
            names.push_back(thing.name);
        }
        if (used) continue;
        throw UsageError(fmt::format("{}: nothing is called \"{}\"; --list prints what there is{}",
                                     option, pattern, did_you_mean(pattern, names)));
    }
    std::vector<Thing> selected;
    for (const Thing& thing : all) {
        if (patterns.empty() || matches(thing.name, patterns)) selected.push_back(thing);
    }
    return selected;
}

std::vector<Cell> select_cells(const Options& options, std::size_t descriptors) {
    const std::vector<Cell> all = all_cells(descriptors);
    if (options.full || !options.cells.empty()) return select(all, options.cells, "--cells");
    std::vector<Cell> quick;
    for (const Cell& cell : all) {
        if (cell.quick) quick.push_back(cell);
    }
    return quick;
}

// Echo servers are no proxies: beside those they run only when they are asked for.
std::vector<Design> select_designs(const Options& options, const std::vector<Design>& all) {
    std::vector<Design> selected = select(all, options.designs, "--designs");
    if (options.designs.empty())
        std::erase_if(selected, [](const Design& d) { return d.family == Family::echo; });
    return selected;
}

void list(const std::vector<Cell>& cells, const Designs& designs) {
    fmt::print("cells (* in the short selection):\n");
    for (const Cell& cell : cells) fmt::print("  {}{}\n", cell.name, cell.quick ? " *" : "");
    fmt::print("designs:\n");
    for (const Design& design : designs.available)
        fmt::print("  {:<18}{}{}{}\n", design.name, design.what, design.version.empty() ? "" : ": ",
                   design.version);
    for (const std::string& missing : designs.missing) fmt::print("  not here: {}\n", missing);
}

/// Finds out before an hour of measuring what could not be kept after it.
void check_outputs(const Options& options) {
    if (!options.json.empty() && !std::ofstream{options.json, std::ios::app})
        throw UsageError(fmt::format("--json: cannot write {}", options.json.string()));
    if (!options.plots.empty() && find_program("gnuplot").empty())
        throw UsageError("--plots: there is no gnuplot; Debian: gnuplot-nox");
}

void check_names(const std::vector<Design>& designs) {
    for (auto design = designs.begin(); design != designs.end(); ++design) {
        if (std::find_if(designs.begin(), design,
                         [&](const Design& other) { return other.name == design->name; }) != design)
            throw UsageError(
                fmt::format("--eplb {}=...: that name is taken; choose another", design->name));
    }
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

void introduce(const Provenance& provenance, const Plan& plan) {
    const Options& options = provenance.options;
    fmt::print("{}; {} descriptors per process; {}\n", describe_machine(), provenance.descriptors,
               provenance.pinning);
    for (const Design& design : provenance.designs) {
        if (!design.pinned && options.pin)
            fmt::print("{}: nothing is pinned, because it has several workers\n", design.name);
    }
    for (const std::string& missing : provenance.missing) fmt::print("without {}\n", missing);
    fmt::print("medians of {} rounds of {} s", plan.rounds, options.seconds);
    if (!plan.reference.empty())
        fmt::print("; × is the ratio to {} within the same round", plan.reference);
    fmt::print("\n\n");
    std::fflush(stdout);
}

/// What was asked for beside the tables; returns the exit code.
int conclude(const Provenance& provenance, const Results& results) {
    const Options& options = provenance.options;
    int code = 0;
    if (results.interrupted) {
        fmt::print("interrupted: this is not all that was asked for\n");
        code = exit_failure;
    }
    if (options.check_targets) {
        const std::vector<Verdict> verdicts = check_targets(results, provenance.designs);
        fmt::print("{}\n", table_of(verdicts));
        const bool missed = std::ranges::any_of(
            verdicts, [](const Verdict& verdict) { return verdict.met == false; });
        if (missed) code = exit_failure;
    }
    std::fflush(stdout);
    if (!options.json.empty()) write_json(options.json, provenance, results);
    if (!options.plots.empty() && draw_plots(options.plots, results) == 0) {
        fmt::print(stderr,
                   "eplb-bench: no figures: they need at least two sizes, as in "
                   "--cells 'pingpong/64B/*'\n");
    }
    return code;
}

int run(const Options& options, const std::vector<std::string>& arguments) {
    const std::size_t descriptors = raise_descriptor_limit();
    adopt_orphans();
    catch_interrupts();
    check_outputs(options);
    const Designs found = find_designs(options.programs);
    check_names(found.available);
    if (options.list) {
        list(all_cells(descriptors), found);
        return 0;
    }
    const std::vector<Cell> cells = select_cells(options, descriptors);
    std::vector<Design> designs = select_designs(options, found.available);
    if (!options.reference.empty())
        static_cast<void>(select(designs, {options.reference}, "--reference"));
    const TempDir directory;
    for (Design& design : designs) {
        if (design.family == Family::naive_go) build_go(design, options.programs, directory.path());
    }
    const RunOptions run_options{.warm_up_seconds = options.warm_up_seconds,
                                 .seconds = options.seconds,
                                 .pin = options.pin,
                                 .directory = directory.path()};
    const Plan plan{options.rounds, choose_reference(designs, options.reference)};
    const Provenance provenance{.command_line = arguments,
                                .started = utc_now(),
                                .descriptors = descriptors,
                                .pinning = describe_pinning(options.pin),
                                .designs = designs,
                                .missing = found.missing,
                                .options = options};
    introduce(provenance, plan);
    const Results results = run_all(cells, designs, plan, run_options,
                                    [](const Results& so_far, const CellResult& cell) {
                                        fmt::print("{}\n", table_of(cell, so_far.reference));
                                        std::fflush(stdout);
                                    });
    return conclude(provenance, results);
}

}  // namespace
}  // namespace eplb::bench

int main(int argc, char** argv) {
    using namespace eplb::bench;
    const std::vector<std::string> arguments{argv + 1, argv + argc};
    try {
        if (arguments == std::vector<std::string>{"--as-backend"}) serve_as_backend();
        if (arguments.size() == 2 && arguments[0] == "--as-load") return run_as_load(arguments[1]);
        const Options options = parse_options(arguments);
        if (options.answer) {
            fmt::print("{}", *options.answer);
            return 0;
        }
        return run(options, {argv, argv + argc});
    } catch (const UsageError& error) {
        fmt::print(stderr, "eplb-bench: {}\n", error.what());
        return exit_usage;
    } catch (const std::exception& error) {
        fmt::print(stderr, "eplb-bench: {}\n", error.what());
        return exit_failure;
    }
}
