#include "app/command_line.hpp"

#include "app/version.hpp"
#include "base/duration.hpp"
#include "base/size.hpp"
#include "base/suggest.hpp"
#include "eplb/flow.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <string_view>
#include <thread>
#include <utility>

namespace eplb::app {
namespace {

constexpr std::uint32_t max_weight = 65535;
constexpr std::size_t max_workers = 256;
// Less than this is not worth a splice(2); more than this is not to be had, pipe(7).
constexpr std::uint64_t least_pipe_bytes = PipePool::useful_bytes;
constexpr std::uint64_t most_pipe_bytes = 16 * 1024 * 1024;
constexpr Duration most_busy_poll = std::chrono::seconds{1};
constexpr std::string_view example = "eplb -l :5555 -b 127.0.0.1:3306 -b 127.0.0.1:3307";

// Everything as it was typed: what it means is decided below, where the message can name the
// option.
struct RawOptions {
    std::vector<std::string> listen;
    std::vector<std::string> backends;
    std::string connect_timeout = "5s";
    std::string idle_timeout = "off";
    std::string half_close_timeout = "60s";
    std::string drain_timeout = "30s";
    std::string workers = "1";
    std::string max_connections;
    std::string relay = "auto";
    std::string pipe_size;
    std::string busy_poll = "off";
    std::string log_level = "info";
    std::string log_format = "text";
    bool quiet = false;
    bool version = false;
    bool help = false;
};

// An example first, then the options in their groups.
class HelpFormatter final : public CLI::Formatter {
public:
    HelpFormatter() { column_width(38); }
    std::string make_description(const CLI::App*) const override {
        return fmt::format("Example: {}\n\n", example);
    }
    std::string make_usage(const CLI::App*, std::string) const override {
        return "Usage: eplb -l ADDR... -b ADDR[,weight=N][,name=S]... [OPTION]...\n"
               "A layer-4 (TCP) load balancer: connections go to the backends in turn.\n";
    }
};

template <class T>
struct Choice {
    std::string_view name;
    T value;
};

template <class T, std::size_t N>
T choose(std::string_view option, std::string_view text, const std::array<Choice<T>, N>& choices) {
    std::array<std::string_view, N> names;
    std::string all;
    for (std::size_t i = 0; i < N; ++i) {
        if (choices[i].name == text) return choices[i].value;
        names[i] = choices[i].name;
        all += fmt::format("{}{}", i == 0 ? "" : i + 1 == N ? " or " : ", ", names[i]);
    }
    throw UsageError(fmt::format("{}: unknown value \"{}\"; use {}{}", option, text, all,
                                 did_you_mean(text, names)));
}

std::uint64_t parse_number(std::string_view option, std::string_view text, std::uint64_t least,
                           std::uint64_t most) {
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (text.empty() || error != std::errc{} || rest != end || number < least || number > most) {
        throw UsageError(fmt::format("{}: \"{}\" is not a whole number from {} to {}", option, text,
                                     least, most));
    }
    return number;
}

// Runs a parser that knows nothing of options, and adds which option it was.
template <class Parse>
auto parse_value(std::string_view option, Parse parse) {
    try {
        return parse();
    } catch (const std::invalid_argument& error) {
        throw UsageError(fmt::format("{}: {}", option, error.what()));
    }
}

std::vector<Address> parse_address(std::string_view option, std::string_view text) {
    std::vector<Address> addresses = parse_value(option, [&] { return Address::resolve(text); });
    for (const Address& address : addresses) {
        if (address.is_unix() || address.port() != 0) continue;
        throw UsageError(
            fmt::format("{}: bad address \"{}\": ports are numbers from 1 to 65535", option, text));
    }
    return addresses;
}

void add_backends(ServiceConfig& service, std::string_view text) {
    static constexpr std::string_view option = "--backend";
    BackendConfig backend;
    const std::size_t end_of_address = std::min(text.find(','), text.size());
    std::string_view settings = text.substr(end_of_address);
    while (!settings.empty()) {
        settings.remove_prefix(1);  // the comma
        const std::string_view setting = settings.substr(0, settings.find(','));
        settings.remove_prefix(setting.size());
        const std::size_t equals = setting.find('=');
        const std::string_view key = setting.substr(0, equals);
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view{} : setting.substr(equals + 1);
        if (key == "weight") {
            const std::string where = fmt::format("{} {}: weight", option, text);
            backend.weight = static_cast<std::uint32_t>(parse_number(where, value, 0, max_weight));
        } else if (key == "name") {
            const bool printable = std::all_of(
                value.begin(), value.end(), [](char c) { return c > ' ' && c != '"' && c < 0x7f; });
            if (value.empty() || !printable) {
                throw UsageError(fmt::format(
                    "{} {}: a name is one or more printable ASCII characters without blanks and quotes",
                    option, text));
            }
            backend.name = value;
        } else {
            static constexpr std::array<std::string_view, 2> keys{"weight", "name"};
            throw UsageError(
                fmt::format("{} {}: unknown setting \"{}\" (there are weight=N and name=S){}",
                            option, text, setting, did_you_mean(key, keys)));
        }
    }
    for (const Address& address : parse_address(option, text.substr(0, end_of_address))) {
        if (address.is_wildcard()) {
            throw UsageError(fmt::format("{}: \"{}\" names no host; did you mean 127.0.0.1:{}?",
                                         option, text.substr(0, end_of_address), address.port()));
        }
        backend.address = address;
        service.backends.push_back(backend);
    }
}

// "auto": as many as the processors that we may run on (sched_getaffinity(2)).
std::size_t parse_workers(std::string_view text) {
    if (text == "auto") return std::max(1U, std::thread::hardware_concurrency());
    try {
        return parse_number("--workers", text, 1, max_workers);
    } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}, or auto", error.what()));
    }
}

