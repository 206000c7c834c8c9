#include "app/command_line.hpp"
#include "app/early_signals.hpp"
#include "app/log.hpp"
#include "app/log_target.hpp"
#include "app/reload_command.hpp"
#include "base/describe.hpp"
#include "base/duration.hpp"
#include "base/saturating.hpp"
#include "base/size.hpp"
#include "config/config_dump.hpp"
#include "config/config_file.hpp"
#include "config/config_text.hpp"
#include "control/control_protocol.hpp"
#include "control/control_server.hpp"
#include "control/kernel_check.hpp"
#include "control/name_judge.hpp"
#include "control/reloader.hpp"
#include "discovery/names.hpp"
#include "discovery/resolver.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"
#include "eplb/version.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <net/if.h>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace eplb::app {
namespace {

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

// Every connection takes two descriptors, and the soft limit is 1024 for the sake of select(2),
// which we do not use: take what the hard limit grants.
std::size_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return before;
    return limit.rlim_cur;
}

std::string_view name_of(RelayMode mode) noexcept {
    switch (mode) {
    case RelayMode::automatic: return "auto";
    case RelayMode::splice: return "splice";
    case RelayMode::copy: return "copy";
    }
    return "unknown";
}

void introduce(Log& log, const Config& config, const Proxy& proxy, std::size_t descriptors) {
    const auto say = [&log](const std::string& text) { log.on_event(LogLevel::info, text); };
    utsname system{};
    ::uname(&system);
    say(fmt::format("eplb {} on {} {}, pid {}", EPLB_VERSION, system.sysname, system.release,
                    ::getpid()));
    say(fmt::format("limits: {} open files, {} connections", descriptors, proxy.max_connections()));
    say(fmt::format("data path: {} worker{}, busy poll {}", config.workers,
                    config.workers == 1 ? "" : "s", format_duration(config.busy_poll)));
    const std::vector<Address> listeners = proxy.listen_addresses();
    auto listener = listeners.begin();
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        const ServiceConfig& service = config.services[i];
        const std::size_t pipe_bytes =
            service.pipe_bytes != 0 ? service.pipe_bytes : RelayContext::Options{}.pipe_bytes;
        say(fmt::format(
            "service {}: relay {}, pipes of {}; timeouts: connect {}, idle {}, "
            "half-close {}, drain {}",
            service.name, name_of(service.relay), format_size(pipe_bytes),
            format_duration(service.connect_timeout), format_duration(service.idle_timeout),
            format_duration(service.half_close_timeout), format_duration(service.drain_timeout)));
        const std::string& interface = service.socket.interface;
        const bool late = !interface.empty() && ::if_nametoindex(interface.c_str()) == 0;
        for (std::size_t n = 0; n < service.listen.size(); ++n, ++listener) {
            say(fmt::format("{}listening on {}", late && !listener->is_unix() ? "not yet " : "",
                            listener->to_string()));
        }
        for (const BackendConfig& backend : service.backends) {
            say(fmt::format("backend {}{}{} weight {}", backend.name,
                            backend.name.empty() ? "" : "/", backend.address.to_string(),
                            backend.weight));
        }
    }
    for (const std::string& service : control::services_without_backends(config))
        log.on_event(LogLevel::warning, control::not_ready_text(service));
    say("ready");
}

// What has happened has happened, with or without the memory for a line.
template <class... Arguments>
void tell(Log& log, LogLevel level, fmt::format_string<const Arguments&...> what,
          const Arguments&... arguments) noexcept {
    try {
        log.on_event(level, fmt::format(what, arguments...));
    } catch (const std::bad_alloc&) {
        return;
    }
}

// What `eplb reload` asks for. It may compare any file, but go over to none but ours.
void answer_request(control::Reloader& reloader, const std::optional<std::filesystem::path>& own,
                    std::string_view line, const control::ControlServer::Answer& answer) {
    using Outcome = control::Reloader::Outcome;
    try {
        control::Reloader::Request request = control::decode_request(line);
        std::error_code ignored;
        const bool same =
            own && request.file && std::filesystem::equivalent(*own, *request.file, ignored);
        if (!own && !request.dry_run)
            throw std::invalid_argument("it was started without a configuration file");
        if (!same && !request.dry_run && request.file) {
            throw std::invalid_argument(fmt::format(
                "it was started with {}; only --dry-run takes another file", own->string()));
        }
        if (!request.dry_run) request.file.reset();
        reloader.request(std::move(request),
                         [answer](const Outcome& outcome) { answer(control::encode(outcome)); });
    } catch (const std::exception& error) {
        answer(control::encode({Outcome::Kind::failed, fmt::format("{}\n", describe(error))}));
    }
}

