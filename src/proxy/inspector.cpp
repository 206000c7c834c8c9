#include "proxy/inspector.hpp"

#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

namespace eplb {
namespace {

// A system call or two each.
constexpr int inspected_per_turn = 64;

}  // namespace

void Inspector::set_interval(Duration interval) noexcept {
    if (interval == interval_) return;
    interval_ = interval;
    in_round_ = false;
    timer_.cancel();
    if (!sessions_.settled().empty()) expect_a_session();
}

// Every session that was there when the round began is looked at once: it carries the round's
// number then. The list goes round, so that it does not matter who leaves meanwhile.
Next Inspector::run() noexcept {
    if (timer_.take_fired()) {
        in_round_ = true;
        round_ = round_ == UINT8_MAX ? std::uint8_t{1} : static_cast<std::uint8_t>(round_ + 1);
        catalog_.begin_round(reactor_.now(), workers_);
    }
    if (!in_round_) return Next::wait;
    const SessionLists::List& settled = sessions_.settled();
    for (int count = 0; !settled.empty() && settled.front().inspected_in() != round_; ++count) {
        if (count == inspected_per_turn) return Next::again;
        Session& session = settled.front();
        sessions_.move_to_settled(session);
        session.inspect(round_);
        if (session.frontend().service.is_to_be_moved(session)) session.reset(EndReason::rebalance);
    }
    in_round_ = false;
    if (!settled.empty()) timer_.start(interval_);
    return Next::wait;
}

}  // namespace eplb
