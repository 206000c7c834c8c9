#include "eplb/signals.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <span>
#include <sys/signalfd.h>
#include <utility>

namespace eplb {

SignalWatch::SignalWatch(Reactor& reactor, std::initializer_list<int> signals, Handler on_signal)
    : watch_{reactor, *this}, on_signal_{std::move(on_signal)} {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int signal : signals) sigaddset(&mask, signal);

    const int fd = sys::signalfd(mask);
    if (fd < 0) throw fmt::system_error(-fd, "cannot open a signalfd");
    fd_.reset(fd);
    if (const int error = watch_.attach(fd, Watch::input_events)) {
        throw fmt::system_error(error, "cannot watch a signalfd");
    }

    sigset_t old;
    pthread_sigmask(SIG_BLOCK, &mask, &old);
    sigemptyset(&blocked_);
    for (const int signal : signals) {
        if (sigismember(&old, signal) == 0) sigaddset(&blocked_, signal);
    }
}

SignalWatch::~SignalWatch() { pthread_sigmask(SIG_UNBLOCK, &blocked_, nullptr); }

Next SignalWatch::run() {
    while (watch_.readable()) {
        signalfd_siginfo info{};
        const sys::IoResult result =
            sys::read(fd_.get(), std::as_writable_bytes(std::span{&info, 1}));
        if (result.status != sys::Io::moved) {
            watch_.clear_readable();
            break;
        }
        on_signal_(static_cast<int>(info.ssi_signo));
    }
    return Next::wait;
}

}  // namespace eplb
