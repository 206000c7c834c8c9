#include "control/reloader.hpp"

#include "base/describe.hpp"
#include "config/config_text.hpp"
#include "discovery/resolver.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <ranges>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

// Short enough for a string to need none.
constexpr const char* out_of_memory = "out of memory\n";

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
}

}  // namespace

// What is to be gone over to, as far as it is known. Only one thread at a time has it.
struct Reloader::Loaded {
    Request request;
    ConfigSource source;
    LoadedConfig file;
    std::shared_ptr<ResolvedSettings> wanted = std::make_shared<ResolvedSettings>();
    std::vector<std::string> names;  // of its backends
    SystemNames system;              // of this moment
    std::unique_ptr<NameJudge> judge;
    NameAnswers answers;
    std::vector<std::pair<LogLevel, std::string>> readiness;  // of services, where it changes
    std::string report;                                       // what the diagnostics say
    bool usable = false;
    Outcome outcome;
    ReloadPlan plan;
    std::optional<PreparedConfig> prepared;
    NewLog log;
    Diagnostics kernel;                             // what it refuses, or what is not there now
    std::shared_ptr<const OwnListeners> listeners;  // that it would have

    [[nodiscard]] std::string kernel_report() const {
        return to_text(kernel, source.file ? source.file->string() : "eplb", file.text);
    }
};

namespace {

// Nothing is taken from a service that waits for its names to answer, and goes on waiting.
class Waiting {
public:
    Waiting(const ResolvedSettings& running, const ResolvedSettings& wanted,
            const NameAnswers& answers)
        : answers_{answers} {
        for (const ServiceConfig& service : running.config.services)
            running_.emplace(service.name, &service);
        for (const Service& service : wanted.settings.services)
            wanted_.emplace(service.values.config.name, &service);
    }

    [[nodiscard]] bool lacked_before(const std::string& service) const {
        const auto before = running_.find(service);
        if (before == running_.end() ||
            std::ranges::any_of(before->second->backends,
                                [](const BackendConfig& b) { return b.weight > 0; }))
            return false;
        const auto waits = [&](const Section<BackendValues>& backend) {
            const auto question = NameQuestion::parse(backend.values.address.text);
            if (!question) return false;
            const auto answer = answers_.find(question->key());
            return backend.values.weight > 0 && answer != answers_.end() &&
                   answer->second.status != NameAnswer::Status::good;
        };
        const auto wanted = wanted_.find(service);
        return wanted != wanted_.end() && std::ranges::any_of(wanted->second->backends, waits);
    }

private:
    const NameAnswers& answers_;
    std::unordered_map<std::string_view, const ServiceConfig*> running_;
    std::unordered_map<std::string_view, const Service*> wanted_;
};

// Those that are to be asked for.
std::vector<std::string> names_of(const Settings& settings) {
    std::vector<std::string> names = backend_addresses(settings);
    std::erase_if(names, [](const std::string& address) {
        return !NameQuestion::parse(address).has_value();
    });
    return names;
}

std::unordered_set<std::string> keys_of(const std::vector<std::string>& names) {
    std::unordered_set<std::string> keys;
    for (const std::string& name : names) keys.insert(NameQuestion::parse(name)->key());
    return keys;
}

std::vector<std::pair<LogLevel, std::string>> readiness_of(const Config& before,
                                                           const Config& now) {
    std::vector<std::pair<LogLevel, std::string>> lines;
    const std::vector<std::string> old = services_without_backends(before);
    const std::vector<std::string> waiting = services_without_backends(now);
    if (old.empty() && waiting.empty()) return lines;
    const std::unordered_set<std::string> waited{old.begin(), old.end()};
    const std::unordered_set<std::string> waits{waiting.begin(), waiting.end()};
    for (const std::string& service : waiting) {
        if (!waited.contains(service))
            lines.emplace_back(LogLevel::warning, not_ready_text(service));
    }
    for (const ServiceConfig& service : now.services) {
        if (waited.contains(service.name) && !waits.contains(service.name))
            lines.emplace_back(LogLevel::info, fmt::format("service {} is ready", service.name));
    }
    return lines;
}

}  // namespace

