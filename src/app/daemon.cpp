#include "app/daemon.hpp"

#include "app/command_line.hpp"
#include "app/introduction.hpp"
#include "app/log_target.hpp"
#include "base/describe.hpp"
#include "base/saturating.hpp"
#include "config/config_text.hpp"
#include "control/control_protocol.hpp"
#include "control/name_judge.hpp"
#include "discovery/resolver.hpp"
#include "eplb/address.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace eplb::app {
namespace {

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

// A pipe or socket that nobody reads is an error of write(2). Returns how many files may be open.
std::size_t prepare_process() noexcept {
    std::signal(SIGPIPE, SIG_IGN);
    return raise_descriptor_limit();
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

}  // namespace

Daemon::Daemon(const CommandLine& options, const control::ResolvedSettings& resolved)
    : options_{options},
      descriptors_{prepare_process()},
      signals_{reactor_,
               {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2},
               [this](int signal) { on_signal(signal); }},
      log_{log_values(resolved.settings.log.values)} {
    reactor_.set_busy_poll(resolved.config.busy_poll);
    if (!log_.problem().empty())
        tell_standard_error(fmt::format("eplb: {}; its lines wait\n", log_.problem()));
    names_ = control::make_names(reactor_, resolved.settings.dns.values,
                                 control::SystemNames::read(), log_);
}

bool Daemon::run(control::ResolvedSettings resolved, std::string_view text_of_file) {
    const control::Diagnostics lookups = learn_names(resolved);
    if (stop_wanted_) {
        log_.on_event(LogLevel::info, "stopped");
        return true;
    }
    if (lookups.has_errors()) {
        const std::string file = options_.source.file ? options_.source.file->string() : "options";
        tell_standard_error(control::to_text(lookups, file, text_of_file));
        return false;
    }
    for (const control::Diagnostic& warning : lookups.sorted())
        log_.on_event(LogLevel::warning, warning.message);
    open(std::move(resolved));
    introduce(log_, reloader_->running().config, *proxy_, descriptors_);
    phase_ = Phase::serving;
    if (reload_wanted_) reload();  // the file may have changed since it was read
    turn_until_stopped();
    leave();
    return true;
}

control::LogValues Daemon::log_values(control::LogValues values) const noexcept {
    if (options_.quiet) values.level = std::max(values.level, LogLevel::warning);
    return values;
}

// Asks for the names of backends, and makes backends of the answers. Takes as long as a question may,
// or until a signal wants us to stop. Returns what is wrong with them.
control::Diagnostics Daemon::learn_names(control::ResolvedSettings& resolved) {
    const control::Settings& settings = resolved.settings;
    const bool wait = settings.dns.values.missing == control::MissingName::wait && !options_.strict;
    names_->set_judge(
        std::make_unique<control::NameJudge>(settings, resolved.config, resolved.config.workers));
    bool learnt = false;
    names_->learn(control::backend_addresses(settings), [&learnt] { learnt = true; });
    while (!learnt && !stop_wanted_) reactor_.run_once(Duration{-1});
    control::Diagnostics diagnostics;
    control::set_backends(resolved.config, settings, names_->answers(), diagnostics,
                          [wait](std::string_view) { return wait; });
    // Better a service that waits than none at all after a power cut, when the name server is slower.
    // Nor is a file that a reload took refused, whose backends have no weight: that was warned of.
    resolved.config.may_lack_backends = true;
    return diagnostics;
}

void Daemon::open(control::ResolvedSettings resolved) {
    proxy_.emplace(reactor_, resolved.config, log_);
    reloader_.emplace(
        reactor_, *proxy_, log_, options_.source, std::move(resolved), std::move(names_),
        control::Reloader::Hooks{.prepare_log = [this](const control::LogValues& values) {
            return log_.prepare(log_values(values));
        }});
    control_ = open_control(reactor_, *reloader_,
                            reloader_->running().settings.process.values.control, options_.source);
}

// Without memory nobody dies who need not. Sessions see to themselves; what else there is to do, a
// check or a reload, is tried again, or given up by who does it.
void Daemon::turn_until_stopped() {
    TimePoint told = TimePoint::min();
    for (;;) {
        try {
            return reactor_.run();
        } catch (const std::bad_alloc&) {
            if (reactor_.now() < saturating_add(told, std::chrono::seconds{1})) continue;
            told = reactor_.now();
            log_.on_event(LogLevel::error, "out of memory");
        }
    }
}

void Daemon::leave() noexcept {
    // Another signal on our way out must not turn a clean exit into a death.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2})
        std::signal(signal, SIG_IGN);
    log_.on_event(LogLevel::info, "stopped");
    // Whoever reads the log may not, and a name server may not answer: do not wait for them.
    if (!log_.finish() || reloader_->is_reading()) ::_exit(EXIT_SUCCESS);
}

void Daemon::on_signal(int signal) {
    switch (signal) {
    case SIGHUP: return on_hangup();
    case SIGUSR1: return on_user1();
    case SIGUSR2: return on_user2();
    default: break;
    }
    if (phase_ == Phase::draining) {
        on_terminate_again(signal);
    } else {
        on_terminate(signal);
    }
}

void Daemon::on_hangup() {
    switch (phase_) {
    case Phase::learning: reload_wanted_ = true; break;
    case Phase::serving: reload(); break;
    case Phase::draining: break;
    }
}

void Daemon::on_terminate(int signal) {
    if (phase_ == Phase::learning) {
        stop_wanted_ = true;
        return;
    }
    tell(log_, LogLevel::info, "SIG{}: no longer accepting", ::sigabbrev_np(signal));
    reloader_->stop();
    if (control_) control_->close();  // a successor may begin while sessions finish
    try {
        proxy_->drain([this](std::size_t) { reactor_.stop(); });
        phase_ = Phase::draining;
    } catch (const std::bad_alloc&) {
        ::kill(::getpid(), signal);  // it is pending until we have a look again
        throw;
    }
}

void Daemon::on_terminate_again(int signal) noexcept {
    tell(log_, LogLevel::warning, "SIG{} again: resetting {} sessions", ::sigabbrev_np(signal),
         proxy_->active_sessions());
    proxy_->reset_sessions();
}

void Daemon::on_user1() noexcept { log_.reopen(); }

void Daemon::on_user2() noexcept {
    log_.on_event(LogLevel::info, "SIGUSR2 ignored: it means nothing");
}

void Daemon::reload() {
    if (!options_.source.file) {
        log_.on_event(LogLevel::warning,
                      "SIGHUP ignored: there is no configuration file to read again");
        return;
    }
    tell(log_, LogLevel::info, "SIGHUP: reading {} again", options_.source.file->native());
    control::Reloader::Request request;
    request.strict = options_.strict;
    try {
        reloader_->request(std::move(request));
    } catch (const std::bad_alloc&) {
        log_.on_event(LogLevel::error,
                      "not reloaded: out of memory; the old configuration keeps serving");
    }
}

}  // namespace eplb::app
