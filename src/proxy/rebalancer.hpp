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
/// ones, and one over at least; but only while another one, which is not full, lacks as much. So it
/// comes to rest, if who has to come back is sent to one that lacks: by a policy that goes by weights.
class Rebalancer {
public:
    /// To be called every second, with the service's primaries: a hundredth of their sessions, shared
    /// by so many workers, may go until the next call, and one at least.
    void plan(std::span<Backend* const> backends, std::size_t workers = 1);
    /// Whether a session may be taken from it, which is counted.
    [[nodiscard]] bool take_from(const Backend& backend) noexcept;
    [[nodiscard]] bool has_too_many(const Backend& backend) const noexcept;

private:
    std::vector<std::size_t> enough_;  // by index()
    std::size_t left_ = 0;
};

}  // namespace eplb
