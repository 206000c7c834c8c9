#include "proxy/errands.hpp"

#include "eplb/reactor.hpp"

#include <utility>

namespace eplb {
namespace {

// A look costs next to nothing; a reset two close(2), and a line in the log in the next turn.
constexpr int charges_of_errands = 1024;
constexpr int charges_of_reset = 15;  // 64 of them a turn
constexpr int charges_of_waking = 3;

}  // namespace

void Errands::reset_all(EndReason reason) noexcept {
    coming_.reset_all(reason);
    begin();
}

void Errands::order(const SessionOrders& orders) {
    coming_.add(orders);
    begin();
}

void Errands::wake_those_of(Service& service) noexcept {
    service.being_woken = false;  // those that have been visited would miss it
    service.ListHook<Waking>::unlink();
    to_be_woken_.push_back(service);
    begin();
}

// A few at once: then few sessions are over in the next turn, as if this took no turns at all.
void Errands::begin() noexcept {
    if (under_way_ || (coming_.empty() && to_be_woken_.empty())) return;
    under_way_ = true;
    current_ = std::exchange(coming_, {});
    while (!to_be_woken_.empty()) {
        Service& service = to_be_woken_.pop_front();
        service.being_woken = true;
        waking_.push_back(service);
    }
    sessions_.begin_round();
    if (run() == Next::again) reactor_.schedule(*this);
}

Next Errands::run() noexcept {
    for (int charged = 0; !sessions_.round_over();) {
        if (charged >= charges_of_errands) return Next::again;
        ++charged;
        if (Session* const session = sessions_.visit_next()) charged += carry_out(*session);
    }
    current_ = {};
    while (!waking_.empty()) waking_.pop_front().being_woken = false;
    sessions_.end_round();
    if (std::exchange(under_way_, false)) begin();
    return Next::wait;
}

// Returns what it costs.
int Errands::carry_out(Session& session) noexcept {
    const Service& service = session.frontend().service;
    if (const auto doom =
            current_.doom_of(service.id(), session.frontend().id, session.backend())) {
        session.reset(*doom);
        return charges_of_reset;
    }
    if (!service.being_woken) return 0;
    reactor_.schedule(session);
    return charges_of_waking;
}

}  // namespace eplb
