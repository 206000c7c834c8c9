#pragma once

#include "eplb/clock.hpp"
#include "eplb/descriptor_budget.hpp"
#include "proxy/frontend.hpp"
#include "proxy/relay_contexts.hpp"
#include "proxy/service.hpp"
#include "proxy/service_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace eplb {

/// What a worker works by: its services, its frontends, and the ways in which they relay. What is
/// removed stays until the last session that came in by it is over, so a session may hold references.
///
/// Whatever throws, throws std::bad_alloc, and may be called again. Belongs to the thread of its
/// worker, and outlives the sessions.
class WorkerCatalog {
public:
    /// Of the worker with this index; as RelayContexts.
    WorkerCatalog(std::size_t worker, DescriptorBudget& budget,
                  const std::function<void(int error)>& on_splice_refused) noexcept
        : worker_{worker}, contexts_{budget, on_splice_refused} {}

    /// Knows the services of `generation`, besides those that it knew; those that stay go on by it.
    void learn_services(const Generation& generation);
    /// Calls `visit` for each service whose sessions have to be told that a timeout is another one:
    /// once, even if learning it has failed in between.
    template <class Visit>
    void take_changes_of_timeouts(Visit visit) noexcept {
        for (const auto& service : services_) {
            if (service->take_change_of_timeouts()) visit(*service);
        }
    }
    /// The same of frontends, whose services it has learnt.
    void learn_frontends(const Generation& generation);
    /// What is not in `generation` gets no backend any more, and goes with its last session.
    void forget_all_but(const Generation& generation) noexcept;
    /// Something that was removed has lost its last session. O(all).
    void forget_unused() noexcept;

    // By their ids; nullptr: it is not known. O(log n).
    [[nodiscard]] Service* find_service(std::uint32_t id) noexcept;
    [[nodiscard]] Frontend* find_frontend(std::uint32_t id) noexcept;

    /// How often the service that wants it most often wants its sessions inspected; zero: none does.
    [[nodiscard]] Duration inspection_interval() const noexcept;
    /// Every service's part of a round of inspections, of so many workers.
    void begin_round(TimePoint now, std::size_t workers);

    /// As ServiceLimits::pass_on(), of every service. O(services).
    void pass_room_on() noexcept;

    [[nodiscard]] RelayContexts& contexts() noexcept { return contexts_; }
    [[nodiscard]] const RelayContexts& contexts() const noexcept { return contexts_; }

private:
    const std::size_t worker_;
    RelayContexts contexts_;
    // By id: those of what is new are higher than all before.
    std::vector<std::unique_ptr<Service>> services_;
    std::vector<std::unique_ptr<Frontend>> frontends_;
};

}  // namespace eplb
