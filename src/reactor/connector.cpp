#include "eplb/connector.hpp"

#include "base/saturating.hpp"
#include "base/shortage.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"
#include "reactor/dial.hpp"

#include <cerrno>
#include <cstddef>
#include <utility>
#include <vector>

namespace eplb {

class EPLB_LOCAL Connector::Impl final : public Task {
public:
    Impl(Reactor& reactor, std::vector<Address> to, Handler on_end, ConnectOptions options)
        : to_{std::move(to)},
          options_{std::move(options)},
          reactor_{reactor},
          watch_{reactor, *this},
          timer_{reactor, *this},
          on_end_{std::move(on_end)} {
        begin();
        if (error_ != EINPROGRESS) reactor.schedule(*this);
    }

    Next run() override {
        if (error_ == EINPROGRESS) error_ = look();
        if (error_ == EINPROGRESS) return Next::wait;
        if (error_ == 0 || is_shortage(error_) || tried_ + 1 >= to_.size()) return Next::done;
        ++tried_;
        begin();
        return error_ == EINPROGRESS ? Next::wait : Next::again;
    }

    void retire() override {
        watch_.detach();
        timer_.cancel();
        if (error_ != 0) socket_.reset();
        // The handler may destroy us, and itself with us.
        const Handler on_end = std::exchange(on_end_, {});
        if (on_end) on_end(std::move(socket_), error_);
    }

private:
    void begin() noexcept {
        timer_.cancel();
        started_ = reactor_.now();
        error_ = to_.empty() ? EDESTADDRREQ : dial();
        if (error_ == EINPROGRESS && options_.timeout > Duration{0} && !backlog_is_full_)
            timer_.start(options_.timeout);
    }

    [[nodiscard]] const Address& to() const noexcept { return to_[tried_]; }

    // 0: connected. EINPROGRESS: the watch will tell.
    [[nodiscard]] int dial() noexcept {
        DialTarget target{.to = to(), .options = options_.socket, .keepalive = true};
        if (options_.source && options_.source->family() == to().family())
            target.source = &*options_.source;
        target.transparent = options_.socket.transparent;
        const Dialled dialled = eplb::dial(target, socket_, watch_);
        backlog_is_full_ = dialled.backlog_is_full(to());
        return backlog_is_full_ ? wait_for_backlog() : dialled.error;
    }

    [[nodiscard]] int wait_for_backlog() noexcept {
        const Duration waited = reactor_.now() - started_;
        if (options_.timeout > Duration{0} && waited >= options_.timeout) return EAGAIN;
        timer_.start(time_to_next_dial(waited, options_.timeout));
        return EINPROGRESS;
    }

    // Who has answered did so in time, even if it is we who are late to look.
    [[nodiscard]] int look() noexcept {
        if (backlog_is_full_) return timer_.take_fired() ? dial() : EINPROGRESS;
        if (!watch_.writable()) return timer_.take_fired() ? time_out() : EINPROGRESS;
        if (const int error = take_connect_error(watch_)) return error;
        return refuse_connection_to_itself(socket_, to());
    }

    [[nodiscard]] int time_out() noexcept {
        // It may have been begun long after that, in a turn that was held up.
        const TimePoint due = saturating_add(reactor_.end_of_turn(started_), options_.timeout);
        if (reactor_.now() >= due) return ETIMEDOUT;
        timer_.start_at(due);
        return EINPROGRESS;
    }

    std::vector<Address> to_;
    std::size_t tried_ = 0;  // and failed
    ConnectOptions options_;
    Reactor& reactor_;
    TimePoint started_{};  // with the one that is tried
    Fd socket_;
    Watch watch_;
    Timer timer_;
    Handler on_end_;
    bool backlog_is_full_ = false;  // of a Unix socket: it is asked again
    int error_ = EINPROGRESS;
};

Connector::Connector(Reactor& reactor, const Address& to, Handler on_end, ConnectOptions options)
    : Connector{reactor, std::vector<Address>{to}, std::move(on_end), std::move(options)} {}
Connector::Connector(Reactor& reactor, std::vector<Address> to, Handler on_end,
                     ConnectOptions options)
    : impl_{std::make_unique<Impl>(reactor, std::move(to), std::move(on_end), std::move(options))} {
}
Connector::~Connector() = default;

}  // namespace eplb
