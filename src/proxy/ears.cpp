#include "proxy/ears.hpp"

#include "proxy/worker.hpp"

namespace eplb {

void Ears::call(Wish wish) noexcept {
    const auto bit = static_cast<std::uint8_t>(wish);
    if ((wishes_.fetch_or(bit) & bit) == 0) bell_.ring();
}

Next Ears::run() noexcept {
    const std::uint8_t wishes = wishes_.exchange(0);
    const auto wanted = [wishes](Wish wish) {
        return (wishes & static_cast<std::uint8_t>(wish)) != 0;
    };
    if (wanted(Wish::reset_sessions)) worker_.reset_sessions();
    if (wanted(Wish::trim_pipes)) worker_.trim_pipes();
    if (wanted(Wish::turn)) worker_.take_turn();
    if (wanted(Wish::backend_room)) worker_.on_backend_room();
    if (wanted(Wish::look_at_sessions)) shared_.on_sessions_gone();
    if (wanted(Wish::look_at_answers)) shared_.on_answers();
    return Next::wait;
}

}  // namespace eplb
