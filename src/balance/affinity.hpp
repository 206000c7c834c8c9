#pragma once

#include "eplb/address.hpp"
#include "eplb/backend.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace eplb {

// What the policies share that send a client to the same backend each time. Nothing here depends on
// the machine, the build, or the order of the configuration: several proxies agree.

/// Another number for each `seed`, with as much chance in each of its bits.
[[nodiscard]] std::uint64_t hash_of(std::uint64_t value, std::uint64_t seed) noexcept;

/// Clients of Unix sockets have none, and could only be sent to one backend all together.
[[nodiscard]] bool has_key(const Address& client) noexcept;

/// Of the client's address without its port. An IPv6 address counts in full, but for its scope, which
/// is a number that this machine gave.
[[nodiscard]] std::uint64_t key_of(const Address& client) noexcept;

/// A backend by what it is called and where it is.
struct Identity {
    std::uint64_t id;
    std::uint32_t weight;  ///< weight(): slow start or not, tables stay
    const Backend* backend;
};

/// What an Identity is made of.
struct NamedBackend {
    std::string_view name;
    const Address& address;
    std::uint32_t weight;
    const Backend* backend;
};

/// By id. No two have the same, even if they are called the same and are at the same place. Those
/// that have lost their weights meanwhile have one of 1: a table needs somebody.
[[nodiscard]] std::vector<Identity> identities_of(std::span<const NamedBackend> backends);
/// The same, as they are called and weigh now.
[[nodiscard]] std::vector<Identity> identities_of(std::span<const Backend* const> backends);

/// A table made of these would be the same.
[[nodiscard]] bool are_alike(const std::vector<Identity>& a,
                             const std::vector<Identity>& b) noexcept;

}  // namespace eplb