Reloader::Reloader(Reactor& reactor, Proxy& proxy, ProxyObserver& observer, ConfigSource source,
                   ResolvedSettings running, std::unique_ptr<Names> names, Hooks hooks)
    : reactor_{reactor},
      proxy_{proxy},
      observer_{observer},
      source_{std::move(source)},
      running_{std::make_shared<const ResolvedSettings>(std::move(running))},
      running_names_{names_of(running_->settings)},
      hooks_{std::move(hooks)},
      names_{std::move(names)},
      own_listeners_{std::make_shared<const OwnListeners>(running_->config)} {
    keep_names();
}

void Reloader::stop() {
    stopped_ = true;
    std::deque<Pending> waiting;
    while (pending_.size() > (busy_ ? 1U : 0U)) {
        waiting.push_front(std::move(pending_.back()));
        pending_.pop_back();
    }
    for (Pending& refused : waiting) refuse(std::move(refused.done));
}

void Reloader::refuse(Done done) {
    if (!done) return;
    reactor_.post([done = std::move(done)] { done({Outcome::Kind::failed, "it is stopping\n"}); });
}

void Reloader::request(Request request, Done done) {
    if (stopped_) return refuse(std::move(done));
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

// From the other thread, which has the time: nobody would know that it is done if that were lost.
void Reloader::post_when_possible(const std::function<void()>& fn) {
    for (;;) {
        try {
            return reactor_.post(fn);
        } catch (const std::bad_alloc&) {
            std::this_thread::sleep_for(std::chrono::milliseconds{100});
        }
    }
}

// Has the other thread do it, and goes on with `then`.
void Reloader::work(std::function<void(Loaded&)> what, void (Reloader::*then)(Loaded&)) {
    background_.run(
        [this, loaded = current_, what = std::move(what), then, alive = std::weak_ptr{alive_}] {
            try {
                try {
                    what(*loaded);
                } catch (const std::exception& error) {
                    loaded->usable = false;
                    loaded->outcome = {Outcome::Kind::failed, fmt::format("{}\n", describe(error))};
                }
            } catch (const std::bad_alloc&) {
                loaded->outcome.kind = Outcome::Kind::failed;
                loaded->outcome.report = out_of_memory;
            }
            post_when_possible([this, then, alive] {
                if (alive.expired()) return;
                working_ = false;
                try {
                    (this->*then)(*current_);
                } catch (const std::bad_alloc&) {
                    finish({Outcome::Kind::failed, out_of_memory});
                }
            });
        });
    working_ = true;
}

void Reloader::read_file() {
    const Request& request = pending_.front().request;
    current_ = std::make_shared<Loaded>();
    current_->request = request;
    current_->source = source_;
    current_->source.may_lack_backends = true;  // the plan judges that
    if (request.file) current_->source.file = request.file;
    const auto read = [this, own = own_listeners_](Loaded& now) {
        LoadedConfig& file = now.file;
        now.outcome.kind = Outcome::Kind::invalid;
        try {
            file = load_config(now.source);
            if (!file.diagnostics.has_errors())
                now.wanted->config = resolve(file.settings, file.diagnostics);
            now.outcome.report = file.report(now.source);
            now.usable = !file.diagnostics.has_errors() &&
                         !(now.request.strict && !file.diagnostics.empty());
            now.wanted->settings = file.settings;
            if (now.usable) {
                check_with_kernel(file.settings, now.wanted->config, KernelCheck::all, *own,
                                  now.request.force, now.kernel);
                now.listeners = std::make_shared<const OwnListeners>(now.wanted->config);
            }
            if (now.kernel.has_errors()) {
                now.outcome.kind = Outcome::Kind::refused;
                now.outcome.report += now.kernel_report();
                now.usable = false;
            }
            if (now.usable) {
                now.names = names_of(now.wanted->settings);
                now.system = SystemNames::read();
                now.judge =
                    std::make_unique<NameJudge>(now.wanted->settings, now.wanted->config, workers_);
            }
            if (now.usable && !now.request.dry_run) prepare_log(now);
        } catch (const std::exception& error) {
            now.outcome.report = fmt::format("{}\n", describe(error));
            now.usable = false;
        }
    };
    try {
        work(read, &Reloader::on_loaded);
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("{}\n", describe(error))});
    }
}

