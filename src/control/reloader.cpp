// Who asks for what, in which order, and what they are told. Each step of it is in reloader_file and
// reloader_names.
#include "control/reloader.hpp"

#include "base/describe.hpp"
#include "control/reloader_impl.hpp"
#include "eplb/reactor.hpp"

#include <chrono>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>

namespace eplb::control {

std::string text_of(const std::exception& error) noexcept {
    try {
        if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return out_of_memory;
        return fmt::format("{}\n", describe(error));
    } catch (const std::bad_alloc&) {
        return out_of_memory;
    }
}

std::vector<std::string> names_of(const Settings& settings) {
    std::vector<std::string> names = backend_addresses(settings);
    std::erase_if(names, [](const std::string& address) {
        return !NameQuestion::parse(address).has_value();
    });
    return names;
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

void Reloader::tell_readiness(const Loaded& loaded) const {
    for (const auto& [level, line] : loaded.readiness) observer_.on_event(level, line);
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
