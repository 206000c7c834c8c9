#include "control/reloader.hpp"
#include "control/name_judge.hpp"

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
// What there was no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

// What is to be said of it, with or without memory.
std::string text_of(const std::exception& error) noexcept {
    try {
        if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return out_of_memory;
        return fmt::format("{}\n", describe(error));
    } catch (const std::bad_alloc&) {
        return out_of_memory;
    }
}

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
      own_listeners_{std::make_shared<const OwnListeners>(running_->config)},
      names_again_{reactor, [this] { on_names_changed(); }},
      sweep_{reactor, [this] { sweep(); }} {
    keep(*names_, running_names_);
    sweep_later();
}

// What has happened has happened, with or without the memory for a line.
template <class... Arguments>
void Reloader::tell(LogLevel level, fmt::format_string<const Arguments&...> what,
                    const Arguments&... arguments) const noexcept {
    try {
        observer_.on_event(level, fmt::format(what, arguments...));
    } catch (const std::bad_alloc&) {}
}

void Reloader::stop() noexcept {
    stopped_ = true;
    const auto first = pending_.begin() + (busy_ ? 1 : 0);
    for (auto refused = first; refused != pending_.end(); ++refused)
        refuse(std::move(refused->done));
    pending_.erase(first, pending_.end());
}

// Whoever cannot be told sees that nobody has an answer any more.
void Reloader::refuse(Done done) noexcept {
    if (!done) return;
    try {
        reactor_.post(
            [done = std::move(done)] { done({Outcome::Kind::failed, "it is stopping\n"}); });
    } catch (const std::bad_alloc&) {}
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

void Reloader::begin_next() noexcept {
    if (pending_.empty() || stopped_) return;
    busy_ = true;
    ++changes_;
    if (pending_.front().names_only) return go_over_to_names();
    attempt([this] { read_file(); });
}

// A step of a request. What cannot be done, for lack of memory above all, is not gone over to, and the
// next one has its turn.
template <class Step>
void Reloader::attempt(Step step) noexcept {
    try {
        step();
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, text_of(error)});
    }
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
    // Made here, where somebody can be told that there is no memory for it.
    std::function<void()> letter = [this, then, alive = std::weak_ptr{alive_}] {
        if (alive.expired()) return;
        working_ = false;
        attempt([&] { (this->*then)(*current_); });
    };
    background_.run([this, loaded = current_, what = std::move(what), letter = std::move(letter)] {
        try {
            what(*loaded);
        } catch (const std::exception& error) {
            loaded->usable = false;
            loaded->prepared.reset();
            loaded->outcome = {Outcome::Kind::failed, text_of(error)};
        }
        post_when_possible(letter);
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
            now.outcome.report = text_of(error);
            now.usable = false;
        }
    };
    work(read, &Reloader::on_loaded);
}

void Reloader::prepare_log(Loaded& loaded) const {
    if (!hooks_.prepare_log) return;
    try {
        loaded.log = hooks_.prepare_log(loaded.wanted->settings.log.values);
    } catch (const std::exception& error) {
        loaded.outcome.kind = Outcome::Kind::failed;
        loaded.usable = false;
        loaded.outcome.report += text_of(error);
    }
}

// Other servers may be asked from now on, or the system has others: so the names of every
// configuration are its own, which take over what is known.
void Reloader::on_loaded(Loaded& loaded) {
    if (!loaded.usable) return finish(loaded.outcome);
    if (stopped_) return finish({Outcome::Kind::failed, "it is stopping\n"});
    candidate_ = make_names(reactor_, loaded.wanted->settings.dns.values, std::move(loaded.system),
                            observer_);
    candidate_->set_judge(std::move(loaded.judge));
    candidate_->adopt(*names_);
    candidate_->learn(loaded.names, [this] { attempt([this] { on_learnt(*current_); }); });
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
    // Whatever takes memory comes before: what is gone over to cannot be taken back.
    leftovers_.reserve(leftovers_.size() + 2);
    keep(*candidate_, loaded.names);
    proxy_.apply(*loaded.prepared, [this, alive = std::weak_ptr{alive_}] {
        if (!alive.expired()) on_gone_over();
    });
    try {
        if (loaded.log.go_over) loaded.log.go_over();
    } catch (const std::exception& error) {
        tell(LogLevel::error, "reload: the log stays as it was: {}", describe(error));
    }
    leftovers_.push_back(std::exchange(running_, loaded.wanted));
    running_names_ = std::move(loaded.names);
    leftovers_.push_back(std::exchange(own_listeners_, loaded.listeners));
    names_ = std::move(candidate_);
    sweep_later();
    tell_readiness(loaded);
}

void Reloader::on_gone_over() noexcept {
    std::vector<std::string> troubles;
    try {
        troubles = proxy_.listener_troubles();
    } catch (const std::bad_alloc&) {}  // they are logged already
    finish(std::move(current_->outcome), troubles);
}

// What thousands of backends leave behind takes longer than a turn may.
void Reloader::free_leftovers() noexcept {
    try {
        leftovers_.push_back(std::move(current_));
        background_.run([leftovers = std::move(leftovers_)] {});
    } catch (const std::exception&) {
        // Then it is freed here.
    }
    leftovers_.clear();
}