void Reloader::prepare_log(Loaded& loaded) const {
    if (!hooks_.prepare_log) return;
    try {
        loaded.log = hooks_.prepare_log(loaded.wanted->settings.log.values);
    } catch (const std::exception& error) {
        loaded.outcome.kind = Outcome::Kind::failed;
        loaded.outcome.report += fmt::format("{}\n", describe(error));
        loaded.usable = false;
    }
}

// Other servers may be asked from now on, or the system has others: so the names of every
// configuration are its own, which take over what is known.
void Reloader::on_loaded(Loaded& loaded) {
    if (!loaded.usable) return finish(loaded.outcome);
    if (stopped_) return finish({Outcome::Kind::failed, "it is stopping\n"});
    try {
        candidate_ = make_names(reactor_, loaded.wanted->settings.dns.values,
                                std::move(loaded.system), observer_);
        candidate_->set_judge(std::move(loaded.judge));
        candidate_->adopt(*names_);
        candidate_->learn(loaded.names, [this] { on_learnt(*current_); });
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("{}\n", describe(error))});
    }
}

void Reloader::on_learnt(Loaded& loaded) {
    candidate_->adopt(*names_);  // what has been answered meanwhile
    loaded.answers = candidate_->answers();
    const auto draft = [this, running = running_](Loaded& now) {
        Diagnostics& diagnostics = now.file.diagnostics;
        ResolvedSettings& wanted = *now.wanted;
        // A name that is not there is most likely a slip when it is new in the file; but the ones that
        // are waited for already, are waited for.
        const std::unordered_set<std::string> known = keys_of(names_of(running->settings));
        set_backends(wanted.config, wanted.settings, now.answers, diagnostics,
                     [&](std::string_view key) {
                         return now.request.force || known.contains(std::string{key});
                     });
        wanted.config.may_lack_backends = true;    // the plan judges that
        wanted.config.may_lack_interfaces = true;  // that would have been refused
        now.outcome = {Outcome::Kind::refused, now.file.report(now.source) + now.kernel_report()};
        now.usable = !diagnostics.has_errors();
        if (!now.usable) {
            now.outcome.report += "a name that is new is not there; --force waits for it\n";
            return;
        }
        now.plan = plan_reload(*running, wanted, proxy_.backends(), proxy_.listeners());
        now.outcome.kind = now.plan.changes ? Outcome::Kind::changed : Outcome::Kind::unchanged;
        now.outcome.report += joined(now.request.dry_run ? now.plan.lines : now.plan.summary());
        const Waiting waiting{*running, wanted, now.answers};
        for (const std::string& service : now.plan.deserted_services) {
            if (now.request.force || waiting.lacked_before(service)) continue;
            now.outcome.kind = Outcome::Kind::refused;
            now.outcome.report += fmt::format(
                "service {} would have no backend that takes connections; --force does it all the "
                "same\n",
                service);
        }
        if (now.outcome.kind == Outcome::Kind::refused) return;
        now.readiness = readiness_of(running->config, wanted.config);
        now.prepared = proxy_.prepare(wanted.config);
        keep_until_restart(wanted, *running);
    };
    work(draft, &Reloader::on_drafted);
}

void Reloader::on_drafted(Loaded& loaded) {
    if (!loaded.prepared || loaded.request.dry_run) return finish(loaded.outcome);
    if (stopped_) return finish({Outcome::Kind::failed, "it is stopping\n"});
    go_over(loaded);
}

void Reloader::go_over(Loaded& loaded) {
    if (!loaded.log.problem.empty()) loaded.outcome.report += loaded.log.problem + '\n';
    try {
        proxy_.apply(*loaded.prepared, [this, alive = std::weak_ptr{alive_}] {
            if (!alive.expired()) finish(current_->outcome, proxy_.listener_troubles());
        });
        if (loaded.log.go_over) loaded.log.go_over();
        leftovers_.push_back(std::exchange(running_, loaded.wanted));
        running_names_ = std::move(loaded.names);
        leftovers_.push_back(std::exchange(own_listeners_, loaded.listeners));
        names_ = std::move(candidate_);
        keep_names();
        tell_readiness(loaded);
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, fmt::format("{}\n", describe(error))});
    }
}

