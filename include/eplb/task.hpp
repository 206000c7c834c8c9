// reactor: what the event loop runs.
#pragma once

#include "eplb/export.hpp"
#include "eplb/list_hook.hpp"

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
/// May be destroyed at any time on the reactor's thread, from inside any run() or retire(): it
/// unlinks itself from the ready list. Even from inside its own run(), if that touches nothing of
/// it afterwards; what it returns then means nothing. Returning Next::done, and `delete this` in
/// retire(), is the way that cannot go wrong.
///
/// 32 bytes. Belongs to the thread of its reactor.
class EPLB_API Task : public ListHook<Task> {
public:
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    /// May throw: the exception leaves Reactor::run_once(); this task runs again in the next turn,
    /// and the other ready tasks keep theirs.
    virtual Next run() = 0;

    /// After run() has returned Next::done, and the place for `delete this`. Does nothing by default:
    /// a task that stays, with watches attached or timers armed, runs again when they have news. May
    /// throw as run() may, but the task is not put back.
    virtual void retire() {}

protected:
    Task() noexcept = default;
    // Virtual for -Wnon-virtual-dtor alone: nobody can delete a Task by this type.
    virtual ~Task() {
        if (destroyed_ != nullptr) *destroyed_ = true;
    }

private:
    friend class Reactor;
    bool* destroyed_ = nullptr;  // while it runs: where the reactor looks whether it still is
};

}  // namespace eplb
