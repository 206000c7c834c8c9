#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"
#include "eplb/rate.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace eplb {

/// What a keyed hash is secret by.
struct HashSecret {
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    /// From the system's source of randomness. Throws when there is none.
    [[nodiscard]] static HashSecret random() noexcept;
};

/// SipHash-1-3 of eight bytes, lowest first: nobody without the secret can find values that meet
/// in a hash table.
[[nodiscard]] std::uint64_t sip_hash(std::uint64_t value, const HashSecret& secret) noexcept;

enum class Admission : std::uint8_t {
    admitted,
    too_many,  ///< there are as many connections as there may be
    too_fast,  ///< they come more often than they may
};

/// How many connections a client of a service may have, and how often it may connect.
///
/// A client is known by its source: its IPv4 address, or the first 64 bits of its IPv6 address,
/// since whoever has one of these has all of them. Whatever is behind one address (NAT, a proxy) or
/// one /64 (a local network) is one source. Clients of Unix sockets have none, and no limits.
///
/// Memory is bounded, however many sources an attacker has: 40 bytes for each of `max_sources`. A
/// source is remembered while it has a connection or is short of its full burst, and may be
/// forgotten after. One that comes when all places are taken by such shares a place, and what one
/// source may have, with the others of its network that found none: its /24 or /48 (IPv6). There are
/// an eighth as many of these, and when they are taken, as many for a /16 or /32. So whoever has
/// filled the table with one network is held to a few sources' worth more, and who comes from
/// elsewhere is not held up by it. Only if that is all full is one admitted and not tracked: better
/// than locking out who has done nothing, or forgetting who has.
///
/// Any thread may call anything, but one at a time set_options(); admit() takes a lock that every
/// 32nd source has in common, for a fraction of a microsecond. Outlives its tickets. 12 KiB when
/// nothing is limited.
class SourceLimits {
public:
    struct Options {
        std::uint32_t max_connections_per_source = 0;  ///< 0: no limit
        Rate connection_rate_per_source;
        /// At most as many are tracked; about, and at least 32.
        std::size_t max_sources = 65'536;

        friend bool operator==(const Options& a, const Options& b) noexcept = default;
    };

    /// Counts a connection as one of its source for as long as it lives; on any thread. An empty
    /// one counts nothing. Move-only.
    class Ticket {
    public:
        Ticket() noexcept = default;
        Ticket(Ticket&& other) noexcept
            : connections_{std::exchange(other.connections_, nullptr)} {}
        Ticket& operator=(Ticket&& other) noexcept {
            std::swap(connections_, other.connections_);
            return *this;
        }
        // Relaxed: whoever sees that nobody is left uses the place again, and it holds nothing that
        // a ticket has written but this number.
        ~Ticket() {
            if (connections_ != nullptr) connections_->fetch_sub(1, std::memory_order_relaxed);
        }
        [[nodiscard]] bool counts() const noexcept { return connections_ != nullptr; }

    private:
        friend class SourceLimits;
        explicit Ticket(std::atomic<std::uint32_t>& connections) noexcept
            : connections_{&connections} {}

        std::atomic<std::uint32_t>* connections_ = nullptr;
    };
    static_assert(sizeof(Ticket) <= 8, "every session has one");

    struct Decision {
        Admission admission = Admission::admitted;
        Ticket ticket{};  ///< to be kept for as long as the connection; empty when there is no need
        /// The first one that found no place of its own: somebody should be told, once.
        bool first_without_place = false;
    };

    /// All but `sources` are totals since the beginning.
    struct Stats {
        std::size_t sources = 0;      ///< that have a connection or are short of their full burst
        std::size_t networks = 0;     ///< the same, of those that sources without a place share
        std::uint64_t shared = 0;     ///< connections that were judged by their network
        std::uint64_t untracked = 0;  ///< connections admitted for want of a place for that, too
        std::uint64_t too_many = 0;
        std::uint64_t too_fast = 0;
    };

    /// `secret` decides which sources share a lock, and nothing else that one could see while there
    /// are places.
    explicit SourceLimits(const Options& options, const HashSecret& secret = HashSecret::random());
    ~SourceLimits();
    SourceLimits(const SourceLimits&) = delete;
    SourceLimits& operator=(const SourceLimits&) = delete;

    /// Whether a connection from `source` may come in now; if so, it is counted. A refused one
    /// counts for nothing: a client that tries without pause gets what its limits allow, neither
    /// less, as if it had been locked out, nor more, and one at its limit of connections keeps its
    /// rate for the time when it is below.
    ///
    /// O(1), whatever the number of sources: a hash, a lock and a few cache lines, or up to 32 more
    /// for a new source; three times that when places are taken. Out of memory, it is not tracked.
    [[nodiscard]] Decision admit(const Address& source, TimePoint now) noexcept;

    /// Other limits from now on, with the counts there are. Nobody loses a connection. Connections
    /// from before there was a limit of their number are not counted. Fewer `max_sources` free no
    /// memory.
    void set_options(const Options& options) noexcept;

    /// O(places): for now and then.
    [[nodiscard]] Stats stats(TimePoint now) const noexcept;

private:
    struct Shard;

    HashSecret secret_;
    std::unique_ptr<Shard[]> shards_;
    std::atomic<bool> limiting_{false};
    std::atomic<bool> told_{false};
    std::atomic<std::uint64_t> untracked_{0};
};

}  // namespace eplb