void Reloader::keep(Names& names, const std::vector<std::string>& addresses) {
    names.keep(addresses, [this] { on_names_changed(); });
}

// Absent addresses are kept for their sessions, and cost a check each and a place in every answer: so
// now and then it is looked which ones have none.
void Reloader::sweep_later() noexcept {
    static constexpr Duration interval = std::chrono::seconds{10};
    if (names_->has_absent()) sweep_.start(interval);
}

// Which backends have sessions takes time in proportion to all of them, so the other thread finds out.
void Reloader::sweep() noexcept {
    try {
        if (is_settled()) find_busy();
    } catch (const std::exception&) {}  // the next time
    sweep_later();
}

// Whether what Names says is what is served by: else one that is absent may still get a session.
bool Reloader::is_settled() const noexcept {
    return !busy_ && pending_.empty() && !stopped_ && !names_again_.armed();
}

void Reloader::find_busy() {
    auto busy = std::make_shared<std::unordered_set<std::string>>();
    std::function<void()> letter = [this, busy, alive = std::weak_ptr{alive_}, names = names_.get(),
                                    changes = changes_] {
        if (alive.expired() || !is_settled() || changes != changes_) return;
        names->forget_absent(
            [&](const NameTarget& target) { return !busy->contains(target.address.to_string()); });
    };
    background_.run([this, busy, letter = std::move(letter)] {
        try {
            for (const BackendStatus& backend : proxy_.backends()) {
                if (backend.active == 0) continue;
                busy->insert(backend.address.to_string());
                // As Names has those of hosts.
                busy->insert(backend.address.with_port(0).to_string());
            }
        } catch (const std::bad_alloc&) {
            return;  // the next time
        }
        post_when_possible(letter);
    });
}

void Reloader::tell_readiness(const Loaded& loaded) const {
    for (const auto& [level, line] : loaded.readiness) observer_.on_event(level, line);
}

void Reloader::on_names_changed() noexcept {
    const bool waits = std::ranges::any_of(
        std::ranges::subrange(pending_.begin() + (busy_ ? 1 : 0), pending_.end()),
        [](const Pending& pending) { return pending.names_only; });
    if (waits || stopped_) return;
    try {
        pending_.push_back({.request = {}, .done = {}, .names_only = true});
    } catch (const std::bad_alloc&) {
        return names_again_.start(patience);
    }
    if (!busy_) begin_next();
}

void Reloader::go_over_to_names() noexcept {
    sweep_later();
    std::string problem;
    try {
        return draft_names();
    } catch (const std::exception& error) {
        problem = text_of(error);
    }
    end_names(problem);
}

void Reloader::draft_names() {
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
    work(draft, &Reloader::on_names_drafted);
}

void Reloader::on_names_drafted(Loaded& loaded) {
    std::string problem = std::move(loaded.outcome.report);
    bool gone_over = false;
    if (loaded.prepared && !stopped_) {
        try {
            leftovers_.reserve(leftovers_.size() + 1);
            proxy_.apply(*loaded.prepared, [this, alive = std::weak_ptr{alive_}] {
                if (!alive.expired()) end_turn();
            });
            gone_over = true;
        } catch (const std::exception& error) {
            problem = text_of(error);
        }
    }
    if (!gone_over) return end_names(problem);  // if nothing has changed, a reload was quicker
    leftovers_.push_back(std::exchange(running_, loaded.wanted));
    for (const std::string& line : loaded.plan.lines) {
        if (!line.starts_with('=')) tell(LogLevel::info, "names: {}", line);
    }
    tell_readiness(loaded);
}

// What could not be gone over to for lack of memory is tried again.
void Reloader::end_names(const std::string& problem) noexcept {
    if (!problem.empty()) {
        tell(LogLevel::error, "names: {}; the old addresses keep serving",
             std::string_view{problem}.substr(0, problem.size() - 1));
    }
    if (problem == out_of_memory) names_again_.start(patience);
    end_turn();
}

void Reloader::end_turn() noexcept {
    pending_.pop_front();
    busy_ = false;
    free_leftovers();
    begin_next();
}

// By value: what it was told of is given away here. `troubles`: which are logged already.
void Reloader::finish(Outcome outcome, const std::vector<std::string>& troubles) noexcept {
    {
        const Pending finished = std::move(pending_.front());
        pending_.pop_front();
        busy_ = false;
        candidate_.reset();
        free_leftovers();
        if (!finished.request.dry_run) log(outcome);
        try {
            for (const std::string& trouble : troubles)
                outcome.report += fmt::format("warning: {}\n", trouble);
            if (finished.done) finished.done(outcome);
        } catch (const std::exception&) {
            // Whoever asked sees that nobody has an answer any more.
        }
    }
    begin_next();
}

void Reloader::log(const Outcome& outcome) const noexcept {
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
        tell(level, "reload: {}", rest.substr(0, end));
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    observer_.on_event(level, verdict);
}

}  // namespace eplb::control
