#include "proxy/usher.hpp"

#include "eplb/acceptor.hpp"
#include "proxy/session.hpp"

namespace eplb {
namespace {

// A socket and a connect(2) each, as an accept(2) has behind it.
constexpr int called_per_turn = Acceptor::budget_per_turn;

}  // namespace

void Usher::call_all() noexcept {
    Service* service = waited_for_.empty() ? nullptr : &waited_for_.front();
    for (; service != nullptr; service = waited_for_.next(*service)) call(*service);
}

// Whoever gets a place leaves, and then the next ones are called. Who does not stays, and as there is
// no room nobody is called.
Next Usher::run() noexcept {
    for (int count = 0; !calling_.empty(); ++count) {
        if (count == called_per_turn) return Next::again;
        Service& service = calling_.pop_front();
        WaitingRoom::Guest* const guest =
            service.spec().waiting_room->first_of(host_, service.free_places());
        if (guest == nullptr) continue;
        auto& session = static_cast<Session&>(*guest);  // all guests are sessions
        session.wake();
        reactor_.dispatch(session);
    }
    return Next::wait;
}

}  // namespace eplb