std::unique_ptr<control::ControlServer> open_control(Reactor& reactor, control::Reloader& reloader,
                                                     const std::string& where,
                                                     const control::ConfigSource& source) {
    if (where == "off") return nullptr;
    return std::make_unique<control::ControlServer>(
        reactor, Address::parse(where),
        [&reloader, own = source.file](std::string_view line,
                                       const control::ControlServer::Answer& answer) {
            answer_request(reloader, own, line, answer);
        });
}

// Asks for the names of backends, and makes backends of the answers. Takes as long as a question may,
// or until `is_over`. Returns what is wrong with them.
control::Diagnostics learn_names(Reactor& reactor, control::Names& names,
                                 control::ResolvedSettings& resolved, bool strict,
                                 const std::function<bool()>& is_over) {
    const control::Settings& settings = resolved.settings;
    const bool wait = settings.dns.values.missing == control::MissingName::wait && !strict;
    names.set_judge(
        std::make_unique<control::NameJudge>(settings, resolved.config, resolved.config.workers));
    bool learnt = false;
    names.learn(control::backend_addresses(settings), [&learnt] { learnt = true; });
    while (!learnt && !is_over()) reactor.run_once(Duration{-1});
    control::Diagnostics diagnostics;
    control::set_backends(resolved.config, settings, names.answers(), diagnostics,
                          [wait](std::string_view) { return wait; });
    // Better a service that waits than none at all after a power cut, when the name server is slower.
    // Nor is a file that a reload took refused, whose backends have no weight: that was warned of.
    resolved.config.may_lack_backends = true;
    return diagnostics;
}

// Without memory nobody dies who need not. Sessions see to themselves; what else there is to do, a
// check or a reload, is tried again, or given up by who does it.
void turn_until_stopped(Reactor& reactor, Log& log) {
    TimePoint told = TimePoint::min();
    for (;;) {
        try {
            return reactor.run();
        } catch (const std::bad_alloc&) {
            if (reactor.now() < saturating_add(told, std::chrono::seconds{1})) continue;
            told = reactor.now();
            log.on_event(LogLevel::error, "out of memory");
        }
    }
}

