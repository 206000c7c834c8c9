#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

namespace eplb {

class Reactor;
class WorkerAdmission;

/// Lets the listeners of a worker go on when a service's rate allows for another client.
///
/// Belongs to the worker's admission, and to the thread of the reactor, which outlives it.
class Pacemaker final : public Task {
public:
    Pacemaker(Reactor& reactor, WorkerAdmission& admission) noexcept
        : admission_{admission}, timer_{reactor, *this} {}

    /// Or earlier, if somebody waits for that.
    void wait_until(TimePoint when) noexcept;

    Next run() noexcept override;

private:
    WorkerAdmission& admission_;
    Timer timer_;
    TimePoint due_;
};

}  // namespace eplb
