#pragma once

#include "eplb/fd.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "proxy/service_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace eplb {

class Reactor;
class Worker;
class WorkerThread;

/// How the workers of a proxy go over to another generation, while each of them accepts clients and
/// hands them to others.
///
///   learn        services and frontends that are new are known, and those that stay go on by what
///                they are told now
///   switch over  listening sockets that stay serve their new frontends; those that are gone accept
///                what waits for them, and close
///   open         new listening sockets
///   forget       what is gone gets no backend any more, and goes with its last session
///
/// A step begins when every worker has done the one before. So whoever is accepted for a frontend may
/// be handed to any worker: each knows it since it has learnt. And nobody can be on the way to what is
/// forgotten: what a worker handed over before it switched was in the other one's mailbox before the
/// answer was in ours.
///
/// Belongs to the thread of the first worker; the steps run on each worker's own.
class Rollout final : public Task, public std::enable_shared_from_this<Rollout> {
public:
    struct NewListener {
        FrontendSpec frontend;
        std::vector<Fd> sockets;  ///< one for each worker that is to have one, from the first
    };
    struct Plan {
        Generation generation;
        std::vector<NewListener> opened;  ///< each worker takes its own sockets out of it
    };
    struct Crew {
        Reactor& reactor;
        Worker& first;
        std::span<const std::unique_ptr<WorkerThread>> others;
        ProxyObserver& observer;  ///< told of what did not work; on any of the threads
    };

    /// How long a worker that could not do a step, for lack of memory, is left alone.
    static constexpr Duration retry_delay = std::chrono::milliseconds{100};

    /// The crew outlives it, or the call of cancel().
    Rollout(const Crew& crew, Plan plan);

    /// `on_done` is called once, when every worker has done the last step: within this call, if
    /// there is only one, and few clients wait for the listeners that go. Whoever fails to do a step,
    /// for lack of memory, say, is asked again; `on_done`, too.
    void begin(std::function<void()> on_done);
    /// For the first worker, when it is called to. Nothing that it takes to answer can fail.
    void look_at_answers() noexcept;
    /// Begins no further step and forgets `on_done`. What has been asked of other workers may still
    /// be done.
    void cancel() noexcept;

    Next run() noexcept override;

private:
    enum class Step : std::uint8_t { learn, switch_over, open, forget, over };
    struct Desk;
    struct Files;
    class Reply;

    void begin_step() noexcept;
    void ask(std::size_t worker) noexcept;
    void end_step() noexcept;
    void conclude() noexcept;
    void try_later(std::size_t worker, std::string_view problem) noexcept;
    static void carry_out(Step step, Files& files, Worker& worker, ProxyObserver& observer,
                          const Reply& reply) noexcept;
    static void do_step(Step step, Plan& plan, Worker& worker, ProxyObserver& observer);

    Crew crew_;
    std::shared_ptr<Files> files_;  // letters to other workers hold it, too
    std::function<void()> on_done_;
    Step step_ = Step::learn;
    std::size_t left_ = 0;  // workers that have not done the step yet
    bool cancelled_ = false;
    bool problem_told_ = false;
    Timer retry_;
};

}  // namespace eplb
