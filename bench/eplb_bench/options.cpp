#include "options.hpp"

#include "base/suggest.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <sstream>
#include <utility>

namespace eplb::bench {
namespace {

constexpr std::string_view example = "eplb-bench --quick";
constexpr std::size_t quick_rounds = 3;
constexpr double quick_seconds = 0.5;

// As it was typed; what it means is decided below.
struct RawOptions {
    std::vector<std::string> cells;
    std::vector<std::string> designs;
    std::vector<std::string> eplb;
    std::string haproxy = "haproxy";
    std::string nginx = "nginx";
    std::string json;
    std::string plots;
    bool quick = false;
    bool help = false;
    bool no_pin = false;
};

class HelpFormatter final : public CLI::Formatter {
public:
    HelpFormatter() { column_width(34); }
    std::string make_description(const CLI::App*) const override {
        return fmt::format("Example: {}\n\n", example);
    }
    std::string make_usage(const CLI::App*, std::string) const override {
        return "Usage: eplb-bench [OPTION]...\n"
               "Measures eplb beside the naive designs, HAProxy and nginx, on loopback.\n";
    }
};

void define_options(CLI::App& app, Options& options, RawOptions& raw) {
    const std::string what = "What to measure";
    app.add_flag("--quick", raw.quick, "A few cells, 3 rounds of 0.5 s: about five minutes")
        ->group(what);
    app.add_flag("--full", options.full, "Every cell")->group(what);
    app.add_option("--cells", raw.cells, "Only these, like pingpong/64B/64c,'bulk/*'")
        ->type_name("LIST")
        ->allow_extra_args(false)
        ->group(what);
    app.add_option(
           "--designs", raw.designs,
           "Only these, like direct,'eplb-*',nginx.\nDefault: all but 'echo-*', servers without a proxy")
        ->type_name("LIST")
        ->allow_extra_args(false)
        ->group(what);
    app.add_option("--reference", options.reference,
                   "Ratios relate to this design. Default:\neplb-auto, or else the first proxy")
        ->type_name("DESIGN")
        ->group(what);
    app.add_option("--rounds", options.rounds, "Of every design in a cell, interleaved")
        ->type_name("N")
        ->capture_default_str()
        ->group(what);
    app.add_option("--seconds", options.seconds, "That are measured in a run, after a warm-up")
        ->type_name("S")
        ->capture_default_str()
        ->group(what);
    app.add_option("--warm-up", options.warm_up_seconds, "Before them, not measured")
        ->type_name("S")
        ->capture_default_str()
        ->group(what);
    app.add_flag("--no-pin", raw.no_pin, "Let every process run on every processor")->group(what);
    app.add_flag("--list", options.list, "Print cells and designs and leave")->group(what);

    const std::string programs = "Programs";
    app.add_option("--eplb", raw.eplb,
                   "The eplb to measure; with NAME= (repeatable)\none more design of that name")
        ->type_name("[NAME=]PATH[,ARG]...")
        ->allow_extra_args(false)
        ->group(programs);
    app.add_option("--haproxy", raw.haproxy, "Measured with and without splicing")
        ->type_name("PATH")
        ->capture_default_str()
        ->group(programs);
    app.add_option("--nginx", raw.nginx, "With its stream module")
        ->type_name("PATH")
        ->capture_default_str()
        ->group(programs);

    const std::string output = "Output";
    app.add_option("--json", raw.json, "Write every sample, the aggregates and the machine")
        ->type_name("FILE")
        ->group(output);
    app.add_option("--plots", raw.plots, "Write SVG and PNG figures, with gnuplot")
        ->type_name("DIR")
        ->group(output);
    app.add_flag("--check-targets", options.check_targets,
                 "Say which of eplb's performance targets the\nresults meet")
        ->group(output);
    app.add_flag("-h,--help", raw.help, "Print this and leave")->group("Other");
    app.footer(
        "\nExit status: 0 done; 1 could not run, was interrupted, or missed a target; 2 bad usage.\n"
        "SIGINT: stop, and report what was measured so far.\n");
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> words;
    std::istringstream in{text};
    for (std::string word; std::getline(in, word, ',');) {
        if (!word.empty()) words.push_back(word);
    }
    return words;
}

std::vector<std::string> split_all(const std::vector<std::string>& texts) {
    std::vector<std::string> all;
    for (const std::string& text : texts) {
        for (std::string& word : split(text)) all.push_back(std::move(word));
    }
    return all;
}

std::string existing_program(const std::string& option, const std::string& path) {
    std::string found = find_program(path);
    if (found.empty()) throw UsageError(fmt::format("{}: there is no program {}", option, path));
    return found;
}

void add_build(Programs& programs, const std::string& text) {
    std::vector<std::string> words = split(text);
    if (words.empty()) throw UsageError("--eplb: give a path, or NAME=PATH");
    const std::size_t equals = words.front().find('=');
    const std::string path = existing_program(
        "--eplb", words.front().substr(equals == std::string::npos ? 0 : equals + 1));
    if (equals == std::string::npos) {
        if (words.size() > 1)
            throw UsageError(
                fmt::format("--eplb {}: arguments need a name, as in NAME={}", text, text));
        programs.eplb = path;
        return;
    }
    const std::string name = words.front().substr(0, equals);
    if (name.empty()) throw UsageError(fmt::format("--eplb {}: the name is empty", text));
    if (std::ranges::find(programs.builds, name, &Programs::Build::name) != programs.builds.end())
        throw UsageError(fmt::format("--eplb {}: there is a design {} already", text, name));
    programs.builds.push_back({name, path, {words.begin() + 1, words.end()}});
}

void interpret(Options& options, const RawOptions& raw, const CLI::App& app) {
    options.cells = split_all(raw.cells);
    options.designs = split_all(raw.designs);
    options.json = raw.json;
    options.plots = raw.plots;
    options.pin = !raw.no_pin;
    if (raw.quick && options.full) throw UsageError("--quick and --full exclude each other");
    if (raw.quick && app.count("--rounds") == 0) options.rounds = quick_rounds;
    if (raw.quick && app.count("--seconds") == 0) options.seconds = quick_seconds;
    if (options.rounds < 1 || options.rounds > 1000)
        throw UsageError("--rounds: use a number from 1 to 1000");
    if (!(options.seconds >= 0.05 && options.seconds <= 600))
        throw UsageError("--seconds: use a number from 0.05 to 600");
    if (!(options.warm_up_seconds >= 0 && options.warm_up_seconds <= 60))
        throw UsageError("--warm-up: use a number from 0 to 60");

    Programs& programs = options.programs;
    programs.eplb = EPLB_BENCH_EPLB;
    programs.naive_threads = EPLB_BENCH_NAIVE_THREADS;
    programs.go_source = EPLB_BENCH_GO_SOURCE;
    programs.echo_eplb = EPLB_BENCH_ECHO_EPLB;
    programs.echo_eplb_static = EPLB_BENCH_ECHO_EPLB_STATIC;
    programs.echo_epoll = EPLB_BENCH_ECHO_EPOLL;
    programs.echo_libuv = EPLB_BENCH_ECHO_LIBUV;
    programs.echo_asio = EPLB_BENCH_ECHO_ASIO;
    programs.go = find_program("go");
    programs.haproxy = app.count("--haproxy") == 0 ? find_program(raw.haproxy)
                                                   : existing_program("--haproxy", raw.haproxy);
    programs.nginx = app.count("--nginx") == 0 ? find_program(raw.nginx)
                                               : existing_program("--nginx", raw.nginx);
    for (const std::string& text : raw.eplb) add_build(programs, text);
}

[[noreturn]] void reject_extra(const CLI::App& app, const std::string& word) {
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    const std::vector<std::string_view> views{names.begin(), names.end()};
    throw UsageError(fmt::format("unknown argument \"{}\"{}", word, did_you_mean(word, views)));
}

}  // namespace

Options parse_options(std::vector<std::string> arguments) {
    Options options;
    RawOptions raw;
    CLI::App app;
    app.name("eplb-bench");
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_help_flag();  // ours answers even when the rest makes no sense
    app.allow_extras();
    define_options(app, options, raw);
    try {
        std::ranges::reverse(arguments);  // CLI11 takes them from the back
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        throw UsageError(error.what());
    }
    if (raw.help) {
        options.answer = app.help();
        return options;
    }
    if (const auto extra = app.remaining(); !extra.empty()) reject_extra(app, extra.front());
    interpret(options, raw, app);
    return options;
}

}  // namespace eplb::bench
