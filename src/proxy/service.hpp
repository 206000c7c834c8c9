#pragma once

#include "base/source_turn.hpp"
#include "eplb/balancer.hpp"
#include "eplb/list_hook.hpp"
#include "eplb/proxy.hpp"
#include "proxy/failed_attempts.hpp"
#include "proxy/rebalancer.hpp"
#include "proxy/service_spec.hpp"
#include "proxy/unique_ids.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace eplb {

class Session;

/// The lists of a worker in which a service may be.
struct Calling;  ///< whoever waits for it is to be called
struct Waiting;  ///< some of the worker's sessions wait for it
struct Waking;   ///< all of its sessions are to look at their timeouts again

/// A service as one worker knows it: what it was told, and a balancer of its own, so that picking
/// takes no lock. Belongs to the thread of its worker, and outlives the sessions that came in by it.
class Service : public ListHook<Calling>, public ListHook<Waiting>, public ListHook<Waking> {
public:
    /// The balancers of `worker` 0, 1, 2… begin at successive places of the sequence: the first
    /// clients of several workers do not all meet the same backend. `context` outlives it.
    Service(std::shared_ptr<const ServiceSpec> spec, std::size_t worker, RelayContext& context);

    /// Goes on by what it is told now; so do its sessions. Throws std::bad_alloc, and may be called
    /// again.
    void update(std::shared_ptr<const ServiceSpec> spec, RelayContext& context);
    /// Whether a timeout is another one since this was asked last, which sessions that wait for
    /// nothing else have to be told.
    [[nodiscard]] bool take_change_of_timeouts() noexcept {
        return std::exchange(timeouts_changed_, false);
    }
    /// It has been told just this, so there is nothing to update().
    [[nodiscard]] bool goes_by(const std::shared_ptr<const ServiceSpec>& spec) const noexcept {
        return spec_ == spec && up_to_date_;
    }
    // Of those that clients of this worker came in by, or may.
    void count_frontend() noexcept { ++frontends_; }
    void discount_frontend() noexcept { --frontends_; }
    [[nodiscard]] bool has_frontends() const noexcept { return frontends_ > 0; }
    /// It is in the configuration no longer, for good: nobody gets a backend of it any more.
    void remove() noexcept;
    [[nodiscard]] bool removed() const noexcept { return removed_; }
    /// The worker's own sessions that wait for a backend with room.
    std::size_t waiting = 0;
    /// The errand under way wakes its sessions.
    bool being_woken = false;

    [[nodiscard]] std::uint32_t id() const noexcept { return spec_->id; }
    [[nodiscard]] const std::string& name() const noexcept { return config_->name; }
    [[nodiscard]] Duration connect_timeout() const noexcept { return config_->connect_timeout; }
    /// The reference stays good, with values that follow update().
    [[nodiscard]] const RelayTimeouts& timeouts() const noexcept { return timeouts_; }
    /// What a round of inspections is to look at. A worker has rounds as often as the service that
    /// wants them most often; the others sit most of them out.
    struct Inspection {
        bool peers = false;
        bool latency = false;
        Duration peers_interval{0};  ///< from one round that looks at peers to the next
    };
    /// How often it wants rounds; zero: not at all.
    [[nodiscard]] Duration inspection_interval() const noexcept;
    void begin_round(TimePoint now, std::size_t workers);
    [[nodiscard]] const Inspection& inspection() const noexcept { return inspection_; }
    /// Whether this session of the service is one to be moved, which is counted.
    [[nodiscard]] bool is_to_be_moved(const Session& session) noexcept;
    [[nodiscard]] const ServiceSpec& spec() const noexcept { return *spec_; }
    /// That of spec(), one pointer nearer: sessions ask for it all the time.
    [[nodiscard]] const ServiceConfig& config() const noexcept { return *config_; }
    /// For who may outlive it.
    [[nodiscard]] const std::shared_ptr<const ServiceSpec>& share_spec() const noexcept {
        return spec_;
    }
    /// An id that no other session of any eplb has: 32 hexadecimal digits.
    [[nodiscard]] std::string make_unique_id();
    /// Where the next connection to a backend of this family is to come from; nullptr: as routed.
    [[nodiscard]] const Address* next_source(int family) noexcept;
    /// For sessions that begin now.
    [[nodiscard]] RelayContext& relay_context() const noexcept { return *context_; }

    struct Choice {
        Backend* backend = nullptr;  ///< nullptr: nobody is left
        bool all_full = false;       ///< but there will be room
    };
    /// Whom the balancer gives to `client`, leaving out those that failed it (nullptr: none did).
    /// Backups are for when no other backend is usable, be it full or not. O(backends).
    [[nodiscard]] Choice pick(const Address& client, const FailedAttempts* failed,
                              TimePoint now) noexcept;

    /// For how many of those who wait there may be a place: one at least, for what keeps them waiting
    /// may be over; and not more than WaitingRoom::most_called. O(backends).
    [[nodiscard]] std::size_t free_places() const noexcept;

    /// Whether a connection to `backend`, if nobody listens there, could be given the backend's own
    /// port as its local one, and so be connected to itself (simultaneous open, RFC 9293, 3.5).
    [[nodiscard]] bool may_connect_to_itself(const Backend& backend, TimePoint now) const noexcept;

private:
    struct Tier {
        std::vector<Backend*> backends;
        std::unique_ptr<Balancer> balancer;
    };

    void make_balancers();
    void begin_at_own_place() noexcept;
    [[nodiscard]] bool goes_by_latency() const noexcept;
    [[nodiscard]] bool rebalances() const noexcept;
    void take_backends();
    void have_no_backends() noexcept;
    /// The same backend, to be counted on; nullptr: it is not one of the candidates. O(1); of what
    /// a custom policy chose, O(candidates).
    [[nodiscard]] Backend* own_one(const Backend* chosen) const noexcept;
    template <class Predicate>
    [[nodiscard]] std::optional<Choice> pick_from(Tier& tier, Predicate may_be_used,
                                                  const FailedAttempts* failed,
                                                  const PickContext& context) noexcept;

    std::shared_ptr<const ServiceSpec> spec_;
    const ServiceConfig* config_;  // of spec_
    std::size_t worker_;
    RelayContext* context_;
    RelayTimeouts timeouts_;
    Tier primaries_;
    Tier backups_;
    Candidates candidates_;           // of a pick()
    std::vector<Backend*> by_index_;  // of both tiers
    Rebalancer rebalancer_;
    Inspection inspection_;
    TimePoint next_look_at_peers_;
    TimePoint next_look_at_latency_;
    TimePoint next_rebalance_;
    bool removed_ = false;
    bool up_to_date_ = true;  // false: an update() has failed
    bool timeouts_changed_ = false;
    std::size_t frontends_ = 0;
    UniqueIds unique_ids_;
    SourceTurn source_turn_;
};

}  // namespace eplb
