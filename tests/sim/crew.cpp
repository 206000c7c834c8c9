#include "sim/crew.hpp"

#include "eplb/reactor.hpp"

namespace sim {

Crew::Member::Member(Crew& crew, eplb::Reactor& reactor) : crew_{crew}, reactor_{reactor} {
    crew_.members_.push_back(this);
}

Crew::Member::~Member() { std::erase(crew_.members_, this); }

bool Crew::Member::turn() {
    turning_ = true;
    const bool any = reactor_.run_once(eplb::Duration{0});
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
