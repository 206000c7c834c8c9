#include "balance/affinity.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <string>
#include <sys/socket.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace eplb {

std::uint64_t hash_of(std::uint64_t value, std::uint64_t seed) noexcept {
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    return XXH3_64bits_withSeed(&value, sizeof value, seed);
}

bool has_key(const Address& client) noexcept {
    return client.family() == AF_INET || client.family() == AF_INET6;
}

std::uint64_t key_of(const Address& client) noexcept {
    sockaddr_storage raw{};
    static_cast<void>(client.to_sockaddr(raw));
    if (client.family() == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(raw);
        return XXH3_64bits(&v4.sin_addr, sizeof v4.sin_addr);
    }
    if (client.family() == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(raw);
        return XXH3_64bits(&v6.sin6_addr, sizeof v6.sin6_addr);
    }
    return XXH3_64bits(nullptr, 0);
}

std::vector<Identity> identities_of(std::span<const Backend* const> backends) {
    std::vector<NamedBackend> named;
    named.reserve(backends.size());
    for (const Backend* const backend : backends)
        named.push_back({backend->name(), backend->address(), backend->weight(), backend});
    return identities_of(named);
}

std::vector<Identity> identities_of(std::span<const NamedBackend> backends) {
    std::vector<Identity> all;
    all.reserve(backends.size());
    for (const auto& [name, address, weight, backend] : backends) {
        std::string who{name};
        who += '\0';  // which neither part has
        who += address.to_string();
        all.push_back({XXH3_64bits(who.data(), who.size()), std::max(weight, 1U), backend});
    }
    const auto by_id = [](const Identity& a, const Identity& b) {
        return a.id != b.id ? a.id < b.id : a.weight < b.weight;
    };
    std::ranges::sort(all, by_id);
    // Twins: the second one's id is the hash of the first one's, and so on.
    std::uint64_t common = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i == 0 || all[i].id != common) {
            common = all[i].id;
        } else {
            all[i].id = hash_of(all[i - 1].id, 0);
        }
    }
    std::ranges::sort(all, by_id);
    return all;
}

bool are_alike(const std::vector<Identity>& a, const std::vector<Identity>& b) noexcept {
    return std::ranges::equal(a, b, [](const Identity& one, const Identity& other) {
        return one.id == other.id && one.weight == other.weight;
    });
}

}  // namespace eplb
