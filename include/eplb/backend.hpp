// balance: one that serves, and what is known of it.
#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/latency.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace eplb {

/// A server that sessions can be sent to, and what is known of it. All workers of a proxy share it:
/// any thread may count and read, without order between the counts.
class Backend : public std::enable_shared_from_this<Backend> {
public:
    /// Counts a session as active on a backend for as long as it lives, or until finish().
    /// Move-only.
    class Lease {
    public:
        Lease() noexcept = default;
        /// Whatever its limit is.
        explicit Lease(Backend& backend) noexcept : place_{place_of(backend)} {
            backend.active_.fetch_add(1);
            backend.attempts_.fetch_add(1, std::memory_order_relaxed);
        }
        /// Of nothing, if that would be one more than its max_connections().
        [[nodiscard]] static Lease try_take(Backend& backend) noexcept {
            const std::size_t limit = backend.max_connections();
            std::size_t active = backend.active();
            do {
                if (limit != 0 && active >= limit) return {};
            } while (!backend.active_.compare_exchange_weak(active, active + 1));
            backend.attempts_.fetch_add(1, std::memory_order_relaxed);
            Lease lease;
            lease.place_ = place_of(backend);
            return lease;
        }
        /// `other` counts nothing from then on.
        Lease(Lease&& other) noexcept : place_{std::exchange(other.place_, 0)} {}
        /// Swaps: what this one counted, `other` counts until it goes.
        Lease& operator=(Lease&& other) noexcept {
            std::swap(place_, other.place_);
            return *this;
        }
        ~Lease() {
            if (place_ != 0) (finished() ? get()->finished_ : get()->active_).fetch_sub(1);
        }
        /// nullptr for a lease of nothing.
        [[nodiscard]] Backend* get() const noexcept {
            return reinterpret_cast<Backend*>(place_ & ~finished_bit);
        }
        /// The server has finished, and the session goes on without it: its place is for another
        /// one. Of nothing, or again: does nothing.
        void finish() noexcept {
            if (place_ == 0 || finished()) return;
            // In this order: whoever asks for all sessions never misses this one.
            get()->finished_.fetch_add(1);
            get()->active_.fetch_sub(1);
            place_ |= finished_bit;
        }
        /// Whether finish() was called.
        [[nodiscard]] bool finished() const noexcept { return (place_ & finished_bit) != 0; }

    private:
        // One word, since every session has it.
        static constexpr std::uintptr_t finished_bit = 1;
        [[nodiscard]] static std::uintptr_t place_of(Backend& backend) noexcept {
            return reinterpret_cast<std::uintptr_t>(&backend);
        }
        std::uintptr_t place_ = 0;  // the backend's address, and the bit
    };

    /// `index`: its place among the backends of its service. A weight of 0 takes no sessions.
    Backend(std::size_t index, std::string name, Address address, std::uint32_t weight)
        : index_{index}, address_{std::move(address)}, weight_{weight} {
        set_name(std::move(name));
    }
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;

    /// Small, and no other backend of its service has it: for tables. Used anew when it is gone.
    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// For logs; may be empty.
    [[nodiscard]] const std::string& name() const noexcept {
        return *name_.load(std::memory_order_acquire);
    }
    /// By one thread at a time. What name() returned before stays good, and as it was, for as long as
    /// the backend is there.
    void set_name(std::string name) {
        auto known = std::ranges::find_if(names_, [&](const auto& one) { return *one == name; });
        if (known == names_.end()) {
            names_.push_back(std::make_unique<const std::string>(std::move(name)));
            known = std::prev(names_.end());
        }
        name_.store(known->get(), std::memory_order_release);
    }
    /// Never changes: under another address it would be another backend.
    [[nodiscard]] const Address& address() const noexcept { return address_; }
    /// As configured, or as set since.
    [[nodiscard]] std::uint32_t weight() const noexcept {
        return weight_.load(std::memory_order_relaxed);
    }
    /// Balancer::prepare() has to follow: some policies build tables by it.
    void set_weight(std::uint32_t weight) noexcept {
        weight_.store(weight, std::memory_order_relaxed);
    }

