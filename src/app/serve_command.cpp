#include "app/serve_command.hpp"

#include "app/command_line.hpp"
#include "app/daemon.hpp"
#include "app/early_signals.hpp"
#include "app/exit_codes.hpp"
#include "app/log_target.hpp"
#include "config/config_dump.hpp"
#include "config/config_file.hpp"
#include "config/config_text.hpp"
#include "control/kernel_check.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace eplb::app {
namespace {

// A balancer serves although nobody reads what it has to say of its configuration.
void report(const CommandLine& options, const std::string& text) {
    if (options.action == CommandLine::Action::serve) {
        tell_standard_error(text);
    } else {
        fmt::print(stderr, "{}", text);
    }
}

std::string count_of(std::size_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string summary_of(const control::Settings& settings) {
    std::size_t listeners = 0;
    std::size_t backends = 0;
    for (const control::Service& service : settings.services) {
        listeners += service.values.listen.size();
        backends += service.backends.size();
    }
    return fmt::format("{}, {}, {}", count_of(settings.services.size(), "service"),
                       count_of(listeners, "listener"), count_of(backends, "backend"));
}

int print(const std::string& text) {
    fmt::print("{}", text);
    return std::fflush(stdout) == 0 ? EXIT_SUCCESS : exit_failure;
}

// What the kernel would refuse of it is found out before anything is opened: the exit code, or 0.
int try_with_kernel(const CommandLine& options, const control::LoadedConfig& loaded,
                    const control::Settings& settings, const Config& config,
                    control::KernelCheck what) {
    const std::string file = options.source.file ? options.source.file->string() : "options";
    control::Diagnostics diagnostics;
    control::check_with_kernel(settings, config, what, {}, true, diagnostics);
    fmt::print(stderr, "{}", control::to_text(diagnostics, file, loaded.text));
    if (diagnostics.has_errors()) return exit_failure;
    if (!options.strict || diagnostics.empty()) return 0;
    complain(
        fmt::format("{}: {}, and --strict", file, count_of(diagnostics.warnings(), "warning")));
    return exit_usage;
}

int run(const CommandLine& options) {
    control::LoadedConfig config = control::load_config(options.source);
    const std::string file = options.source.file ? options.source.file->string() : "options";
    report(options, config.report(options.source));
    if (config.diagnostics.has_errors()) {
        if (!options.source.file) complain("try: eplb --help");
        return exit_usage;
    }
    if (options.strict && !config.diagnostics.empty()) {
        complain(fmt::format("{}: {}, and --strict", file,
                             count_of(config.diagnostics.warnings(), "warning")));
        return exit_usage;
    }
    switch (options.action) {
    case CommandLine::Action::dump: return print(control::dump(config.settings, file));
    case CommandLine::Action::test:
        if (const int code = try_with_kernel(options, config, config.settings, {},
                                             control::KernelCheck::options))
            return code;
        return print(fmt::format("{}: good: {}\n", file, summary_of(config.settings)));
    case CommandLine::Action::serve: break;
    }
    control::Diagnostics lookups;
    control::ResolvedSettings resolved{std::move(config.settings), {}};
    resolved.config = control::resolve(resolved.settings, lookups);
    if (lookups.has_errors()) {
        tell_standard_error(control::to_text(lookups, file, config.text));
        return exit_failure;
    }
    if (const int code = try_with_kernel(options, config, resolved.settings, resolved.config,
                                         control::KernelCheck::all))
        return code;
    resolved.config.may_lack_interfaces = true;
    Daemon daemon{options, resolved};
    return daemon.run(std::move(resolved), config.text) ? EXIT_SUCCESS : exit_failure;
}

}  // namespace

int run_serve_command(std::vector<std::string> arguments) {
    const CommandLine options = parse_command_line(std::move(arguments));
    if (options.answer || options.action != CommandLine::Action::serve) release_signals();
    return options.answer ? print(*options.answer) : run(options);
}

}  // namespace eplb::app
