#include "control/reloader.hpp"

#include "base/describe.hpp"
#include "base/threads.hpp"
#include "control/config_text.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <ranges>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
}

}  // namespace

struct Reloader::Loaded {
    ConfigSource source;
    LoadedConfig file;
    ResolvedSettings wanted;
    std::string report;  // what the diagnostics say
    bool usable = false;
    Outcome::Kind kind = Outcome::Kind::invalid;  // if it is not usable
    NewLog log;
};

Reloader::Reloader(Reactor& reactor, Proxy& proxy, ProxyObserver& observer, ConfigSource source,
                   ResolvedSettings running, std::unique_ptr<Names> names, Hooks hooks)
    : reactor_{reactor},
      proxy_{proxy},
      observer_{observer},
      source_{std::move(source)},
      running_{std::move(running)},
      hooks_{std::move(hooks)},
      names_{std::move(names)} {
    keep_names();
}

Reloader::~Reloader() {
    if (reading_.joinable()) reading_.join();
}

void Reloader::request(Request request, Done done) {
    // Whoever asked twice before it began gets it once: a storm of SIGHUPs is one wish.
    const bool plain = !done && !request.dry_run && !request.force && !request.file;
    if (plain && !pending_.empty() && (!busy_ || pending_.size() > 1)) {
        const Pending& last = pending_.back();
        if (!last.done && !last.names_only && !last.request.dry_run && !last.request.force) return;
    }
    pending_.push_back({std::move(request), std::move(done)});
    if (!busy_) begin_next();
}

void Reloader::begin_next() {
    if (pending_.empty() || stopped_) return;
    busy_ = true;
    if (pending_.front().names_only) return go_over_to_names();
    read_file();
}

void Reloader::read_file() {
    if (reading_.joinable()) reading_.join();
    const Request& request = pending_.front().request;
    auto loaded = std::make_shared<Loaded>();
    loaded->source = source_;
    loaded->source.may_lack_backends = true;  // the plan judges that
    if (request.file) loaded->source.file = request.file;
    auto read = [this, request, loaded, alive = std::weak_ptr<bool>{alive_}] {
        try {
            LoadedConfig& file = loaded->file;
            file = load_config(loaded->source);
            if (!file.diagnostics.has_errors())
                loaded->wanted.config = resolve(file.settings, file.diagnostics);
            loaded->report = file.report(loaded->source);
            loaded->usable =
                !file.diagnostics.has_errors() && !(request.strict && !file.diagnostics.empty());
            loaded->wanted.settings = file.settings;
            if (loaded->usable && !request.dry_run) prepare_log(*loaded);
        } catch (const std::exception& error) {
            loaded->report = fmt::format("{}\n", describe(error));
            loaded->usable = false;
        }
        reactor_.post([this, loaded, alive] {
            if (!alive.expired()) on_loaded(loaded);
        });
    };
    try {
        reading_ = start_without_signals(std::move(read));
        reading_now_ = true;
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("cannot start a thread: {}\n", error.what())});
    }
}

void Reloader::prepare_log(Loaded& loaded) const {
    if (!hooks_.prepare_log) return;
    try {
        loaded.log = hooks_.prepare_log(loaded.wanted.settings.log.values);
    } catch (const std::exception& error) {
        loaded.kind = Outcome::Kind::failed;
        loaded.report += fmt::format("{}\n", describe(error));
        loaded.usable = false;
    }
}

// Other servers may be asked from now on, or the system has others: so the names of every
// configuration are its own, which take over what is known.
void Reloader::on_loaded(const std::shared_ptr<Loaded>& loaded) {
    reading_now_ = false;
    if (!loaded->usable) return finish({loaded->kind, loaded->report});
    if (stopped_) return finish({Outcome::Kind::failed, "it is stopping\n"});
    try {
        const Settings& settings = loaded->wanted.settings;
        candidate_ = make_names(reactor_, settings.dns.values, observer_);
        candidate_->adopt(*names_);
        candidate_->learn(backend_addresses(settings), [this, loaded] { on_learnt(*loaded); });
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("{}\n", error.what())});
    }
}

