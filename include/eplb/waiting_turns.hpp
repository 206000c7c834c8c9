// base: whose turn it is, of those who wait for room.
#pragma once

#include "eplb/export.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace eplb {

/// Those who wait for room in something that they share, by their numbers. One is told for each place
/// that comes free, in turn: were all of them told, all but one would have been woken for nothing, and
/// whoever is quickest would get every place.
///
/// Nobody waits in vain if
///   * who waits asks first, and looks for room after that;
///   * who makes room calls take_next() after that, and has whom it names look for room;
///   * who was told does the same once it has looked, if there is room still: it may have had no use
///     for it.
///
/// Any thread may call anything. Each call is an atomic operation, and allocates nothing.
class EPLB_API WaitingTurns {
public:
    /// Those whose numbers have the same remainder by it are told with one number, that remainder.
    static constexpr std::size_t most_told_apart = 64;

    /// `who` waits. However often it asks, it is told once.
    void ask(std::size_t who) noexcept {
        waiting_.fetch_or(std::uint64_t{1} << who % most_told_apart);
    }
    /// Whether somebody waits.
    [[nodiscard]] bool anyone() const noexcept { return waiting_.load() != 0; }
    /// Whose turn it is, who does not wait any more. Nothing: nobody does.
    [[nodiscard]] std::optional<std::size_t> take_next() noexcept;

private:
    std::atomic<std::uint64_t> waiting_{0};  // a bit each
    std::atomic<std::size_t> told_last_{0};
};

}  // namespace eplb
