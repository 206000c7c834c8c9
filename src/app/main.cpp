#include "app/command_line.hpp"
#include "app/log.hpp"
#include "app/version.hpp"
#include "base/duration.hpp"
#include "base/size.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fmt/format.h>
#include <functional>
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

void introduce(Log& log, const CommandLine& options, const Proxy& proxy, std::size_t descriptors) {
    const auto say = [&log](const std::string& text) { log.on_event(LogLevel::info, text); };
    utsname system{};
    ::uname(&system);
    const ServiceConfig& service = options.config.services.front();
    say(fmt::format("eplb {} on {} {}, pid {}", version, system.sysname, system.release,
                    ::getpid()));
    const Config& config = options.config;
    const std::size_t pipe_bytes =
        config.pipe_bytes != 0 ? config.pipe_bytes : RelayContext::Options{}.pipe_bytes;
    say(fmt::format("limits: {} open files, {} connections", descriptors, proxy.max_connections()));
    say(fmt::format("data path: {} worker{}, relay {}, pipes of {}, busy poll {}", config.workers,
                    config.workers == 1 ? "" : "s", name_of(config.relay), format_size(pipe_bytes),
                    format_duration(config.busy_poll)));
    say(fmt::format("timeouts: connect {}, idle {}, half-close {}, drain {}",
                    format_duration(service.connect_timeout), format_duration(service.idle_timeout),
                    format_duration(service.half_close_timeout),
                    format_duration(options.drain_timeout)));
    for (const Address& address : proxy.listen_addresses()) {
        say(fmt::format("listening on {}", address.to_string()));
    }
    for (const BackendConfig& backend : service.backends) {
        say(fmt::format("backend {}{}{} weight {}", backend.name, backend.name.empty() ? "" : "/",
                        backend.address.to_string(), backend.weight));
    }
    say("ready");
}

int serve(const CommandLine& options) {
    // Before the log's thread starts, so that no signal is ever delivered to it.
    std::signal(SIGPIPE, SIG_IGN);
    const std::size_t descriptors = raise_descriptor_limit();
    Reactor reactor;
    reactor.set_busy_poll(options.config.busy_poll);
    std::function<void(int)> on_signal;
    SignalWatch signals{reactor, {SIGTERM, SIGINT, SIGHUP}, [&](int signal) { on_signal(signal); }};
    Log log{options.log_format, options.log_level};
    Proxy proxy{reactor, options.config, log};

    bool stopping = false;
    on_signal = [&](int signal) {
        if (signal == SIGHUP) {
            log.on_event(LogLevel::warning,
                         "SIGHUP ignored: there is no configuration file to read again");
            return;
        }
        if (std::exchange(stopping, true)) {
            log.on_event(LogLevel::warning,
                         fmt::format("SIG{} again: resetting {} sessions", ::sigabbrev_np(signal),
                                     proxy.active_sessions()));
            proxy.reset_sessions();
            return;
        }
        log.on_event(LogLevel::info,
                     fmt::format("SIG{}: no longer accepting", ::sigabbrev_np(signal)));
        proxy.drain(options.drain_timeout, [&](std::size_t) { reactor.stop(); });
    };
    introduce(log, options, proxy, descriptors);
    reactor.run();

    // Another signal on our way out must not turn a clean exit into a death.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) std::signal(signal, SIG_IGN);
    log.on_event(LogLevel::info, "stopped");
    if (!log.finish())
        ::_exit(EXIT_SUCCESS);  // whoever reads the log does not: do not wait for them
    return EXIT_SUCCESS;
}

void complain(std::string_view message) { fmt::print(stderr, "eplb: {}\n", message); }

}  // namespace
}  // namespace eplb::app

int main(int argc, char** argv) {
    using namespace eplb::app;
    try {
        const CommandLine options =
            parse_command_line(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
        if (options.answer) {
            fmt::print("{}", *options.answer);
            return std::fflush(stdout) == 0 ? EXIT_SUCCESS : exit_failure;
        }
        return serve(options);
    } catch (const UsageError& error) {
        complain(error.what());
        complain("try: eplb --help");
        return exit_usage;
    } catch (const std::invalid_argument& error) {
        complain(error.what());
        return exit_usage;
    } catch (const std::exception& error) {
        complain(error.what());
        return exit_failure;
    }
}
