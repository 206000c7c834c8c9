// reactor: signals as events.
#pragma once

#include "eplb/export.hpp"

#include <csignal>
#include <functional>
#include <initializer_list>
#include <memory>

namespace eplb {

class Reactor;

/// Turns signals into calls on the reactor's thread, by signalfd(2): no handler, nothing
/// asynchronous, and none is lost between a check and the wait.
///
/// The constructor blocks the signals for the calling thread and the threads it starts later; the
/// destructor unblocks those that it blocked. Create it before any other thread, or one of those
/// may be given the signal and take the default action. One watch for a signal and thread: of two,
/// only one is told, and the older one's destructor unblocks it for both.
///
/// A signal that is pending when the watch is destroyed takes its old course then, and that is
/// often the end of the process: signal(SIGTERM, SIG_IGN) before, for instance. Programs that are
/// started while it lives have the signals blocked, since a mask survives execve(2):
/// posix_spawnattr_setsigmask(3), or unblock them in the child.
///
/// Belongs to the thread of its reactor, which outlives it. One read(2) a signal, and one more that
/// says EAGAIN; up to 64 signals a turn.
class EPLB_API SignalWatch final {
public:
    /// May do anything, also destroy the watch, and may throw: the exception leaves
    /// Reactor::run_once(), and the next signal is told in the next turn.
    using Handler = std::function<void(int signal)>;

    /// Throws std::system_error, and nothing is blocked then: EINVAL for what is no signal and for
    /// SIGKILL and SIGSTOP, which cannot be blocked; EMFILE and the like (it takes a descriptor).
    SignalWatch(Reactor& reactor, std::initializer_list<int> numbers, Handler on_signal);
    ~SignalWatch();
    SignalWatch(const SignalWatch&) = delete;
    SignalWatch& operator=(const SignalWatch&) = delete;

private:
    class Impl;
    sigset_t blocked_{};          // by us
    std::shared_ptr<Impl> impl_;  // shared with its own run(), whose handler may destroy us
};

}  // namespace eplb