    /// What balancers go by: the weight times its share, which is less than full_share while it
    /// starts slowly. 0 only if the weight is.
    [[nodiscard]] std::uint64_t effective_weight() const noexcept {
        return std::uint64_t{weight()} * share_.load(std::memory_order_relaxed);
    }
    /// The share of a backend that is not starting slowly.
    static constexpr std::uint32_t full_share = 256;
    /// From 1 to full_share; what is outside becomes the nearer one.
    void set_share(std::uint32_t share) noexcept {
        share_.store(std::clamp(share, 1U, full_share), std::memory_order_relaxed);
    }

    /// Sessions at a time; 0: no limit. Those that it has stay when it is lowered.
    [[nodiscard]] std::size_t max_connections() const noexcept {
        return max_connections_.load(std::memory_order_relaxed);
    }
    /// Takes effect with the next Lease::try_take().
    void set_max_connections(std::size_t most) noexcept {
        max_connections_.store(most, std::memory_order_relaxed);
    }
    /// A hint: only Lease::try_take() is certain, with several threads.
    [[nodiscard]] bool full() const noexcept {
        const std::size_t most = max_connections();
        return most != 0 && active() >= most;
    }

    /// What an operator wants of it.
    enum class Wanted : std::uint8_t {
        up,           ///< sessions, as its state and weight allow
        drain,        ///< no new sessions; those that it has go on
        maintenance,  ///< no new sessions
    };
    /// Wanted::up until somebody says otherwise.
    [[nodiscard]] Wanted wanted() const noexcept {
        return static_cast<Wanted>(state_.load(std::memory_order_relaxed) & wanted_mask);
    }
    /// Leaves down() and ejected() as they are, whoever changes them meanwhile.
    void set_wanted(Wanted wanted) noexcept {
        set_bits(wanted_mask, static_cast<std::uint8_t>(wanted));
    }
    /// Its checks say that it does not work.
    [[nodiscard]] bool down() const noexcept { return has(down_bit); }
    /// For whoever checks it. Leaves the rest as it is, as set_wanted() does.
    void set_down(bool down) noexcept { set_bits(down_bit, down ? down_bit : std::uint8_t{0}); }
    /// It failed clients, and is left alone for a while.
    [[nodiscard]] bool ejected() const noexcept { return has(ejected_bit); }
    /// For whoever counts its failures. Leaves the rest as it is, too.
    void set_ejected(bool ejected) noexcept {
        set_bits(ejected_bit, ejected ? ejected_bit : std::uint8_t{0});
    }
    /// It came while its service was working already, and its first check has said nothing yet.
    [[nodiscard]] bool untried() const noexcept { return has(untried_bit); }
    /// For whoever checks it. Leaves the rest as it is, too.
    void set_untried(bool untried) noexcept {
        set_bits(untried_bit, untried ? untried_bit : std::uint8_t{0});
    }
    /// Sessions may be sent to it, if all is well: it is wanted and has a weight.
    [[nodiscard]] bool enabled() const noexcept { return wanted() == Wanted::up && weight() > 0; }
    /// And as far as is known, it works.
    [[nodiscard]] bool usable() const noexcept {
        return state_.load(std::memory_order_relaxed) == 0 && weight() > 0;
    }
    /// The same, or nothing is known of it because it is untried().
    [[nodiscard]] bool may_work() const noexcept {
        return (state_.load(std::memory_order_relaxed) & ~untried_bit) == 0 && weight() > 0;
    }

