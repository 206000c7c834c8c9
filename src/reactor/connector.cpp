#include "eplb/connector.hpp"

#include "base/saturating.hpp"
#include "base/socket_options.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"
#include "reactor/dial.hpp"

#include <cerrno>
#include <utility>

namespace eplb {

class EPLB_LOCAL Connector::Impl final : public Task {
public:
    Impl(Reactor& reactor, const Address& to, Handler on_end, ConnectOptions options)
        : to_{to},
          options_{std::move(options)},
          reactor_{reactor},
          started_{reactor.now()},
          watch_{reactor, *this},
          timer_{reactor, *this},
          on_end_{std::move(on_end)} {
        error_ = begin();
        if (error_ != EINPROGRESS) {
            reactor.schedule(*this);
        } else if (options_.timeout > Duration{0} && !backlog_is_full_) {
            timer_.start(options_.timeout);
        }
    }

    Next run() override {
        if (error_ == EINPROGRESS) error_ = look();
        return error_ == EINPROGRESS ? Next::wait : Next::done;
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
    // 0: connected. EINPROGRESS: the watch will tell.
    [[nodiscard]] int begin() noexcept {
        const int fd = sys::socket(to_.family());
        if (fd < 0) return -fd;
        socket_.reset(fd);
        if (!to_.is_unix()) {
            if (options_.socket.no_delay) set_no_delay(socket_);
            set_keepalive(socket_, options_.socket.keepalive);
            if (const OptionFailure failure = set_route(socket_, options_.socket, to_.family()))
                return failure.error;
        }
        return dial();
    }

    [[nodiscard]] int dial() noexcept {
        sockaddr_storage raw{};
        const socklen_t length = to_.to_sockaddr(raw);
        const int result = sys::connect(socket_.get(), raw, length);
        backlog_is_full_ = result == EAGAIN && to_.is_unix();
        if (backlog_is_full_) return wait_for_backlog();
        if (result != EINPROGRESS) return result == 0 ? checked() : result;
        // Not before: epoll(7) reports a hang-up for a socket that was never connected.
        if (const int error = watch_.attach(socket_.get())) return error;
        return EINPROGRESS;
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
        return checked();
    }

    [[nodiscard]] int time_out() noexcept {
        // It may have been begun long after that, in a turn that was held up.
        const TimePoint due = saturating_add(reactor_.end_of_turn(started_), options_.timeout);
        if (reactor_.now() >= due) return ETIMEDOUT;
        timer_.start_at(due);
        return EINPROGRESS;
    }

    [[nodiscard]] int checked() noexcept {
        if (!is_connected_to_itself(socket_, to_)) return 0;
        // Closed with a FIN, it would keep the peer's own port in TIME-WAIT.
        sys::reset_on_close(socket_.get());
        return ECONNREFUSED;
    }

    Address to_;
    ConnectOptions options_;
    Reactor& reactor_;
    TimePoint started_;
    Fd socket_;
    Watch watch_;
    Timer timer_;
    Handler on_end_;
    bool backlog_is_full_ = false;  // of a Unix socket: it is asked again
    int error_ = EINPROGRESS;
};

Connector::Connector(Reactor& reactor, const Address& to, Handler on_end, ConnectOptions options)
    : impl_{std::make_unique<Impl>(reactor, to, std::move(on_end), std::move(options))} {}
Connector::~Connector() = default;

}  // namespace eplb
