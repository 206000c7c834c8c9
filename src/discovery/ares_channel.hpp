#pragma once

#include "discovery/ares.hpp"
#include "eplb/address.hpp"
#include "eplb/clock.hpp"

#include <cstddef>
#include <functional>
#include <vector>

namespace eplb::control {

/// Throws what `ares_status` means, unless that is success: std::bad_alloc or std::runtime_error.
void check_ares(int ares_status);

/// Before anything else of c-ares; any number of times. Throws as check_ares() does.
void init_ares();

/// Whom a channel asks. Throws as check_ares() does.
[[nodiscard]] std::vector<Address> servers_of(ares_channel channel);

/// A channel of c-ares, which asks one server. It reads no file: whatever it could find in one is said
/// here. (But for /dev/urandom.)
class AresChannel {
public:
    /// A socket that is to be watched from now on; or, neither of both, no longer.
    using OnSocket =
        std::function<void(AresChannel& channel, int fd, bool readable, bool writable)>;

    AresChannel(const Address& server, bool edns, Duration timeout, OnSocket on_socket);
    /// Gives all queries back.
    ~AresChannel();
    AresChannel(const AresChannel&) = delete;
    AresChannel& operator=(const AresChannel&) = delete;

    [[nodiscard]] ares_channel get() const noexcept { return channel_; }

    // Queries that are on their way, and those of them whose answer somebody still waits for.
    std::size_t queries = 0;
    std::size_t awaited = 0;

private:
    int set_server(const Address& server);

    OnSocket on_socket_;
    ares_channel channel_ = nullptr;
};

}  // namespace eplb::control