    /// Sessions connecting or connected to it now, without those that it has finished: what limits
    /// and balancers go by.
    [[nodiscard]] std::size_t active() const noexcept { return active_.load(); }
    /// The same with those, whose clients have not finished yet.
    [[nodiscard]] std::size_t sessions() const noexcept {
        const std::size_t active = active_.load();  // first: see Lease::finish()
        return active + finished_.load();
    }
    /// Sessions that were sent to it, ever.
    [[nodiscard]] std::uint64_t attempts() const noexcept {
        return attempts_.load(std::memory_order_relaxed);
    }
    /// Those of them that could not connect, through no fault of this machine.
    [[nodiscard]] std::uint64_t failures() const noexcept {
        return failures_.load(std::memory_order_relaxed);
    }
    /// Returns how many there were in a row by now.
    std::uint32_t count_failure() noexcept {
        failures_.fetch_add(1, std::memory_order_relaxed);
        return failures_in_a_row_.fetch_add(1, std::memory_order_relaxed) + 1;
    }
    /// It answered. Returns whether it had failed just before.
    bool count_success() noexcept {
        if (failures_in_a_row_.load(std::memory_order_relaxed) == 0) return false;
        return failures_in_a_row_.exchange(0, std::memory_order_relaxed) != 0;
    }
    /// Failures since it last answered.
    [[nodiscard]] std::uint32_t failures_in_a_row() const noexcept {
        return failures_in_a_row_.load(std::memory_order_relaxed);
    }
    /// What another Backend counted, which was the same server.
    void set_failures_in_a_row(std::uint32_t failures) noexcept {
        failures_in_a_row_.store(failures, std::memory_order_relaxed);
    }

    /// It is known at `now` that a connection to it is none to ourselves.
    void meet(TimePoint now) noexcept {
        met_at_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    }
    /// Since when, of the time `now`; at the longest, if that was never known or it has failed
    /// since.
    [[nodiscard]] Duration met_ago(TimePoint now) const noexcept {
        const Duration met{met_at_.load(std::memory_order_relaxed)};
        return met == never ? Duration::max() : now.time_since_epoch() - met;
    }
    /// It failed: who answers next may be ourselves.
    void forget_meeting() noexcept { met_at_.store(never.count(), std::memory_order_relaxed); }

    /// How long it takes to connect and to answer; whoever sees that tells it.
    [[nodiscard]] Latency& latency() noexcept { return latency_; }
    /// The same, to be read only.
    [[nodiscard]] const Latency& latency() const noexcept { return latency_; }

private:
    static constexpr Duration never = Duration::min();
    static constexpr std::uint8_t wanted_mask = 3;
    static constexpr std::uint8_t down_bit = 4;
    static constexpr std::uint8_t ejected_bit = 8;
    static constexpr std::uint8_t untried_bit = 16;

    [[nodiscard]] bool has(std::uint8_t bit) const noexcept {
        return (state_.load(std::memory_order_relaxed) & bit) != 0;
    }
    void set_bits(std::uint8_t mask, std::uint8_t bits) noexcept {
        std::uint8_t state = state_.load(std::memory_order_relaxed);
        while (!state_.compare_exchange_weak(
            state, static_cast<std::uint8_t>((state & ~mask) | bits), std::memory_order_relaxed)) {}
    }

    std::size_t index_;
    std::vector<std::unique_ptr<const std::string>> names_;  // that it ever had
    std::atomic<const std::string*> name_{nullptr};          // one of them
    Address address_;
    std::atomic<std::uint32_t> weight_;
    std::atomic<std::uint32_t> share_{full_share};
    std::atomic<std::size_t> max_connections_{0};
    std::atomic<std::uint8_t> state_{0};
    std::atomic<Duration::rep> met_at_{never.count()};
    // Written by sessions of all workers; what is above, and read by every pick, is hardly ever.
    alignas(64) std::atomic<std::size_t> active_{0};
    std::atomic<std::size_t> finished_{0};
    std::atomic<std::uint64_t> attempts_{0};
    std::atomic<std::uint64_t> failures_{0};
    std::atomic<std::uint32_t> failures_in_a_row_{0};
    Latency latency_;
};

}  // namespace eplb
