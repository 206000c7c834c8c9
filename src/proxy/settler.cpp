#include "proxy/settler.hpp"

namespace eplb {
namespace {

// Four system calls each: a thousand clients who came at once do not hold everybody up together.
constexpr int settled_per_turn = 32;

}  // namespace

Next Settler::run() noexcept {
    const SessionLists::List& young = sessions_.young();
    for (int count = 0; !young.empty() && young.front().age() >= settling_age; ++count) {
        if (count == settled_per_turn) return Next::again;
        Session& session = young.front();
        sessions_.move_to_settled(session);
        session.settle();
        inspector_.expect_a_session();
    }
    if (!young.empty()) timer_.start(settling_age - young.front().age());
    return Next::wait;
}

}  // namespace eplb