std::size_t parse_pipe_size(std::string_view text) {
    static constexpr std::string_view option = "--pipe-size";
    const std::uint64_t bytes = parse_value(option, [&] { return parse_size(text); });
    if (bytes < least_pipe_bytes || bytes > most_pipe_bytes) {
        throw UsageError(fmt::format("{}: {} is out of range; from {} to {}", option, text,
                                     format_size(least_pipe_bytes), format_size(most_pipe_bytes)));
    }
    return bytes;
}

Duration parse_busy_poll(std::string_view text) {
    static constexpr std::string_view option = "--busy-poll";
    const Duration spin = parse_value(option, [&] { return parse_duration(text); });
    if (spin > most_busy_poll) {
        throw UsageError(
            fmt::format("{}: {} is longer than {}", option, text, format_duration(most_busy_poll)));
    }
    return spin;
}

Duration parse_timeout(std::string_view option, std::string_view text) {
    return parse_value(option, [&] { return parse_duration(text); });
}

void define_options(CLI::App& app, RawOptions& raw) {
    const std::string basic = "Listeners and backends";
    app.add_option("-l,--listen", raw.listen,
                   "Accept clients here (repeatable): :5555,\n127.0.0.1:5555, [::1]:5555, "
                   "host:5555,\nunix:/path, unix:@name")
        ->type_name("ADDR")
        ->allow_extra_args(false)
        ->group(basic);
    app.add_option("-b,--backend", raw.backends,
                   "Send them here (repeatable), in turn and\nin proportion to the weights")
        ->type_name("ADDR[,weight=N][,name=S]")
        ->allow_extra_args(false)
        ->group(basic);

    const std::string timeouts = "Timeouts (250ms, 5s, 10m, 2h; off: never)";
    const auto add_timeout = [&](const char* name, std::string& value, const char* text) {
        app.add_option(name, value, text)
            ->type_name("TIME")
            ->capture_default_str()
            ->group(timeouts);
    };
    add_timeout("--connect-timeout", raw.connect_timeout, "A backend has to answer within this");
    add_timeout("--idle-timeout", raw.idle_timeout, "Reset a session in which nothing moves");
    add_timeout("--half-close-timeout", raw.half_close_timeout,
                "The same, once one side has finished");
    add_timeout("--drain-timeout", raw.drain_timeout, "Sessions may go on so long after SIGTERM");

    const std::string limits = "Limits and data path";
    app.add_option("-w,--workers", raw.workers,
                   "Threads, each with connections of its own;\nauto: one for each processor")
        ->type_name("N|auto")
        ->capture_default_str()
        ->group(limits);
    app.add_option("--max-connections", raw.max_connections,
                   "At a time; others wait. Default: what the\nlimit of open files allows")
        ->type_name("N")
        ->group(limits);
    app.add_option("--relay", raw.relay,
                   "auto: copy small messages, splice bulk;\nor splice, or copy")
        ->type_name("MODE")
        ->capture_default_str()
        ->group(limits);

    app.add_option("--pipe-size", raw.pipe_size,
                   "Of the pipes that bulk is spliced through,\nlike 64KiB or 1MiB. Default: " +
                       format_size(RelayContext::Options{}.pipe_bytes))
        ->type_name("SIZE")
        ->group(limits);
    app.add_option("--busy-poll", raw.busy_poll,
                   "Spin so long for events before blocking,\nlike 50us: less latency, more CPU")
        ->type_name("TIME")
        ->capture_default_str()
        ->group(limits);

    const std::string logging = "Logging (to standard error)";
    app.add_option("--log-level", raw.log_level, "debug, info, warning or error")
        ->type_name("LEVEL")
        ->capture_default_str()
        ->group(logging);
    app.add_option("--log-format", raw.log_format, "text or json")
        ->type_name("FORMAT")
        ->capture_default_str()
        ->group(logging);
    app.add_flag("-q,--quiet", raw.quiet, "Only warnings and errors")->group(logging);

    const std::string other = "Other";
    app.add_flag("-h,--help", raw.help, "Print this and leave")->group(other);
    app.add_flag("-V,--version", raw.version, "Print the version and leave")->group(other);
    app.footer(
        "\nExit status: 0 stopped by a signal; 1 could not run; 2 bad usage.\n"
        "SIGTERM, SIGINT: stop accepting, let sessions finish; twice: stop now.\n");
}

