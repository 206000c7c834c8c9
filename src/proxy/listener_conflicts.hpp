#pragma once

#include "eplb/address.hpp"

#include <cstdint>
#include <string>
#include <sys/socket.h>
#include <unordered_map>
#include <utility>

namespace eplb {

/// Whether nobody can listen on both at the same time: they are the same, or one is a wildcard that
/// takes the other one's clients. [::] takes IPv4 as well. Port 0 is any port, so never the same.
[[nodiscard]] bool overlap(const Address& a, const Address& b) noexcept;

/// Listeners, each with something that is known of it. Finding one that is in another's way takes no longer
/// when there are many: whoever writes a configuration may mean us harm.
template <class Known>
class ListenerIndex {
public:
    struct Entry {
        Address address;
        Known known;
    };

    /// Of several with the same address the first one counts.
    void add(const Address& address, Known known) {
        const Entry* const entry =
            &by_address_.try_emplace(address.to_string(), Entry{address, std::move(known)})
                 .first->second;
        if (address.is_unix()) return;
        Port& port = by_port_[address.port()];
        const bool v6 = address.family() == AF_INET6;
        const Entry*& first = v6 ? port.first_v6 : port.first_v4;
        if (first == nullptr) first = entry;
        if (address.is_wildcard()) (v6 ? port.all_v6 : port.all_v4) = entry;
    }

    /// One that cannot be listened on at the same time, if there is one. Until the next add().
    [[nodiscard]] const Entry* in_the_way_of(const Address& address) const {
        const auto same = by_address_.find(address.to_string());
        if (same != by_address_.end() && overlap(same->second.address, address))
            return &same->second;
        if (address.is_unix()) return nullptr;
        const auto found = by_port_.find(address.port());
        if (found == by_port_.end()) return nullptr;
        const Port& port = found->second;
        for (const Entry* other : {port.all_v6, port.all_v4, port.first_v4, port.first_v6}) {
            if (other != nullptr && overlap(other->address, address)) return other;
        }
        return nullptr;
    }

private:
    // If a listener is in the way of others than its equal, one of these is among them.
    struct Port {
        const Entry* all_v4 = nullptr;
        const Entry* all_v6 = nullptr;
        const Entry* first_v4 = nullptr;
        const Entry* first_v6 = nullptr;
    };
    std::unordered_map<std::string, Entry> by_address_;
    std::unordered_map<std::uint16_t, Port> by_port_;
};

}  // namespace eplb
