#include "proxy/drain.hpp"

#include "base/duration.hpp"
#include "eplb/reactor.hpp"

#include <fmt/format.h>
#include <new>
#include <string>
#include <utility>

namespace eplb {
namespace {

constexpr Duration message_interval = std::chrono::seconds{5};

std::string count_of_sessions(std::size_t count) {
    return fmt::format("{} session{}", count, count == 1 ? "" : "s");
}

}  // namespace

Drain::Drain(Reactor& reactor, ProxyObserver& observer, TimePoint deadline, Hooks hooks)
    : reactor_{reactor},
      observer_{observer},
      hooks_{std::move(hooks)},
      deadline_{deadline},
      timeout_{reactor, *this},
      message_{reactor, *this} {
    if (const std::size_t left = hooks_.sessions_left(); left > 0) {
        if (deadline_ != TimePoint::max()) timeout_.start_at(deadline_);
        tell(left);
    } else {
        reactor_.schedule(*this);
    }
}

void Drain::on_session_gone() noexcept {
    if (hooks_.sessions_left() == 0) reactor_.schedule(*this);
}

Next Drain::run() {
    const std::size_t left = hooks_.sessions_left();
    if (left == 0) {
        timeout_.cancel();
        message_.cancel();
        return Next::done;
    }
    if (timeout_.take_fired()) {
        tell_reset(left);
        reset_ = left;
        hooks_.reset_sessions();
    } else if (message_.take_fired()) {
        tell(left);
    }
    return Next::wait;
}

void Drain::retire() {
    const auto on_drained = std::exchange(hooks_.on_drained, {});
    const std::size_t reset = reset_;
    if (on_drained) on_drained(reset);
}

void Drain::tell(std::size_t left) noexcept {
    message_.start(message_interval);
    try {
        std::string limit;
        if (deadline_ != TimePoint::max()) {
            limit = fmt::format(", for at most {}", format_duration(deadline_ - reactor_.now()));
        }
        observer_.on_event(LogLevel::info,
                           fmt::format("draining: {} left{}", count_of_sessions(left), limit));
    } catch (const std::bad_alloc&) {}  // the next message may be possible
}

void Drain::tell_reset(std::size_t left) noexcept {
    try {
        observer_.on_event(LogLevel::warning,
                           fmt::format("drain timeout: resetting {}", count_of_sessions(left)));
    } catch (const std::bad_alloc&) {}  // they are reset all the same
}

}  // namespace eplb
