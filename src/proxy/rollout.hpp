#pragma once

#include "eplb/fd.hpp"
#include "eplb/proxy.hpp"
#include "proxy/retirement.hpp"
#include "proxy/service_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
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
class Rollout final : public std::enable_shared_from_this<Rollout> {
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
    /// there is only one. A worker that fails to do a step, for lack of memory, say, is asked again.
    void begin(std::function<void()> on_done);
    /// Begins no further step and forgets `on_done`. What has been asked of other workers may still
    /// be done.
    void cancel() noexcept;

private:
    enum class Step : std::uint8_t { learn, switch_over, open, forget };

    void begin_step();
    void ask(std::size_t worker);
    void answered(std::size_t worker, const std::string& problem);
    void end_step();
    void try_later(std::size_t worker, const std::string& problem);
    static void carry_out(Step step, Plan& plan, Worker& worker, ProxyObserver& observer);
    /// What went wrong; empty: nothing.
    [[nodiscard]] static std::string try_to_carry_out(Step step, Plan& plan, Worker& worker,
                                                      ProxyObserver& observer) noexcept;

    Crew crew_;
    std::shared_ptr<Plan> plan_;  // letters to other workers hold it, too
    std::function<void()> on_done_;
    Step step_ = Step::learn;
    std::size_t left_ = 0;  // workers that have not done the step yet
    bool cancelled_ = false;
    bool problem_told_ = false;
    std::vector<std::size_t> late_;  // workers that are asked again when the time is over
    std::unique_ptr<Retirement> pause_;
};

}  // namespace eplb
