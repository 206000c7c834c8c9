#pragma once

#include "eplb/clock.hpp"
#include "eplb/fd.hpp"

#include <cstddef>
#include <cstdint>
#include <netinet/in.h>

namespace eplb::bench {

/// One connection of the load process.
///
///     closed ─ open ─▶ connecting ─▶ verifying ─▶ working      any of them ─ failure ─▶ closed
struct Client {
    enum class Role : std::uint8_t { idle, ping, push, pull, churn };
    enum class Stage : std::uint8_t { closed, connecting, verifying, working };

    Fd socket;
    Role role = Role::idle;
    Stage stage = Stage::closed;
    bool warm = false;             ///< its first ping came back
    std::uint32_t generation = 0;  ///< how often it was opened
    std::size_t unsent = 0;        ///< of the ping under way
    std::size_t missing = 0;       ///< of its answer
    TimePoint since{};             ///< of the ping, or of connect for churn
};

/// Starts to connect, from one of several loopback addresses, so that local ports last. Returns an
/// errno or 0; EINPROGRESS counts as 0.
[[nodiscard]] int begin_connect(Client& client, const sockaddr_in& target, std::size_t number);

/// What SO_ERROR says.
[[nodiscard]] int socket_error(const Fd& socket) noexcept;

/// The next close sends a reset and leaves no TIME_WAIT. For after the measurement.
void reset_on_close(const Fd& socket) noexcept;

}  // namespace eplb::bench
