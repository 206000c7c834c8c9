#include "proxy/session_lists.hpp"

namespace eplb {

void SessionLists::begin_round() noexcept {
    round_ = round_ == UINT8_MAX ? std::uint8_t{1} : static_cast<std::uint8_t>(round_ + 1);
    unvisited_ = memory_.size();
    list_ = 0;
    next_ = young_.empty() ? nullptr : &young_.front();
}

// One that is not visited yet may have gone from a list that comes to one that was done, so it begins
// anew as long as there are such.
Session* SessionLists::visit_next() noexcept {
    while (next_ == nullptr) {
        list_ = (list_ + 1) % 3;
        next_ = list_in_round().empty() ? nullptr : &list_in_round().front();
    }
    Session& session = *next_;
    next_ = list_in_round().next(session);
    if (session.visited_in() == round_) return nullptr;
    session.set_visited_in(round_);
    --unvisited_;
    return &session;
}

}  // namespace eplb
