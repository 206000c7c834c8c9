#pragma once

#include "eplb/flow.hpp"
#include "eplb/pipe.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace eplb {

class DescriptorBudget;
class Service;

/// The relay contexts of a worker: one for each way to relay that a service of it wants, or that a
/// session which began before still has. One that nobody wants any more goes with its last session,
/// with its pipes and its buffer: a reload leaves nothing behind.
///
/// Belongs to the thread of its worker, and outlives the sessions.
class RelayContexts {
public:
    /// Both outlive it. `on_splice_refused`: as RelayContext::Options.
    RelayContexts(DescriptorBudget& budget,
                  const std::function<void(int error)>& on_splice_refused) noexcept;
    ~RelayContexts();
    RelayContexts(const RelayContexts&) = delete;
    RelayContexts& operator=(const RelayContexts&) = delete;

    /// The one for this way, which stays until keep_those_of() says otherwise. `pipe_bytes` 0: the default.
    [[nodiscard]] RelayContext& get(RelayMode mode, std::size_t pipe_bytes);
    /// Those that none of `services` has are not wanted any more.
    void keep_those_of(const std::vector<std::unique_ptr<Service>>& services) noexcept;
    /// One of them has a session more, or less. Two numbers and a comparison.
    static void add_session(RelayContext& context) noexcept;
    void remove_session(RelayContext& context) noexcept;

    /// Closes the idle pipes of all.
    void trim() noexcept;
    [[nodiscard]] std::size_t open_pipes() const noexcept;
    /// Of all together, and of those that are gone. Any thread.
    [[nodiscard]] PipePool::Stats stats() const;

private:
    class Counted;

    void drop(Counted& context) noexcept;

    DescriptorBudget& budget_;
    const std::function<void(int error)>& on_splice_refused_;
    // Others may read while one is added, or taken away.
    mutable std::mutex changing_;
    std::vector<std::unique_ptr<Counted>> contexts_;
    PipePool::Stats gone_;
};

}  // namespace eplb
