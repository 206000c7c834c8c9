#include "proxy/errands.hpp"

#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <cstdint>
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

// A few at once: then few sessions are over in the next turn, as if this took no turns at all.
void Errands::begin() noexcept {
    if (under_way_ || coming_.empty()) return;
    under_way_ = true;
    current_ = std::exchange(coming_, {});
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
    sessions_.end_round();
    if (std::exchange(under_way_, false) && !coming_.empty()) begin();
    return Next::wait;
}

// Returns what it costs.
int Errands::carry_out(Session& session) noexcept {
    const std::uint32_t service = session.frontend().service.id();
    if (const auto doom = current_.doom_of(service, session.frontend().id, session.backend())) {
        session.reset(*doom);
        return charges_of_reset;
    }
    if (!current_.wakes(service)) return 0;
    reactor_.schedule(session);
    return charges_of_waking;
}

}  // namespace eplb