[[noreturn]] void reject_extra(const CLI::App& app, const std::string& word) {
    if (word.empty() || word.front() != '-') {
        throw UsageError(
            fmt::format("unexpected argument \"{}\"; addresses are given with -l and -b, as in: {}",
                        word, example));
    }
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    const std::vector<std::string_view> views{names.begin(), names.end()};
    throw UsageError(fmt::format("unknown option \"{}\"{}", word, did_you_mean(word, views)));
}

CommandLine interpret(const RawOptions& raw) {
    if (raw.listen.empty()) {
        throw UsageError(
            fmt::format("no listener: say where to accept clients with -l, as in: {}", example));
    }
    if (raw.backends.empty()) {
        throw UsageError(
            fmt::format("no backend: say where to send clients with -b, as in: {}", example));
    }

    CommandLine result;
    ServiceConfig service;
    for (const std::string& text : raw.listen) {
        for (const Address& address : parse_address("--listen", text))
            service.listen.push_back(address);
    }
    for (const std::string& text : raw.backends) add_backends(service, text);
    service.connect_timeout = parse_timeout("--connect-timeout", raw.connect_timeout);
    service.idle_timeout = parse_timeout("--idle-timeout", raw.idle_timeout);
    service.half_close_timeout = parse_timeout("--half-close-timeout", raw.half_close_timeout);
    result.drain_timeout = parse_timeout("--drain-timeout", raw.drain_timeout);

    result.config.services.push_back(std::move(service));
    result.config.workers = parse_workers(raw.workers);
    result.config.busy_poll = parse_busy_poll(raw.busy_poll);
    if (!raw.pipe_size.empty()) result.config.pipe_bytes = parse_pipe_size(raw.pipe_size);
    if (!raw.max_connections.empty()) {
        result.config.max_connections =
            parse_number("--max-connections", raw.max_connections, 1, 100'000'000);
    }
    result.config.relay =
        choose<RelayMode>("--relay", raw.relay,
                          std::array{Choice<RelayMode>{"auto", RelayMode::automatic},
                                     Choice<RelayMode>{"splice", RelayMode::splice},
                                     Choice<RelayMode>{"copy", RelayMode::copy}});
    result.log_level = choose<LogLevel>("--log-level", raw.log_level,
                                        std::array{Choice<LogLevel>{"debug", LogLevel::debug},
                                                   Choice<LogLevel>{"info", LogLevel::info},
                                                   Choice<LogLevel>{"warning", LogLevel::warning},
                                                   Choice<LogLevel>{"error", LogLevel::error}});
    if (raw.quiet) result.log_level = std::max(result.log_level, LogLevel::warning);
    result.log_format = choose<LogFormat>("--log-format", raw.log_format,
                                          std::array{Choice<LogFormat>{"text", LogFormat::text},
                                                     Choice<LogFormat>{"json", LogFormat::json}});
    return result;
}

}  // namespace

CommandLine parse_command_line(std::vector<std::string> arguments) {
    RawOptions raw;
    CLI::App app;
    app.name("eplb");
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_help_flag();  // ours answers even when the rest makes no sense
    app.allow_extras();
    define_options(app, raw);
    try {
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        throw UsageError(error.what());
    }
    if (raw.help || raw.version) {
        CommandLine result;
        result.answer = raw.help ? app.help() : fmt::format("eplb {}\n", version);
        return result;
    }
    if (const auto extra = app.remaining(); !extra.empty()) reject_extra(app, extra.front());
    return interpret(raw);
}

}  // namespace eplb::app
