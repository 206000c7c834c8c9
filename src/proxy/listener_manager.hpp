#pragma once

#include "eplb/proxy.hpp"
#include "proxy/late_listeners.hpp"
#include "proxy/rollout.hpp"
#include "proxy/roster.hpp"

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace eplb {

class Reactor;
class WorkerGroup;

/// What of a proxy's listeners is not one worker's: opens their sockets, before anything is gone over
/// to; opens those later whose network interface is not there yet; and knows what could not be done on
/// those that stay.
///
/// Belongs to a proxy, and to the thread of its reactor, but for what says otherwise.
class ListenerManager {
public:
    using Opened = std::vector<Rollout::NewListener>;

    /// `is_applying`: not all workers may know the frontends of the roster's generation yet. All that
    /// is referred to outlives it.
    ListenerManager(Reactor& reactor, ProxyObserver& observer, const Roster& roster,
                    WorkerGroup& workers, std::function<bool()> is_applying);
    ListenerManager(const ListenerManager&) = delete;
    ListenerManager& operator=(const ListenerManager&) = delete;

    /// Throws std::invalid_argument if a new socket of `draft`, which is current, can only be opened
    /// when one that is open is closed.
    void reject_what_takes_a_restart(const Roster::Draft& draft) const;
    /// Opens the new sockets of `draft`, and tells it their addresses; or throws std::system_error, and
    /// has opened nothing. Those that lack their interface, if they may, have no sockets.
    [[nodiscard]] Opened open(Roster::Draft& draft) const;
    /// Hands the sockets to the workers, who know the frontends. As WorkerGroup::call().
    void add_to_workers(Opened& opened);
    /// Says which of them lack their interface, and tries those again.
    void wait_for_interfaces(const Opened& opened);
    /// For good.
    void stop_waiting() noexcept;

    // Any thread:

    /// What could not be done on a listener that stays, since forget_troubles(). Each is told once.
    [[nodiscard]] std::vector<std::string> troubles() const;
    void tell_trouble(const std::string& trouble);
    void forget_troubles();

private:
    [[nodiscard]] bool try_again(std::uint32_t socket) noexcept;
    void add_late(Rollout::NewListener listener);

    ProxyObserver& observer_;
    const Roster& roster_;
    WorkerGroup& workers_;
    const std::function<bool()> is_applying_;
    bool gave_up_ = false;
    mutable std::mutex telling_troubles_;
    std::vector<std::string> troubles_;
    LateListeners late_;
};

}  // namespace eplb
