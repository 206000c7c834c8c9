// A file: it is read, its names are learnt, what it would change is judged, and it is gone over to.
#include "base/describe.hpp"
#include "config/config_text.hpp"
#include "control/reloader_impl.hpp"
#include "discovery/resolver.hpp"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace eplb::control {
namespace {

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
}

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

std::unordered_set<std::string> keys_of(const std::vector<std::string>& names) {
    std::unordered_set<std::string> keys;
    for (const std::string& name : names) keys.insert(NameQuestion::parse(name)->key());
    return keys;
}

}  // namespace

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

}  // namespace eplb::control
