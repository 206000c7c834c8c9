#include "proxy/rollout.hpp"

#include "proxy/worker.hpp"
#include "proxy/worker_thread.hpp"

#include <exception>
#include <fmt/format.h>
#include <utility>

namespace eplb {

Rollout::Rollout(const Crew& crew, Plan plan)
    : crew_{crew}, plan_{std::make_shared<Plan>(std::move(plan))} {
    late_.reserve(crew_.others.size() + 1);
}

void Rollout::begin(std::function<void()> on_done) {
    on_done_ = std::move(on_done);
    begin_step();
}

void Rollout::cancel() noexcept {
    cancelled_ = true;
    on_done_ = {};
    pause_.reset();
}

// Ourselves last: the others are busy with it meanwhile.
void Rollout::begin_step() {
    left_ = crew_.others.size() + 1;
    for (std::size_t worker = left_; worker-- > 0;) ask(worker);
}

void Rollout::ask(std::size_t worker) {
    if (cancelled_) return;
    if (worker == 0) {
        // Clients are served in the middle of it, and whoever is told of them may cancel it all.
        const auto self = shared_from_this();
        return answered(0, try_to_carry_out(step_, *plan_, crew_.first, crew_.observer));
    }
    crew_.others[worker - 1]->post([step = step_, plan = plan_, &first = crew_.first,
                                    &observer = crew_.observer,
                                    rollout = weak_from_this()](Worker& that) {
        std::string problem = try_to_carry_out(step, *plan, that, observer);
        first.post([rollout, index = that.index(), problem = std::move(problem)](Worker&) {
            if (const auto alive = rollout.lock()) alive->answered(index, problem);
        });
    });
}

void Rollout::answered(std::size_t worker, const std::string& problem) {
    if (cancelled_) return;
    if (!problem.empty()) return try_later(worker, problem);
    if (--left_ == 0) end_step();
}

void Rollout::end_step() {
    switch (step_) {
    case Step::learn: step_ = Step::switch_over; break;
    case Step::switch_over: step_ = Step::open; break;
    case Step::open: step_ = Step::forget; break;
    case Step::forget: {
        const auto on_done = std::exchange(on_done_, {});
        return on_done();
    }
    }
    begin_step();
}

void Rollout::try_later(std::size_t worker, const std::string& problem) {
    late_.push_back(worker);
    if (!std::exchange(problem_told_, true)) {
        crew_.observer.on_event(
            LogLevel::warning,
            fmt::format(
                "worker {} cannot go over to the new configuration yet, and tries again: {}",
                worker + 1, problem));
    }
    if (pause_) return;
    pause_ = std::make_unique<Retirement>(crew_.reactor, retry_delay, [this](Retirement&) {
        const auto self = shared_from_this();
        pause_.reset();
        for (const std::size_t late : std::exchange(late_, {})) ask(late);
    });
}

std::string Rollout::try_to_carry_out(Step step, Plan& plan, Worker& worker,
                                      ProxyObserver& observer) noexcept {
    try {
        carry_out(step, plan, worker, observer);
        return {};
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "unknown";
    }
}

void Rollout::carry_out(Step step, Plan& plan, Worker& worker, ProxyObserver& observer) {
    switch (step) {
    case Step::learn: return worker.learn(plan.generation);
    case Step::switch_over: return worker.switch_over(plan.generation);
    case Step::open:
        for (NewListener& listener : plan.opened) {
            if (worker.index() >= listener.sockets.size()) continue;
            try {
                worker.add_listener(listener.frontend, std::move(listener.sockets[worker.index()]));
            } catch (const std::exception& error) {
                observer.on_event(LogLevel::error,
                                  fmt::format("cannot accept on {}: {}",
                                              listener.frontend.address.to_string(), error.what()));
            }
        }
        return;
    case Step::forget:
        worker.forget_all_but(plan.generation);
        worker.on_room();  // there may be more of it by now
        worker.on_backend_room();
        return;
    }
}

}  // namespace eplb
