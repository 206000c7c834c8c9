#include "sim/crew.hpp"

#include "eplb/reactor.hpp"
#include "sim/memory.hpp"

#include <new>

namespace sim {

Crew::Member::Member(Crew& crew, eplb::Reactor& reactor) : crew_{crew}, reactor_{reactor} {
    crew_.members_.push_back(this);
}

Crew::Member::~Member() { std::erase(crew_.members_, this); }

// Another one may be in the middle of a system call, which is no place for an exception.
bool Crew::Member::turn() noexcept {
    const BalancersTurn at_stake;
    turning_ = true;
    bool any = true;
    try {
        any = reactor_.run_once(eplb::Duration{0});
    } catch (const std::bad_alloc&) {
        crew_.lacked_memory_ = true;
    }
    turning_ = false;
    return any;
}

void Crew::turn_some(Random& random, std::size_t most) {
    for (std::uint64_t left = random.between(1, most); left > 0 && !members_.empty(); --left) {
        Member& member = *members_[static_cast<std::size_t>(random.below(members_.size()))];
        if (!member.turning()) member.turn();
    }
}

}  // namespace sim