int serve(const CommandLine& options, control::ResolvedSettings resolved,
          const std::string& text_of_file) {
    // Before the log's thread starts, so that no signal is ever delivered to it.
    std::signal(SIGPIPE, SIG_IGN);
    const std::size_t descriptors = raise_descriptor_limit();
    Reactor reactor;
    reactor.set_busy_poll(resolved.config.busy_poll);
    std::function<void(int)> on_signal;
    SignalWatch signals{reactor, {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}, [&](int signal) {
                            on_signal(signal);
                        }};
    const auto log_values = [&options](control::LogValues values) {
        if (options.quiet) values.level = std::max(values.level, LogLevel::warning);
        return values;
    };
    Log log{log_values(resolved.settings.log.values)};
    if (!log.problem().empty())
        tell_standard_error(fmt::format("eplb: {}; its lines wait\n", log.problem()));
    std::unique_ptr<control::Names> names = control::make_names(
        reactor, resolved.settings.dns.values, control::SystemNames::read(), log);
    const auto obey_log_signal = [&log](int signal) {
        if (signal == SIGUSR1) log.reopen();
        if (signal == SIGUSR2) log.on_event(LogLevel::info, "SIGUSR2 ignored: it means nothing");
        return signal == SIGUSR1 || signal == SIGUSR2;
    };
    bool stopped_early = false;
    bool reload_early = false;
    on_signal = [&](int signal) {
        if (obey_log_signal(signal)) return;
        (signal == SIGHUP ? reload_early : stopped_early) = true;
    };
    const control::Diagnostics lookups =
        learn_names(reactor, *names, resolved, options.strict, [&] { return stopped_early; });
    if (stopped_early) {
        log.on_event(LogLevel::info, "stopped");
        return EXIT_SUCCESS;
    }
    const std::string file = options.source.file ? options.source.file->string() : "options";
    if (lookups.has_errors()) {
        tell_standard_error(control::to_text(lookups, file, text_of_file));
        return exit_failure;
    }
    for (const control::Diagnostic& warning : lookups.sorted())
        log.on_event(LogLevel::warning, warning.message);
    Proxy proxy{reactor, resolved.config, log};
    control::Reloader reloader{reactor,
                               proxy,
                               log,
                               options.source,
                               std::move(resolved),
                               std::move(names),
                               {.prepare_log = [&](const control::LogValues& values) {
                                   return log.prepare(log_values(values));
                               }}};

    const std::unique_ptr<control::ControlServer> control_server = open_control(
        reactor, reloader, reloader.running().settings.process.values.control, options.source);
    introduce(log, reloader.running().config, proxy, descriptors);

    bool stopping = false;
    const auto stop = [&](int signal) {
        if (stopping) {
            tell(log, LogLevel::warning, "SIG{} again: resetting {} sessions",
                 ::sigabbrev_np(signal), proxy.active_sessions());
            proxy.reset_sessions();
            return;
        }
        tell(log, LogLevel::info, "SIG{}: no longer accepting", ::sigabbrev_np(signal));
        reloader.stop();
        if (control_server) control_server->close();  // a successor may begin while sessions finish
        try {
            proxy.drain([&](std::size_t) { reactor.stop(); });
            stopping = true;
        } catch (const std::bad_alloc&) {
            ::kill(::getpid(), signal);  // it is pending until we have a look again
            throw;
        }
    };
    const auto reload = [&] {
        if (stopping) return;
        if (!options.source.file) {
            log.on_event(LogLevel::warning,
                         "SIGHUP ignored: there is no configuration file to read again");
            return;
        }
        tell(log, LogLevel::info, "SIGHUP: reading {} again", options.source.file->native());
        control::Reloader::Request request;
        request.strict = options.strict;
        try {
            reloader.request(std::move(request));
        } catch (const std::bad_alloc&) {
            log.on_event(LogLevel::error,
                         "not reloaded: out of memory; the old configuration keeps serving");
        }
    };
    on_signal = [&](int signal) {
        if (obey_log_signal(signal)) return;
        if (signal == SIGHUP) {
            reload();
        } else {
            stop(signal);
        }
    };
    if (reload_early) reload();  // the file may have changed since it was read
    turn_until_stopped(reactor, log);

    // Another signal on our way out must not turn a clean exit into a death.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2})
        std::signal(signal, SIG_IGN);
    log.on_event(LogLevel::info, "stopped");
    // Whoever reads the log may not, and a name server may not answer: do not wait for them.
    if (!log.finish() || reloader.is_reading()) ::_exit(EXIT_SUCCESS);
    return EXIT_SUCCESS;
}

void complain(std::string_view message) { tell_standard_error(fmt::format("eplb: {}\n", message)); }

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
    return serve(options, std::move(resolved), config.text);
}

}  // namespace
}  // namespace eplb::app

int main(int argc, char** argv) {
    using namespace eplb::app;
    hold_signals();
    try {
        const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
        if (!arguments.empty() && arguments.front() == "reload") {
            release_signals();
            return run_reload_command({arguments.begin() + 1, arguments.end()});
        }
        const CommandLine options = parse_command_line(arguments);
        if (options.answer || options.action != CommandLine::Action::serve) release_signals();
        return options.answer ? print(*options.answer) : run(options);
    } catch (const UsageError& error) {
        complain(error.what());
        complain("try: eplb --help");
        return exit_usage;
    } catch (const eplb::control::ConfigError& error) {
        complain(error.what());
        return exit_usage;
    } catch (const std::invalid_argument& error) {
        complain(error.what());
        return exit_usage;
    } catch (const std::exception& error) {
        complain(eplb::describe(error));
        return exit_failure;
    }
}
