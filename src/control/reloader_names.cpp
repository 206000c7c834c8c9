// Names: one stands for something else, which is gone over to; and what is absent is forgotten at last.
#include "control/reloader_impl.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <ranges>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace eplb::control {

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

}  // namespace eplb::control