void Reloader::on_learnt(Loaded& loaded) {
    candidate_->adopt(*names_);  // what has been answered meanwhile
    Diagnostics& diagnostics = loaded.file.diagnostics;
    set_backends(loaded.wanted.config, loaded.wanted.settings, candidate_->answers(), diagnostics);
    loaded.report = loaded.file.report(loaded.source);
    loaded.usable = !diagnostics.has_errors();
    ReloadPlan plan;
    Outcome outcome = judge(loaded, plan);
    const bool wanted =
        outcome.kind == Outcome::Kind::changed || outcome.kind == Outcome::Kind::unchanged;
    if (!wanted || pending_.front().request.dry_run) return finish(outcome);
    if (stopped_) return finish({Outcome::Kind::failed, "it is stopping\n"});
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
            if (lacked_before(service, loaded)) continue;
            outcome.kind = Outcome::Kind::refused;
            outcome.report += fmt::format(
                "service {} would have no backend that takes connections; --force does it all the "
                "same\n",
                service);
        }
    }
    return outcome;
}

// Nothing is taken from a service that waits for its names to answer, and goes on waiting.
bool Reloader::lacked_before(const std::string& service, const Loaded& loaded) const {
    const auto is_it = [&](const ServiceConfig& config) { return config.name == service; };
    const auto& running = running_.config.services;
    const auto before = std::ranges::find_if(running, is_it);
    if (before == running.end() ||
        std::ranges::any_of(before->backends, [](const BackendConfig& b) { return b.weight > 0; }))
        return false;
    const NameAnswers answers = candidate_->answers();
    const auto waits = [&](const Section<BackendValues>& backend) {
        const auto answer = answers.find(backend.values.address.text);
        return backend.values.weight > 0 && answer != answers.end() &&
               answer->second.status != NameAnswer::Status::good;
    };
    return std::ranges::any_of(loaded.wanted.settings.services, [&](const Service& wanted) {
        return wanted.values.config.name == service && std::ranges::any_of(wanted.backends, waits);
    });
}

void Reloader::go_over(const Loaded& loaded, Outcome outcome) {
    Config config = loaded.wanted.config;
    config.may_lack_backends = true;  // the plan has judged that
    if (!loaded.log.problem.empty()) outcome.report += loaded.log.problem + '\n';
    try {
        proxy_.apply(config, [this, outcome = std::move(outcome), alive = std::weak_ptr{alive_}] {
            if (!alive.expired()) finish(outcome);
        });
        if (loaded.log.go_over) loaded.log.go_over();
        running_ = loaded.wanted;
        names_ = std::move(candidate_);
        keep_names();
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("{}\n", error.what())});
    }
}

void Reloader::keep_names() {
    names_->keep(backend_addresses(running_.settings), [this] { on_names_changed(); });
}

void Reloader::on_names_changed() {
    const bool waits = std::ranges::any_of(
        std::ranges::subrange(pending_.begin() + (busy_ ? 1 : 0), pending_.end()),
        [](const Pending& pending) { return pending.names_only; });
    if (waits) return;
    pending_.push_back({.request = {}, .done = {}, .names_only = true});
    if (!busy_) begin_next();
}

void Reloader::go_over_to_names() {
    ResolvedSettings wanted = running_;
    Diagnostics told_already;
    set_backends(wanted.config, wanted.settings, names_->answers(), told_already);
    wanted.config.may_lack_backends = true;  // names only ever add to a service without backends
    const ReloadPlan plan = plan_reload(running_, wanted, proxy_.backends());
    if (!plan.changes) return end_turn();  // a reload was quicker
    try {
        proxy_.apply(wanted.config, [this, alive = std::weak_ptr{alive_}] {
            if (!alive.expired()) end_turn();
        });
        running_ = std::move(wanted);
        for (const std::string& line : plan.lines) {
            if (line.starts_with('=')) continue;
            observer_.on_event(LogLevel::info, fmt::format("names: {}", line));
        }
    } catch (const std::exception& error) {
        observer_.on_event(LogLevel::error,
                           fmt::format("names: {}; the old addresses keep serving", error.what()));
        end_turn();
    }
}

void Reloader::end_turn() {
    pending_.pop_front();
    busy_ = false;
    begin_next();
}

void Reloader::finish(const Outcome& outcome) {
    const Pending finished = std::move(pending_.front());
    pending_.pop_front();
    busy_ = false;
    candidate_.reset();
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
