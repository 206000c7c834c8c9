#include "admission/source_limits.hpp"

#include "admission/rate_limiter.hpp"
#include "base/random_word.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <deque>
#include <endian.h>
#include <memory_resource>
#include <mutex>
#include <netinet/in.h>
#include <new>
#include <optional>
#include <vector>

namespace eplb {
namespace {

// Of sources, of their networks, and of the networks of these.
constexpr std::size_t levels = 3;
constexpr std::array<std::size_t, levels> shard_counts{32, 8, 8};
constexpr std::array<std::size_t, levels> first_shards{0, 32, 40};
constexpr std::size_t all_shards = 48;
// How many times as many sources as networks there may be.
constexpr std::array<std::size_t, levels> fewer{1, 8, 8};
constexpr std::size_t min_heads = 32;
// How many places a new source may look at for one to take over. Each is two or three of a cache
// line; and when a tenth of them could be taken over, 32 looks miss all of them once in 29 times.
constexpr std::uint32_t max_looks = 32;
constexpr std::uint32_t none = (1U << 24) - 1;

// A PROXY header may name any address, even a multicast one: all 64 bits of a prefix are taken, and
// what kind it is has to stand beside them.
struct Key {
    std::uint64_t prefix = 0;
    std::uint32_t family = 0;

    // Where others have a place that this one found none at: /32, /24, /16, or /64, /48, /32.
    [[nodiscard]] Key at_level(std::size_t level) const noexcept {
        const std::size_t bits = (family == AF_INET ? 8 : 16) * level;
        return {prefix >> bits << bits, family};
    }
};

// Nothing: it has no address.
std::optional<Key> key_of(const Address& address) noexcept {
    sockaddr_storage raw;
    static_cast<void>(address.to_sockaddr(raw));
    switch (raw.ss_family) {
    case AF_INET:
        return Key{ntohl(reinterpret_cast<const sockaddr_in&>(raw).sin_addr.s_addr), AF_INET};
    case AF_INET6: {
        std::uint64_t prefix = 0;
        std::memcpy(&prefix, &reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr, sizeof prefix);
        return Key{be64toh(prefix), AF_INET6};
    }
    default: return std::nullopt;
    }
}

struct Source {
    std::uint64_t prefix = 0;
    TimePoint due = Pace::never;
    std::atomic<std::uint32_t> connections{0};
    std::uint32_t next : 24 = none;  // in its chain
    std::uint32_t family : 8 = 0;

    [[nodiscard]] Key key() const noexcept { return {prefix, family}; }
};
static_assert(sizeof(Source) == 24);

struct SipState {
    std::uint64_t v0, v1, v2, v3;

