#pragma once

#include "eplb/fd.hpp"
#include "eplb/task.hpp"
#include "eplb/watch.hpp"

#include <csignal>
#include <functional>
#include <initializer_list>

namespace eplb {

class Reactor;

/// Turns signals into calls on the reactor's thread, by signalfd(2): no handler, nothing
/// asynchronous, and none is lost between a check and the wait.
///
/// The constructor blocks the signals for the calling thread and the threads it starts later; the
/// destructor unblocks those that it blocked. Create it before any other thread, or one of those
/// may be given the signal and take the default action.
class SignalWatch final : public Task {
public:
    using Handler = std::function<void(int signal)>;

    /// Throws std::system_error.
    SignalWatch(Reactor& reactor, std::initializer_list<int> signals, Handler on_signal);
    ~SignalWatch();

    Next run() override;

private:
    sigset_t blocked_{};  // by us
    Fd fd_;
    Watch watch_;
    Handler on_signal_;
};

}  // namespace eplb