// What thousands of backends leave behind takes longer than a turn may.
void Reloader::free_leftovers() noexcept {
    leftovers_.push_back(std::move(current_));
    try {
        background_.run([leftovers = std::move(leftovers_)] {});
    } catch (const std::exception&) {
        // Then it is freed here.
    }
    leftovers_.clear();
}

void Reloader::keep_names() {
    names_->keep(running_names_, [this] { on_names_changed(); });
    sweep_later();
}

// Absent addresses are kept for their sessions, and cost a check each and a place in every answer: so
// now and then it is looked which ones have none.
void Reloader::sweep_later() {
    static constexpr Duration interval = std::chrono::seconds{10};
    if (sweep_ || !names_->has_absent()) return;
    sweep_ = std::make_unique<Retirement>(reactor_, interval, [this](Retirement&) {
        sweep_.reset();
        sweep();
        sweep_later();
    });
}

void Reloader::sweep() {
    if (busy_ || stopped_) return;  // one that is absent only just may still get a session
    std::unordered_set<std::string> busy;
    for (const BackendStatus& backend : proxy_.backends()) {
        if (backend.active == 0) continue;
        busy.insert(backend.address.to_string());
        busy.insert(backend.address.with_port(0).to_string());  // as Names has those of hosts
    }
    names_->forget_absent(
        [&](const NameTarget& target) { return !busy.contains(target.address.to_string()); });
}

void Reloader::tell_readiness(const Loaded& loaded) const {
    for (const auto& [level, line] : loaded.readiness) observer_.on_event(level, line);
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
    sweep_later();
    current_ = std::make_shared<Loaded>();
    current_->answers = names_->answers();
    const auto draft = [this, running = running_](Loaded& now) {
        ResolvedSettings& wanted = *now.wanted;
        wanted = *running;
        Diagnostics told_already;
        set_backends(wanted.config, wanted.settings, now.answers, told_already);
        wanted.config.may_lack_backends = true;  // names only ever add to one without backends
        now.plan = plan_reload(*running, wanted, proxy_.backends());
        if (!now.plan.changes) return;
        now.readiness = readiness_of(running->config, wanted.config);
        now.prepared = proxy_.prepare(wanted.config);
    };
    try {
        work(draft, &Reloader::on_names_drafted);
    } catch (const std::exception& error) {
        current_->outcome.report = fmt::format("{}\n", describe(error));
        on_names_drafted(*current_);
    }
}

void Reloader::on_names_drafted(Loaded& loaded) {
    std::string problem = loaded.outcome.report;
    if (loaded.prepared && !stopped_) {
        try {
            proxy_.apply(*loaded.prepared, [this, alive = std::weak_ptr{alive_}] {
                if (!alive.expired()) end_turn();
            });
            leftovers_.push_back(std::exchange(running_, loaded.wanted));
            for (const std::string& line : loaded.plan.lines) {
                if (line.starts_with('=')) continue;
                observer_.on_event(LogLevel::info, fmt::format("names: {}", line));
            }
            tell_readiness(loaded);
            return;
        } catch (const std::exception& error) {
            problem = fmt::format("{}\n", describe(error));
        }
    }
    if (!problem.empty()) {
        problem.pop_back();
        observer_.on_event(LogLevel::error,
                           fmt::format("names: {}; the old addresses keep serving", problem));
    }
    end_turn();  // if nothing has changed, a reload was quicker
}

void Reloader::end_turn() {
    pending_.pop_front();
    busy_ = false;
    free_leftovers();
    begin_next();
}

// By value: what it was told of is given away here. `troubles`: which are logged already.
void Reloader::finish(Outcome outcome, const std::vector<std::string>& troubles) {
    const Pending finished = std::move(pending_.front());
    pending_.pop_front();
    busy_ = false;
    candidate_.reset();
    free_leftovers();
    if (!finished.request.dry_run) log(outcome);
    for (const std::string& trouble : troubles)
        outcome.report += fmt::format("warning: {}\n", trouble);
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
