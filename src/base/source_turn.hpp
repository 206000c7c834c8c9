#pragma once

#include "eplb/address.hpp"

#include <cstddef>
#include <vector>

namespace eplb {

/// From which of our own addresses the next connection goes out: each has its turn, of those that have
/// the family of where it goes. Belongs to one thread.
class SourceTurn {
public:
    /// nullptr: none of them has it, and the kernel chooses. O(sources).
    [[nodiscard]] const Address* next(const std::vector<Address>& sources, int family) noexcept {
        for (std::size_t tried = 0; tried < sources.size(); ++tried) {
            const Address& source = sources[next_++ % sources.size()];
            if (source.family() == family) return &source;
        }
        return nullptr;
    }

private:
    std::size_t next_ = 0;
};

}  // namespace eplb
