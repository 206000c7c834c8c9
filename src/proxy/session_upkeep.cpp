#include "proxy/session_upkeep.hpp"

namespace eplb {

void SessionUpkeep::end_all(EndReason reason) noexcept {
    while (anyone_starves()) lists_.starved().front().reset(reason);  // joins the young
    for (const SessionLists::List* const list : {&lists_.young(), &lists_.settled()}) {
        for (Session* session = list->empty() ? nullptr : &list->front(); session != nullptr;
             session = list->next(*session)) {
            session->reset(reason);
        }
    }
    for (const SessionLists::List* const list : {&lists_.young(), &lists_.settled()}) {
        while (!list->empty()) list->front().retire();
    }
}

}  // namespace eplb
