#pragma once

#include "eplb/clock.hpp"
#include "sim/random.hpp"

#include <cstddef>
#include <vector>

namespace eplb {
class Reactor;
}

namespace sim {

/// The reactors of a proxy's further workers. In the program each has a thread; here somebody turns
/// them: the driver, in an order that a seed decides, and the kernel, in the middle of what another
/// one does, as a machine with several processors would. A worker's letters keep their order; those
/// of different workers have none.
class Crew {
public:
    class Member {
    public:
        Member(Crew& crew, eplb::Reactor& reactor);
        ~Member();
        Member(const Member&) = delete;
        Member& operator=(const Member&) = delete;

        /// Whether anything ran. Not while it turns already.
        bool turn() noexcept;
        [[nodiscard]] bool turning() const noexcept { return turning_; }
        [[nodiscard]] eplb::Reactor& reactor() const noexcept { return reactor_; }

    private:
        Crew& crew_;
        eplb::Reactor& reactor_;
        bool turning_ = false;
    };

    [[nodiscard]] bool empty() const noexcept { return members_.empty(); }
    [[nodiscard]] const std::vector<Member*>& members() const noexcept { return members_; }
    /// Up to so many turns of members that chance chooses, of those that are not in the middle of one.
    void turn_some(Random& random, std::size_t most);
    /// A want of memory left the turn of one of them.
    [[nodiscard]] bool lacked_memory() const noexcept { return lacked_memory_; }

private:
    std::vector<Member*> members_;
    bool lacked_memory_ = false;
};

}  // namespace sim
