#include "discovery/ares_channel.hpp"

#include "base/saturating.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>
#include <new>
#include <stdexcept>
#include <sys/socket.h>
#include <utility>

namespace eplb::control {
namespace {

// It knows only CLOCK_MONOTONIC, and gives up what has taken too long before it has read everything that
// came meanwhile. So that is left to us, and it forgets so much later what nobody waits for.
constexpr Duration time_to_forget = std::chrono::minutes{1};
// What fits through any path in one piece, so that most answers need no TCP (DNS flag day 2020).
constexpr int udp_payload_bytes = 1232;

}  // namespace

void check_ares(int ares_status) {
    if (ares_status == ARES_SUCCESS) return;
    if (ares_status == ARES_ENOMEM) throw std::bad_alloc{};
    throw std::runtime_error(fmt::format("cannot ask for names: error {} of c-ares", ares_status));
}

void init_ares() {
    static const int status = ares_library_init(ARES_LIB_INIT_ALL);
    check_ares(status);
}

std::vector<Address> servers_of(ares_channel channel) {
    ares_addr_port_node* first = nullptr;
    check_ares(ares_get_servers_ports(channel, &first));
    std::vector<Address> servers;
    for (const ares_addr_port_node* node = first; node != nullptr; node = node->next) {
        static constexpr std::uint16_t domain = 53;
        sockaddr_storage raw{};
        socklen_t length = 0;
        if (node->family == AF_INET) {
            auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
            v4.sin_family = AF_INET;
            v4.sin_addr = node->addr.addr4;
            length = sizeof v4;
        } else {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
            v6.sin6_family = AF_INET6;
            std::memcpy(&v6.sin6_addr, &node->addr.addr6, sizeof v6.sin6_addr);
            length = sizeof v6;
        }
        const auto port = static_cast<std::uint16_t>(node->udp_port != 0 ? node->udp_port : domain);
        servers.push_back(Address::from(raw, length).with_port(port));
    }
    ares_free_data(first);
    return servers;
}

AresChannel::AresChannel(const Address& server, bool edns, Duration timeout, OnSocket on_socket)
    : on_socket_{std::move(on_socket)} {
    ares_options options{};
    // We look at what is wrong with an answer ourselves; and who is asked for what.
    options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH |
                    (edns ? ARES_FLAG_EDNS : 0);
    options.ednspsz = udp_payload_bytes;
    const auto milliseconds =
        std::chrono::ceil<std::chrono::milliseconds>(saturating_add(timeout, time_to_forget));
    options.timeout = static_cast<int>(std::min<std::int64_t>(milliseconds.count(), INT_MAX / 2));
    options.tries = 1;
    options.ndots = 1;
    in_addr replaced{};
    options.servers = &replaced;
    options.nservers = 1;
    std::array<char, 2> lookups{"b"};
    options.lookups = lookups.data();
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
        auto& channel = *static_cast<AresChannel*>(self);
        channel.on_socket_(channel, fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    check_ares(ares_init_options(&channel_, &options,
                                 ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
                                     ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
                                     ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST |
                                     ARES_OPT_SOCK_STATE_CB));
    const int error = set_server(server);
    if (error == ARES_SUCCESS) return;
    ares_destroy(channel_);
    check_ares(error);
}

AresChannel::~AresChannel() { ares_destroy(channel_); }

int AresChannel::set_server(const Address& server) {
    sockaddr_storage raw{};
    static_cast<void>(server.to_sockaddr(raw));
    ares_addr_port_node node{};
    node.family = server.family();
    node.udp_port = node.tcp_port = server.port();
    if (node.family == AF_INET) {
        node.addr.addr4 = reinterpret_cast<const sockaddr_in&>(raw).sin_addr;
    } else {
        std::memcpy(&node.addr.addr6, &reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr,
                    sizeof node.addr.addr6);
    }
    return ares_set_servers_ports(channel_, &node);
}

}  // namespace eplb::control
