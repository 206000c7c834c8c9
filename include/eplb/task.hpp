#pragma once

#include "eplb/list_hook.hpp"

#include <cassert>

namespace eplb {

/// What a task wants of the reactor after it ran.
enum class Next {
    wait,   ///< run again when a watch or a timer says so
    again,  ///< there is more to do; run again after everybody else that is ready had a turn
    done,   ///< finished: the reactor calls retire() once the frame of run() is gone
};

/// Something that the reactor runs. All of its watches and timers point here, and run() looks at
/// their cached state instead of asking which of them woke it, so it never matters.
///
/// A task never destroys itself inside run(): it returns Next::done, and retire() does it. Any
/// other task may be destroyed at any time, from inside any run(): it unlinks itself from the ready
/// list. Belongs to the thread of its reactor.
class Task : public ListHook<Task> {
public:
    /// May throw: the exception leaves Reactor::run_once(); this task runs again in the next turn,
    /// and the other ready tasks keep theirs.
    virtual Next run() = 0;

    /// The last call, and the place for `delete this`. Does nothing by default.
    virtual void retire() noexcept {}

protected:
    Task() noexcept = default;
    ~Task() { assert(!running_ && "a task must not be destroyed inside its own run()"); }

private:
    friend class Reactor;
    bool running_ = false;
};

}  // namespace eplb
