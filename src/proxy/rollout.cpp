#include "proxy/rollout.hpp"

#include "proxy/worker.hpp"
#include "proxy/worker_thread.hpp"

#include <atomic>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string>
#include <utility>

namespace eplb {

// Where a worker leaves its answer. The first one asks it again only when it has taken that.
struct Rollout::Desk {
    std::atomic<bool> answered{false};
    std::string problem;  // empty: none
    bool late = false;    // asked again when the time is over; the first worker's alone
};

struct Rollout::Files {
    Files(Plan what, std::size_t workers) : plan{std::move(what)}, desks(workers) {}
    Plan plan;
    std::vector<Desk> desks;  // of the workers
};

// Says that a worker has done what it was asked, or why not, and allocates nothing for it: an answer
// that is lost would be waited for until the end of time.
class Rollout::Reply {
public:
    Reply(std::shared_ptr<Files> files, std::weak_ptr<Rollout> rollout, Worker& first,
          std::size_t worker) noexcept
        : files_{std::move(files)}, rollout_{std::move(rollout)}, first_{first}, worker_{worker} {}

    void operator()(const char* problem) const noexcept {
        Desk& desk = files_->desks[worker_];
        try {
            desk.problem = problem;
        } catch (const std::bad_alloc&) {
            desk.problem = "out of memory";  // has room in the string itself
        }
        desk.answered.store(true, std::memory_order_release);
        if (worker_ != first_.index()) return first_.call(Worker::Wish::look_at_answers);
        if (const auto alive = rollout_.lock()) alive->look_at_answers();
    }

private:
    std::shared_ptr<Files> files_;
    std::weak_ptr<Rollout> rollout_;
    Worker& first_;
    std::size_t worker_;
};

Rollout::Rollout(const Crew& crew, Plan plan)
    : crew_{crew},
      files_{std::make_shared<Files>(std::move(plan), crew.others.size() + 1)},
      retry_{crew.reactor, *this} {}

void Rollout::begin(std::function<void()> on_done) {
    on_done_ = std::move(on_done);
    begin_step();
}

void Rollout::cancel() noexcept {
    cancelled_ = true;
    on_done_ = {};
    retry_.cancel();
}

// Ourselves last: the others are busy with it meanwhile.
void Rollout::begin_step() noexcept {
    const auto self = shared_from_this();
    if (step_ == Step::over) return conclude();
    left_ = files_->desks.size();
    for (std::size_t worker = left_; worker-- > 0;) ask(worker);
}

void Rollout::ask(std::size_t worker) noexcept {
    if (cancelled_) return;
    const Reply reply{files_, weak_from_this(), crew_.first, worker};
    // Clients are served in the middle of it, and whoever is told of them may cancel it all.
    if (crew_.others.empty()) return carry_out(step_, *files_, crew_.first, crew_.observer, reply);
    // Ourselves, too: a client who was handed over to us before the last answer came is in our
    // mailbox, and answers do not wait for their turn behind it.
    try {
        auto letter = [step = step_, files = files_, &observer = crew_.observer,
                       reply](Worker& that) { carry_out(step, *files, that, observer, reply); };
        if (worker == 0) {
            crew_.first.post(std::move(letter));
        } else {
            crew_.others[worker - 1]->post(std::move(letter));
        }
    } catch (const std::exception& error) {
        try_later(worker, error.what());
    }
}

void Rollout::look_at_answers() noexcept {
    const auto self = shared_from_this();
    for (std::size_t worker = 0; worker < files_->desks.size() && !cancelled_; ++worker) {
        Desk& desk = files_->desks[worker];
        if (!desk.answered.exchange(false, std::memory_order_acquire)) continue;
        if (!desk.problem.empty()) {
            try_later(worker, desk.problem);
        } else if (--left_ == 0) {
            end_step();
        }
    }
}

void Rollout::end_step() noexcept {
    switch (step_) {
    case Step::learn: step_ = Step::switch_over; break;
    case Step::switch_over: step_ = Step::open; break;
    case Step::open: step_ = Step::forget; break;
    case Step::forget:
    case Step::over: step_ = Step::over; break;
    }
    begin_step();
}

// Whoever is told of what is done then may cancel it all, and with that end the proxy.
void Rollout::conclude() noexcept {
    if (cancelled_) return;
    auto on_done = std::exchange(on_done_, {});
    try {
        on_done();
    } catch (const std::exception& error) {
        if (cancelled_) return;
        on_done_ = std::move(on_done);
        try_later(0, error.what());
    }
}

void Rollout::try_later(std::size_t worker, std::string_view problem) noexcept {
    files_->desks[worker].late = true;
    if (!retry_.armed()) retry_.start(retry_delay);
    if (std::exchange(problem_told_, true)) return;
    try {
        crew_.observer.on_event(
            LogLevel::warning,
            fmt::format(
                "worker {} cannot go over to the new configuration yet, and tries again: {}",
                worker + 1, problem));
    } catch (const std::bad_alloc&) {
        problem_told_ = false;
    }
}

Next Rollout::run() noexcept {
    if (!retry_.take_fired() || cancelled_) return Next::wait;
    const auto self = shared_from_this();
    if (step_ == Step::over) {
        conclude();
        return Next::wait;
    }
    for (std::size_t worker = 0; worker < files_->desks.size(); ++worker) {
        if (std::exchange(files_->desks[worker].late, false)) ask(worker);
    }
    return Next::wait;
}

void Rollout::carry_out(Step step, Files& files, Worker& worker, ProxyObserver& observer,
                        const Reply& reply) noexcept {
    try {
        if (step == Step::switch_over)  // it has to serve those who wait for what it closes
            return worker.switch_over(files.plan.generation, [reply] { reply(""); });
        do_step(step, files.plan, worker, observer);
        reply("");
    } catch (const std::exception& error) {
        reply(error.what());
    } catch (...) {
        reply("unknown");
    }
}

void Rollout::do_step(Step step, Plan& plan, Worker& worker, ProxyObserver& observer) {
    switch (step) {
    case Step::learn: return worker.learn(plan.generation);
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
    case Step::switch_over:
    case Step::over: return;
    }
}

}  // namespace eplb
