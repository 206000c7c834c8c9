#include "eplb/waiting_turns.hpp"

#include <bit>

namespace eplb {

std::optional<std::size_t> WaitingTurns::take_next() noexcept {
    std::uint64_t waiting = waiting_.load();
    while (waiting != 0) {
        const std::size_t behind = (told_last_.load() + 1) % most_told_apart;
        const auto steps = static_cast<std::size_t>(
            std::countr_zero(std::rotr(waiting, static_cast<int>(behind))));
        const std::size_t who = (behind + steps) % most_told_apart;
        if (!waiting_.compare_exchange_weak(waiting, waiting & ~(std::uint64_t{1} << who)))
            continue;
        told_last_.store(who);
        return who;
    }
    return std::nullopt;
}

}  // namespace eplb
