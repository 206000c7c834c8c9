#include "eplb/signals.hpp"

#include "base/sys.hpp"
#include "eplb/fd.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/watch.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <span>
#include <sys/signalfd.h>
#include <utility>

namespace eplb {
namespace {

// Signals before other tasks get their turn: more than are ever pending, but for a handler that
// raises what it handles, or a queue of real-time signals.
constexpr int budget_per_turn = 64;

}  // namespace

// Whoever runs it holds it as well, since the handler may destroy the watch.
class EPLB_LOCAL SignalWatch::Impl final : public Task, public std::enable_shared_from_this<Impl> {
public:
    Impl(Reactor& reactor, const sigset_t& signals, Handler on_signal)
        : fd_{sys::signalfd(signals)}, watch_{reactor, *this}, on_signal_{std::move(on_signal)} {
        if (!fd_.valid()) throw fmt::system_error(-fd_.release(), "cannot open a signalfd");
        if (const int error = watch_.attach(fd_.get(), Watch::input_events)) {
            throw fmt::system_error(error, "cannot watch a signalfd");
        }
    }

    void shut() noexcept {
        watch_.detach();
        watch_.clear_readable();  // so that a loop under way ends
        fd_.reset();
    }

    Next run() override {
        const auto self = shared_from_this();
        for (int budget = budget_per_turn; budget > 0 && watch_.readable(); --budget) {
            signalfd_siginfo info{};
            const sys::IoResult result =
                sys::read(fd_.get(), std::as_writable_bytes(std::span{&info, 1}));
            if (result.status != sys::Io::moved) {
                watch_.clear_readable();
                break;
            }
            on_signal_(static_cast<int>(info.ssi_signo));
        }
        return watch_.readable() ? Next::again : Next::wait;
    }

private:
    Fd fd_;
    Watch watch_;
    Handler on_signal_;
};

SignalWatch::SignalWatch(Reactor& reactor, std::initializer_list<int> numbers, Handler on_signal) {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int number : numbers) {
        // signalfd(2) and pthread_sigmask(3) pass over those two without a word.
        if (number == SIGKILL || number == SIGSTOP || sigaddset(&mask, number) != 0) {
            throw fmt::system_error(EINVAL, "cannot watch signal {}", number);
        }
    }
    impl_ = std::make_shared<Impl>(reactor, mask, std::move(on_signal));

    sigset_t old;
    pthread_sigmask(SIG_BLOCK, &mask, &old);
    sigemptyset(&blocked_);
    for (const int number : numbers) {
        if (sigismember(&old, number) == 0) sigaddset(&blocked_, number);
    }
}

SignalWatch::~SignalWatch() {
    impl_->shut();
    pthread_sigmask(SIG_UNBLOCK, &blocked_, nullptr);
}

}  // namespace eplb
