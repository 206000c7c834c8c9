#pragma once

#include "eplb/list_hook.hpp"
#include "eplb/reactor.hpp"

namespace eplb {

class Task;

/// Has a task run on its reactor's thread because another thread wants it: Reactor::post() without a
/// letter, and so without an allocation that could fail. However often it is rung, the task runs
/// once, at the latest in the next turn to begin.
class Bell : private ListHook<Bell> {
public:
    /// Both outlive it.
    Bell(Reactor& reactor, Task& task) noexcept : reactor_{reactor}, task_{task} {}
    /// On the reactor's thread. Nobody rings any more.
    ~Bell() { reactor_.silence(*this); }
    Bell(const Bell&) = delete;
    Bell& operator=(const Bell&) = delete;

    /// Any thread. A lock, and write(2) unless the reactor has been told of something else.
    void ring() noexcept { reactor_.ring(*this); }

private:
    friend class Reactor;
    template <class T, class Tag>
    friend class IntrusiveList;

    Reactor& reactor_;
    Task& task_;
};

}  // namespace eplb
