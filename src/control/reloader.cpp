#include "control/reloader.hpp"

#include "control/config_text.hpp"
#include "eplb/reactor.hpp"

#include <csignal>
#include <exception>
#include <fmt/format.h>
#include <pthread.h>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

// The thread is none that signals are for.
std::thread start_without_signals(std::function<void()> run) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread{std::move(run)};
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
}

}  // namespace

struct Reloader::Loaded {
    ResolvedSettings wanted;
    std::string report;  // what the diagnostics say
    bool usable = false;
};

Reloader::Reloader(Reactor& reactor, Proxy& proxy, ProxyObserver& observer, ConfigSource source,
                   ResolvedSettings running, Hooks hooks)
    : reactor_{reactor},
      proxy_{proxy},
      observer_{observer},
      source_{std::move(source)},
      running_{std::move(running)},
      hooks_{std::move(hooks)} {}

Reloader::~Reloader() {
    if (reading_.joinable()) reading_.join();
}

void Reloader::request(Request request, Done done) {
    // Whoever asked twice before it began gets it once: a storm of SIGHUPs is one wish.
    const bool plain = !done && !request.dry_run && !request.force && !request.file;
    if (plain && !pending_.empty() && (!busy_ || pending_.size() > 1)) {
        const Pending& last = pending_.back();
        if (!last.done && !last.request.dry_run && !last.request.force) return;
    }
    pending_.push_back({std::move(request), std::move(done)});
    if (!busy_) begin_next();
}

void Reloader::begin_next() {
    if (pending_.empty() || stopped_) return;
    busy_ = true;
    if (reading_.joinable()) reading_.join();
    const Request& request = pending_.front().request;
    ConfigSource source = source_;
    source.may_lack_backends = true;  // the plan judges that
    if (request.file) source.file = request.file;
    auto loaded = std::make_shared<Loaded>();
    auto read = [this, source = std::move(source), strict = request.strict, loaded,
                 alive = std::weak_ptr<bool>{alive_}] {
        try {
            LoadedConfig config = load_config(source);
            if (!config.diagnostics.has_errors())
                loaded->wanted.config = resolve(config.settings, config.diagnostics);
            loaded->report = config.report(source);
            loaded->usable =
                !config.diagnostics.has_errors() && !(strict && !config.diagnostics.empty());
            loaded->wanted.settings = std::move(config.settings);
        } catch (const std::exception& error) {
            loaded->report = fmt::format("{}\n", error.what());
        }
        reactor_.post([this, loaded, alive] {
            if (!alive.expired()) on_loaded(*loaded);
        });
    };
    try {
        reading_ = start_without_signals(std::move(read));
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("cannot start a thread: {}\n", error.what())});
    }
}

void Reloader::on_loaded(const Loaded& loaded) {
    ReloadPlan plan;
    Outcome outcome = judge(loaded, plan);
    const bool wanted =
        outcome.kind == Outcome::Kind::changed || outcome.kind == Outcome::Kind::unchanged;
    if (!wanted || pending_.front().request.dry_run || stopped_) return finish(outcome);
    go_over(loaded, std::move(outcome));
}

Reloader::Outcome Reloader::judge(const Loaded& loaded, ReloadPlan& plan) const {
    if (!loaded.usable) return {Outcome::Kind::invalid, loaded.report};
    const std::vector<BackendStatus> backends = proxy_.backends();
    plan = plan_reload(running_, loaded.wanted, backends);
    Outcome outcome{plan.changes ? Outcome::Kind::changed : Outcome::Kind::unchanged,
                    loaded.report + joined(plan.lines)};
    if (!pending_.front().request.force) {
        for (const std::string& service : plan.deserted_services) {
            outcome.kind = Outcome::Kind::refused;
            outcome.report += fmt::format(
                "service {} would have no backend that takes connections; --force does it all the "
                "same\n",
                service);
        }
    }
    return outcome;
}

void Reloader::go_over(const Loaded& loaded, Outcome outcome) {
    Config config = loaded.wanted.config;
    config.may_lack_backends = pending_.front().request.force;
    try {
        change_log(loaded.wanted.settings.log.values);
        proxy_.apply(config, [this, outcome = std::move(outcome), alive = std::weak_ptr{alive_}] {
            if (!alive.expired()) finish(outcome);
        });
        running_ = loaded.wanted;
    } catch (const std::exception& error) {
        change_log_back();
        finish({Outcome::Kind::failed, fmt::format("{}\n", error.what())});
    }
}

void Reloader::change_log(const LogValues& values) {
    if (hooks_.on_log) hooks_.on_log(values);
}

void Reloader::change_log_back() noexcept {
    try {
        change_log(running_.settings.log.values);
    } catch (const std::exception&) {
        // Its file cannot be opened any more: it goes on as it is.
        return;
    }
}

void Reloader::finish(const Outcome& outcome) {
    const Pending finished = std::move(pending_.front());
    pending_.pop_front();
    busy_ = false;
    if (!finished.request.dry_run) log(outcome);
    if (finished.done) finished.done(outcome);
    begin_next();
}

void Reloader::log(const Outcome& outcome) const {
    LogLevel level = LogLevel::info;
    std::string_view verdict;
    switch (outcome.kind) {
    case Outcome::Kind::unchanged: verdict = "reloaded: nothing has changed"; break;
    case Outcome::Kind::changed: verdict = "reloaded"; break;
    case Outcome::Kind::refused:
    case Outcome::Kind::invalid:
    case Outcome::Kind::failed:
        level = LogLevel::error;
        verdict = "not reloaded; the old configuration keeps serving";
        break;
    }
    std::string_view rest = outcome.report;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        observer_.on_event(level, fmt::format("reload: {}", rest.substr(0, end)));
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    observer_.on_event(level, verdict);
}

}  // namespace eplb::control
