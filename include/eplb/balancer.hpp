// balance: who serves the next client.
#pragma once

#include "eplb/address.hpp"
#include "eplb/backend.hpp"
#include "eplb/clock.hpp"
#include "eplb/export.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace eplb {

/// The backends that a client can be given now, to be looked at. Filling it anew does not allocate.
class Candidates {
public:
    /// Every index() of what will be added is below `index_end`. The place to allocate.
    void prepare(std::size_t index_end) {
        marks_.assign(index_end, 0);
        round_ = 0;
        backends_.clear();
        backends_.reserve(index_end);
    }
    /// To be called before the first add(), after prepare() too.
    void clear() noexcept {
        ++round_;
        backends_.clear();
    }
    /// Once, and in the order of the configuration. O(1).
    void add(const Backend& backend) noexcept {
        marks_[backend.index()] = round_;
        backends_.push_back(&backend);
    }

    /// In the order of the configuration.
    [[nodiscard]] std::span<const Backend* const> all() const noexcept { return backends_; }
    /// What a Balancer is given is not.
    [[nodiscard]] bool empty() const noexcept { return backends_.empty(); }
    /// Of all().
    [[nodiscard]] std::size_t size() const noexcept { return backends_.size(); }
    /// `backend` is one of those that the balancer was prepared for. O(1).
    [[nodiscard]] bool contains(const Backend& backend) const noexcept {
        return round_ != 0 && marks_[backend.index()] == round_;
    }

private:
    std::vector<const Backend*> backends_;
    std::vector<std::uint64_t> marks_;  // by index(): the round in which it was added last
    std::uint64_t round_ = 0;
};

/// For whom Balancer::pick() is asked. Valid during the call only. Further members may come, at the
/// end and with a default.
struct PickContext {
    const Address& client;          ///< or whom a PROXY header named
    std::string_view service = {};  ///< the name of the one that it came to
    /// How many backends this client was sent to already, all of which failed it. 0: its first one.
    std::size_t attempts = 0;
    TimePoint now = {};  ///< when the reactor's turn began
};

/// Decides which backend a client gets. Pure: no I/O and no clock of its own, so that a sequence of
/// picks can be tested as a table; it looks at backends, and changes nothing of them. Policies derive
/// from it. Each worker has a balancer of its own for every service, and one more for the backups: it
/// belongs to one thread, but what it reads of a backend may change between two reads.
class EPLB_API Balancer {
public:
    virtual ~Balancer() = default;

    /// Called before the first pick, and whenever the set of backends, or a weight, changed:
    /// candidates will be some of `backends`, which all have a weight above 0. Those of before may be
    /// gone by then, and in the destructor all may. The place to allocate, and to build tables. May
    /// throw, for lack of memory, say: then nobody is picked until it has been called again, a moment
    /// later, and has returned.
    virtual void prepare(std::span<const Backend* const> backends) { static_cast<void>(backends); }

    /// One of `candidates`, which are not empty. They may take a session: those that are full, or
    /// were tried for this client, are not among them, nor those that are down, unless nobody works
    /// (WhenAllDown::try_all). Never allocates.
    ///
    /// nullptr: nobody. The client is reset, with EndReason::no_backend or as the one that was tried
    /// last failed; backups are not asked then. Who is not one of `candidates` counts as nobody, too,
    /// even one that is gone: it is looked for among them, in O(candidates).
    [[nodiscard]] virtual const Backend* pick(const Candidates& candidates,
                                              const PickContext& context) noexcept = 0;
};

/// Each in turn, in proportion to the weights, and smoothly: 5:1:1 gives a a b a c a a, not a a a a
/// a b c. The algorithm is nginx's: everybody gains their weight, the richest is picked and pays
/// the total. What they have saved up counts as parts of a pick: when weights or candidates are others
/// than before, it neither outweighs the new weights nor is lost, and shares are even from the next
/// pick on. Who is new begins in the middle. O(candidates) per pick.
class EPLB_API RoundRobin final : public Balancer {
public:
    void prepare(std::span<const Backend* const> backends) override;
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;
    /// For a policy that finds several equally good: whose turn it is among them.
    [[nodiscard]] const Backend* next(std::span<const Backend* const> among) noexcept;

private:
    struct Account {
        const Backend* owner = nullptr;
        // Whole numbers while nothing changes, so that ties are ties.
        double credit = 0;
        double total = 1;  // of the weights when it was counted: what a pick costs
    };

    std::vector<Account> accounts_;  // by index()
};

/// The policies there are. Before any of them picks, the candidates are gathered, in O(backends); what is
/// said of costs here comes on top. Where weights are told of, effective_weight() is meant, which grows
/// during a slow start, unless it says otherwise.
enum class Balance : std::uint8_t {
    /// RoundRobin.
    round_robin,
    /// The one with the fewest active sessions for its weight; of those who tie, each in turn, in
    /// proportion to the weights. For sessions that last. O(candidates).
    leastconn,
    /// Two are drawn, in proportion to the weights, and the one with fewer active sessions for its
    /// weight is picked. Nearly as even as leastconn, and proxies that do not know of each other's
    /// sessions do not all pick the same one. O(candidates).
    random,
    /// The first in the order of the configuration: the next one gets sessions once all before it
    /// are full. Weights do not matter. O(1), once there are candidates.
    first,
    /// By the client's address, without its port: the same backend for as long as it can be had,
    /// and on every proxy that has the same backends, in whatever order. Without one of N, about
    /// 1/N of the clients, its own, are spread over the others. A Maglev table. Goes by weight(),
    /// slow start or not. O(1) while most backends are candidates, and once there are those.
    source_hash,
    /// As source_hash, but nobody gets more than 125 % of their fair share of the active sessions:
    /// the rest goes to others. A ring of hashes. O(candidates).
    consistent,
    /// The one with the lowest latency() times active sessions (and one more) for its weight; in turn
    /// if several are unknown. O(candidates), and dearer than the others.
    least_time,
    /// Two are drawn, as by `random`, and the one is picked that `least_time` would. O(candidates).
    peak_ewma,
};

/// Two balancers with the same `seed` draw the same; those that draw nothing do not use it.
[[nodiscard]] EPLB_API std::unique_ptr<Balancer> make_balancer(Balance policy, std::uint64_t seed);

}  // namespace eplb
