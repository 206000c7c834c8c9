#include "app/command_line.hpp"

#include "app/verbs.hpp"
#include "base/suggest.hpp"
#include "config/config_keys.hpp"
#include "eplb/version.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <string_view>
#include <utility>

namespace eplb::app {
namespace {

using control::Member;
using control::Node;
using control::Place;

constexpr std::string_view example = "eplb -l :5555 -b 127.0.0.1:3306 -b 127.0.0.1:3307";

// Which table of a configuration file has the key that an option sets.
enum class Table : std::uint8_t { process, log, defaults };

// An option that says what a key of the configuration file says, and whose value is read as the
// file's is.
struct KeyOption {
    const char* names;  ///< CLI11's
    const char* key;
    Table table;
    const char* type;
    const char* help;
    const char* group;
    std::string value = {};
};

constexpr const char* basic_group = "Listeners and backends";
constexpr const char* timeouts_group = "Timeouts (250ms, 5s, 10m, 2h; off: never)";
constexpr const char* limits_group = "Limits and data path";
constexpr const char* config_group = "Configuration file (eplb.toml(5))";
constexpr const char* logging_group = "Logging";
constexpr const char* other_group = "Other";

std::vector<KeyOption> key_options() {
    return {
        {"--balance", "balance", Table::defaults, "POLICY",
         "round_robin, leastconn, random, first,\nsource_hash, consistent, least_time or\npeak_ewma: eplb.toml(5)",
         basic_group},
        {"--connect-timeout", "connect_timeout", Table::defaults, "TIME",
         "A backend has to answer within this", timeouts_group},
        {"--idle-timeout", "idle_timeout", Table::defaults, "TIME",
         "Reset a session in which nothing moves", timeouts_group},
        {"--half-close-timeout", "half_close_timeout", Table::defaults, "TIME",
         "The same, once one side has finished", timeouts_group},
        {"--drain-timeout", "drain_timeout", Table::defaults, "TIME",
         "Sessions may go on so long after SIGTERM", timeouts_group},
        {"-w,--workers", "workers", Table::process, "N|auto",
         "Threads, each with connections of its own;\nauto: one for each processor", limits_group},
        {"--max-connections", "max_connections", Table::process, "N|auto",
         "At a time; others wait. auto: what the\nlimit of open files allows", limits_group},
        {"--relay", "relay", Table::defaults, "MODE",
         "auto: copy small messages, splice bulk;\nor splice, or copy", limits_group},
        {"--pipe-size", "pipe_size", Table::defaults, "SIZE",
         "Of the pipes that bulk is spliced through,\nlike 64KiB or 1MiB; auto: 256KiB",
         limits_group},
        {"--busy-poll", "busy_poll", Table::process, "TIME",
         "Spin so long for events before blocking,\nlike 50us: less latency, more CPU",
         limits_group},
        {"--log-level", "level", Table::log, "LEVEL", "debug, info, warning or error",
         logging_group},
        {"--log-format", "format", Table::log, "FORMAT", "text or json", logging_group},
    };
}

// As typed: what it means is decided by those who read the configuration.
struct RawOptions {
    std::vector<std::string> listen;
    std::vector<std::string> backends;
    std::vector<KeyOption> keys = key_options();
    std::string config;
    bool expand_env = false;
    bool test = false;
    bool dump = false;
    bool strict = false;
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
        std::string usage =
            "Usage: eplb -l ADDR... -b ADDR[,weight=N][,name=S]... [OPTION]...\n"
            "       eplb -c FILE [OPTION]...\n"
            "       eplb VERB [OPTION]...\n"
            "A layer-4 (TCP) load balancer: connections go to the backends in turn, or by another policy.\n"
            "\nVerbs (eplb VERB --help tells more):\n";
        for (const Verb& verb : verbs().subspan(1))
            usage += fmt::format("  {:<{}}{}\n", verb.name, get_column_width() - 2, verb.summary);
        return usage;
    }
};

control::KeyInfo key_of(const KeyOption& option) {
    const auto find = [&](const auto& table) {
        const auto key = std::ranges::find(table, option.key, &control::KeyInfo::name);
        return key != table.end() ? control::KeyInfo{*key} : control::KeyInfo{};
    };
    switch (option.table) {
    case Table::process: return find(control::process_keys());
    case Table::log: return find(control::log_keys());
    case Table::defaults: break;
    }
    return find(control::service_keys());
}

std::string default_of(const KeyOption& option) {
    std::string value = key_of(option).default_value;
    std::erase(value, '"');
    return value;
}

// What stands between quotes in the type of a key: `"auto" | "splice"`.
std::vector<std::string> words_of(std::string_view type) {
    std::vector<std::string> words;
    for (;;) {
        const std::size_t begin = type.find('"');
        if (begin == std::string_view::npos) return words;
        type.remove_prefix(begin + 1);
        const std::size_t end = std::min(type.find('"'), type.size());
        words.emplace_back(type.substr(0, end));
        type.remove_prefix(std::min(end + 1, type.size()));
    }
}

void define_options(CLI::App& app, RawOptions& raw) {
    app.add_option("-l,--listen", raw.listen,
                   "Accept clients here (repeatable): :5555,\n127.0.0.1:5555, [::1]:5555, "
                   "host:5555,\nunix:/path, unix:@name")
        ->type_name("ADDR")
        ->allow_extra_args(false)
        ->group(basic_group);
    app.add_option(
           "-b,--backend", raw.backends,
           "Send them here (repeatable), in turn and\nin proportion to the weights:\n127.0.0.1:3306, host:3306, "
           "srv:_db._tcp.host,\nunix:/path. Names follow the DNS")
        ->type_name("ADDR[,weight=N][,name=S]")
        ->allow_extra_args(false)
        ->group(basic_group);
    app.add_option(
           "-c,--config", raw.config,
           "Read this; options given beside it win over\nwhat it says. Read again on SIGHUP")
        ->type_name("FILE")
        ->group(config_group);
    app.add_flag("--expand-env", raw.expand_env,
                 "Replace ${NAME} and ${NAME:-default} in its\nstrings")
        ->group(config_group);
    app.add_flag("-t,--test", raw.test, "Check the configuration, take no address, leave")
        ->group(config_group);
    app.add_flag("-T,--dump", raw.dump,
                 "Print the effective configuration, with\nwhere each value comes from, and leave")
        ->group(config_group);
    app.add_flag("--strict", raw.strict, "Warnings about it are errors")->group(config_group);
    for (KeyOption& option : raw.keys) {
        app.add_option(option.names, option.value, option.help)
            ->type_name(option.type)
            ->default_str(default_of(option))
            ->group(option.group);
    }
    app.add_flag("-q,--quiet", raw.quiet, "Only warnings and errors")->group(logging_group);
    app.add_flag("-h,--help", raw.help, "Print this and leave")->group(other_group);
    app.add_flag("-V,--version", raw.version, "Print the version and leave")->group(other_group);
    app.footer(
        "\nExit status: 0 stopped by a signal; 1 could not run; 2 bad usage or configuration.\n"
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
    throw UsageError(unknown_option(word, names));
}

Place place_of(std::string flag) {
    Place place;
    place.flag = std::move(flag);
    return place;
}

Node word(std::string text, std::string flag) {
    Node node;
    node.place = place_of(std::move(flag));
    node.text = std::move(text);
    node.untyped = true;
    return node;
}

Node table(std::string flag) {
    Node node;
    node.kind = Node::Kind::table;
    node.place = place_of(std::move(flag));
    return node;
}

Node array(std::string flag) {
    Node node = table(std::move(flag));
    node.kind = Node::Kind::array;
    return node;
}

// Adds to the table `name` of `root`, and makes it if there is none yet.
void add(Node& root, const char* name, Member member) {
    auto found = std::ranges::find(root.members, name, &Member::key);
    if (found == root.members.end()) {
        root.members.push_back({name, member.place, table(member.place.flag)});
        found = root.members.end() - 1;
    }
    found->value.members.push_back(std::move(member));
}

// ADDR[,weight=N][,name=S] as a [[service.backend]].
Node backend_table(std::string_view text) {
    const std::string flag = fmt::format("--backend {}", text);
    Node node = table(flag);
    const std::size_t end_of_address = std::min(text.find(','), text.size());
    node.members.push_back(
        {"address", place_of(flag),
         word(std::string{text.substr(0, end_of_address)}, std::string{"--backend"})});
    std::string_view settings = text.substr(end_of_address);
    while (!settings.empty()) {
        settings.remove_prefix(1);  // the comma
        const std::string_view setting = settings.substr(0, settings.find(','));
        settings.remove_prefix(setting.size());
        const std::size_t equals = std::min(setting.find('='), setting.size());
        const std::string key{setting.substr(0, equals)};
        const std::string_view value = setting.substr(std::min(equals + 1, setting.size()));
        if (node.find(key) != nullptr)
            throw UsageError(fmt::format("{}: \"{}\" is given twice", flag, key));
        node.members.push_back(
            {key, place_of(flag), word(std::string{value}, fmt::format("{}: {}", flag, key))});
    }
    return node;
}

Node service_table(const RawOptions& raw) {
    Node node = table("--listen");
    node.members.push_back({"name", place_of("--listen"), word("default", "--listen")});
    Node listen = array("--listen");
    for (const std::string& text : raw.listen) listen.items.push_back(word(text, "--listen"));
    node.members.push_back({"listen", place_of("--listen"), std::move(listen)});
    Node backends = array("--backend");
    for (const std::string& text : raw.backends) backends.items.push_back(backend_table(text));
    node.members.push_back({"backend", place_of("--backend"), std::move(backends)});
    return node;
}

void require_a_service(const RawOptions& raw) {
    if (!raw.config.empty()) {
        if (raw.listen.empty() && raw.backends.empty()) return;
        throw UsageError(
            "-l and -b are a service of their own: with --config, write it into the file");
    }
    if (raw.listen.empty()) {
        throw UsageError(fmt::format(
            "no listener: say where to accept clients with -l, as in: {}; or give a configuration "
            "file with -c",
            example));
    }
    if (raw.backends.empty()) {
        throw UsageError(
            fmt::format("no backend: say where to send clients with -b, as in: {}", example));
    }
}

// The long name of an option, as "-w,--workers" has it.
std::string long_name(const KeyOption& option) {
    const std::string_view names = option.names;
    return std::string{names.substr(names.find("--"))};
}

// The options in the terms of the file.
Node flags_of(const CLI::App& app, const RawOptions& raw) {
    Node root = table("");
    for (const KeyOption& option : raw.keys) {
        const std::string name = long_name(option);
        if (app.count(name) == 0) continue;
        Member member{option.key, place_of(name), word(option.value, name)};
        switch (option.table) {
        case Table::process: root.members.push_back(std::move(member)); break;
        case Table::log: add(root, "log", std::move(member)); break;
        case Table::defaults: add(root, "defaults", std::move(member)); break;
        }
    }
    if (!raw.config.empty()) return root;
    Node services = array("--listen");
    services.items.push_back(service_table(raw));
    root.members.push_back({"service", place_of("--listen"), std::move(services)});
    return root;
}

CommandLine interpret(const CLI::App& app, const RawOptions& raw) {
    if (app.count("--config") != 0 && raw.config.empty())
        throw UsageError("--config: the name of the file is missing");
    require_a_service(raw);
    CommandLine result;
    result.action = raw.dump   ? CommandLine::Action::dump
                    : raw.test ? CommandLine::Action::test
                               : CommandLine::Action::serve;
    if (!raw.config.empty()) result.source.file = raw.config;
    result.source.expand_env = raw.expand_env;
    result.source.flags = flags_of(app, raw);
    result.strict = raw.strict;
    result.quiet = raw.quiet;
    return result;
}

}  // namespace

// It begins with the option's name, and ends with how many values of which type are "missing", or were
// "received". That is all that can be wrong with ours: what a value means is not CLI11's affair.
std::string option_problem(std::string_view what) {
    const std::string_view option = what.substr(0, what.find(':'));
    if (what.ends_with(" missing")) return fmt::format("{}: the value is missing", option);
    if (what.find(" but received ") != std::string_view::npos)
        return fmt::format("{} is given more than once", option);
    return "these options make no sense together";
}

std::string unknown_option(std::string_view word, const std::vector<std::string>& names) {
    const std::vector<std::string_view> views{names.begin(), names.end()};
    return fmt::format("unknown option \"{}\"{}", word, did_you_mean(word, views));
}

std::vector<Flag> serve_flags() {
    RawOptions raw;
    CLI::App app;
    app.set_help_flag();
    define_options(app, raw);
    std::vector<Flag> flags = flags_of(app);
    for (const KeyOption& option : raw.keys) {
        const auto flag = std::ranges::find(flags, long_name(option), &Flag::long_name);
        if (flag != flags.end()) flag->words = words_of(key_of(option).type);
    }
    return flags;
}

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
        throw UsageError(option_problem(error.what()));
    }
    if (raw.help || raw.version) {
        CommandLine result;
        result.answer = raw.help ? app.help() : fmt::format("eplb {}\n", EPLB_VERSION);
        return result;
    }
    if (const auto extra = app.remaining(); !extra.empty()) reject_extra(app, extra.front());
    return interpret(app, raw);
}

}  // namespace eplb::app
