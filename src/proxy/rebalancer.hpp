#pragma once

#include "eplb/backend.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace eplb {

/// Says from which backends sessions should go, so that others get their share, and how many at a
/// time. Pure. Belongs to one thread.
///
/// A backend has too many if it has more than a tenth over its share of all sessions of the usable
/// ones, and one over at least; but only while another one lacks as much. So it comes to rest.
class Rebalancer {
public:
    /// To be called every second, with the service's primaries: a hundredth of their sessions may
    /// go until the next call, and one at least.
    void plan(std::span<Backend* const> backends);
    /// Whether a session may be taken from it, which is counted.
    [[nodiscard]] bool take_from(const Backend& backend) noexcept;

private:
    std::vector<std::size_t> enough_;  // by index()
    std::size_t left_ = 0;
};

}  // namespace eplb
