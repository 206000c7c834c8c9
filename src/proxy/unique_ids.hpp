#pragma once

#include <cstdint>
#include <string>

namespace eplb {

/// Ids that no other sequence has, in whatever process, of whatever machine, at whatever time.
///
/// A sequence is one of 2^64, drawn at random, and begins at a random place. What a sequence belongs
/// to is not in the id: numbers of processes, workers and services come again, and were once packed
/// so closely that they ran into each other.
class UniqueIds {
public:
    /// Draws nothing yet: most services make no ids.
    UniqueIds() noexcept = default;

    /// 32 hexadecimal digits: those of the sequence and, one more each time, of the place in it. The
    /// first call asks the system's source of randomness, and does without if there is none.
    [[nodiscard]] std::string next();

private:
    bool drawn_ = false;
    std::uint64_t sequence_ = 0;
    std::uint64_t place_ = 0;
};

}  // namespace eplb