    void round() noexcept {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void absorb(std::uint64_t word) noexcept {
        v3 ^= word;
        round();
        v0 ^= word;
    }
};

std::uint64_t hash_of(const Key& key, const HashSecret& secret) noexcept {
    return sip_hash(key.prefix ^ std::uint64_t{key.family} << 56, secret);
}

}  // namespace

HashSecret HashSecret::random() noexcept {
    const std::uint64_t first = random_word();
    return {first, random_word()};
}

// Aumasson and Bernstein, "SipHash: a fast short-input PRF"; 1-3 is what other languages have in
// their hash tables. XXH3 would be hardly faster on eight bytes, and is not made to keep a secret.
std::uint64_t sip_hash(std::uint64_t value, const HashSecret& secret) noexcept {
    SipState state{secret.first ^ 0x736f6d6570736575, secret.second ^ 0x646f72616e646f6d,
                   secret.first ^ 0x6c7967656e657261, secret.second ^ 0x7465646279746573};
    state.absorb(value);
    state.absorb(std::uint64_t{sizeof value} << 56);
    state.v2 ^= 0xff;
    for (int i = 0; i < 3; ++i) state.round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

/// A part of the sources: a hash table with chains, whose elements stay where they are, because
/// tickets point at them. Half as much memory as a std::unordered_map, an allocation for 21 sources
/// instead of each, and places in an order, so that looking for one to take over need not begin
/// anew each time.
///
/// Places are taken over, never given back: there are as many as there were sources not at rest at
/// once, about. `mutex` guards everything but Source::connections, which tickets decrement.
struct alignas(64) SourceLimits::Shard {
    /// Nothing: there is no place for it.
    [[nodiscard]] std::optional<Decision> admit(const Key& key, std::uint64_t hash,
                                                TimePoint now) noexcept;
    void add_to(Stats& stats, std::size_t level, TimePoint now) const noexcept;
    void set(const Options& options, std::size_t level) noexcept;
    [[nodiscard]] bool has_connections() const noexcept;

    [[nodiscard]] Source* find(const Key& key, std::uint64_t hash) noexcept;
    [[nodiscard]] Source* insert(const Key& key, std::uint64_t hash, TimePoint now) noexcept;
    [[nodiscard]] std::uint32_t take_over(TimePoint now) noexcept;
    [[nodiscard]] std::uint32_t add_place() noexcept;
    void grow_heads();
    void link(std::uint32_t place, std::uint64_t hash) noexcept;
    void unlink(std::uint32_t place) noexcept;

    // Where there is a place, there are sources: NOLINTBEGIN(bugprone-unchecked-optional-access)
    [[nodiscard]] const Source& at(std::uint32_t place) const noexcept { return (*sources)[place]; }
    [[nodiscard]] Source& at(std::uint32_t place) noexcept { return (*sources)[place]; }
    // NOLINTEND(bugprone-unchecked-optional-access)
    // What picked the shard is no use here.
    [[nodiscard]] std::uint32_t& head(std::uint64_t hash) noexcept {
        return heads[hash / shard_counts[0] & (heads.size() - 1)];
    }
    [[nodiscard]] bool at_rest(const Source& source, TimePoint now) const noexcept {
        return source.connections.load(std::memory_order_relaxed) == 0 &&
               pace.forgiven(source.due, now) <= now;
    }

    mutable std::mutex mutex;
    HashSecret secret;
    Pace pace;
    std::uint32_t max_connections = 0;
    std::uint32_t max_places = 0;
    std::uint32_t places = 0;  // all of them in a chain
    std::uint32_t hand = 0;    // where to look next for one to take over
    // std::pmr: so that a test can run out of memory. Optional, because an empty one has 576 bytes.
    std::optional<std::pmr::deque<Source>> sources;
    std::pmr::vector<std::uint32_t> heads;  // a power of two, or none
    std::uint64_t judged = 0;
    std::uint64_t too_many = 0;
    std::uint64_t too_fast = 0;
};

// The limit of connections comes first: who is at it would otherwise pay for every try, and have
// nothing left when one of its connections ends.
std::optional<SourceLimits::Decision> SourceLimits::Shard::admit(const Key& key, std::uint64_t hash,
                                                                 TimePoint now) noexcept {
    Source* source = find(key, hash);
    if (source == nullptr) source = insert(key, hash, now);
    if (source == nullptr) return std::nullopt;
    ++judged;
    if (max_connections != 0 &&
        source->connections.load(std::memory_order_relaxed) >= max_connections) {
        ++too_many;
        return Decision{.admission = Admission::too_many};
    }
    if (!pace.unlimited() && !pace.take(source->due, now)) {
        ++too_fast;
        return Decision{.admission = Admission::too_fast};
    }
    // For the rate alone, a place need not be kept for as long as a connection.
    if (max_connections == 0) return Decision{};
    source->connections.fetch_add(1, std::memory_order_relaxed);
    return Decision{.ticket = Ticket{source->connections}};
}

Source* SourceLimits::Shard::find(const Key& key, std::uint64_t hash) noexcept {
    if (heads.empty()) return nullptr;
    for (std::uint32_t place = head(hash); place != none; place = at(place).next) {
        if (at(place).prefix == key.prefix && at(place).family == key.family) return &at(place);
    }
    return nullptr;
}

Source* SourceLimits::Shard::insert(const Key& key, std::uint64_t hash, TimePoint now) noexcept {
    std::uint32_t place = take_over(now);
    if (place == none) place = add_place();
    if (place == none) return nullptr;
    Source& source = at(place);
    source.prefix = key.prefix;
    source.family = static_cast<std::uint8_t>(key.family);
    source.due = Pace::never;
    link(place, hash);
    return &source;
}

std::uint32_t SourceLimits::Shard::take_over(TimePoint now) noexcept {
    for (std::uint32_t looks = std::min(places, max_looks); looks > 0; --looks) {
        const std::uint32_t place = hand;
        hand = hand + 1 < places ? hand + 1 : 0;
        Source& source = at(place);
        source.due = pace.forgiven(source.due, now);
        if (!at_rest(source, now)) continue;
        unlink(place);
        return place;
    }
    return none;
}

std::uint32_t SourceLimits::Shard::add_place() noexcept {
    if (places >= max_places) return none;
    try {
        if (places == heads.size()) grow_heads();
        if (!sources) sources.emplace();
        sources->emplace_back();
    } catch (const std::bad_alloc&) {
        return none;
    }
    return places++;
}

void SourceLimits::Shard::grow_heads() {
    heads.resize(std::max(min_heads, heads.size() * 2));
    std::fill(heads.begin(), heads.end(), none);
    for (std::uint32_t place = 0; place < places; ++place) {
        link(place, hash_of(at(place).key(), secret));
    }
}

void SourceLimits::Shard::link(std::uint32_t place, std::uint64_t hash) noexcept {
    std::uint32_t& first = head(hash);
    at(place).next = first & none;  // as wide as that
    first = place;
}

void SourceLimits::Shard::unlink(std::uint32_t place) noexcept {
    std::uint32_t& first = head(hash_of(at(place).key(), secret));
    if (first == place) {
        first = at(place).next;
        return;
    }
    std::uint32_t before = first;
    while (at(before).next != place) before = at(before).next;
    at(before).next = at(place).next;
}

void SourceLimits::Shard::set(const Options& options, std::size_t level) noexcept {
    pace = Pace{options.connection_rate_per_source};
    max_connections = options.max_connections_per_source;
    max_places = static_cast<std::uint32_t>(
        std::clamp<std::size_t>(options.max_sources / fewer[level] / shard_counts[level], 1, none));
}

void SourceLimits::Shard::add_to(Stats& stats, std::size_t level, TimePoint now) const noexcept {
    std::size_t& busy = level == 0 ? stats.sources : stats.networks;
    for (std::uint32_t place = 0; place < places; ++place) {
        if (!at_rest(at(place), now)) ++busy;
    }
    if (level > 0) stats.shared += judged;
    stats.too_many += too_many;
    stats.too_fast += too_fast;
}

bool SourceLimits::Shard::has_connections() const noexcept {
    for (std::uint32_t place = 0; place < places; ++place) {
        if (at(place).connections.load() != 0) return true;
    }
    return false;
}

SourceLimits::SourceLimits(const Options& options, const HashSecret& secret)
    : secret_{secret}, shards_{std::make_unique<Shard[]>(all_shards)} {
    for (std::size_t i = 0; i < all_shards; ++i) shards_[i].secret = secret;
    set_options(options);
}

SourceLimits::~SourceLimits() {
    for (std::size_t i = 0; i < all_shards; ++i) {
        assert(!shards_[i].has_connections() && "a ticket outlives its limits");
    }
}

SourceLimits::Decision SourceLimits::admit(const Address& source, TimePoint now) noexcept {
    if (!limiting_.load(std::memory_order_relaxed)) return {};
    const std::optional<Key> own = key_of(source);
    if (!own) return {};
    std::optional<Decision> decision;
    for (std::size_t level = 0; level < levels && !decision; ++level) {
        const Key key = own->at_level(level);
        const std::uint64_t hash = hash_of(key, secret_);
        Shard& shard = shards_[first_shards[level] + hash % shard_counts[level]];
        const std::lock_guard lock{shard.mutex};
        decision = shard.admit(key, hash, now);
        if (level == 0 && decision) return std::move(*decision);
    }
    if (!decision) {
        untracked_.fetch_add(1, std::memory_order_relaxed);
        decision.emplace();
    }
    decision->first_without_place = !told_.load(std::memory_order_relaxed) && !told_.exchange(true);
    return std::move(*decision);
}

// One who comes in between meets the old limits or the new ones, or none of both.
void SourceLimits::set_options(const Options& options) noexcept {
    const bool limiting = options.max_connections_per_source != 0 ||
                          !Pace{options.connection_rate_per_source}.unlimited();
    for (std::size_t level = 0; level < levels; ++level) {
        for (std::size_t i = 0; i < shard_counts[level]; ++i) {
            Shard& shard = shards_[first_shards[level] + i];
            const std::lock_guard lock{shard.mutex};
            shard.set(options, level);
        }
    }
    limiting_.store(limiting, std::memory_order_relaxed);
}

SourceLimits::Stats SourceLimits::stats(TimePoint now) const noexcept {
    Stats stats;
    for (std::size_t level = 0; level < levels; ++level) {
        for (std::size_t i = 0; i < shard_counts[level]; ++i) {
            const Shard& shard = shards_[first_shards[level] + i];
            const std::lock_guard lock{shard.mutex};
            shard.add_to(stats, level, now);
        }
    }
    stats.untracked = untracked_.load(std::memory_order_relaxed);
    return stats;
}

}  // namespace eplb
