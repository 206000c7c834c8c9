#include "eplb/relay.hpp"

#include "base/socket_options.hpp"
#include "eplb/reactor.hpp"
#include "relay/duplex.hpp"

#include <fmt/format.h>
#include <utility>

namespace eplb {

std::string_view to_string(EndReason reason) noexcept {
    switch (reason) {
    case EndReason::client_fin: return "client_fin";
    case EndReason::server_fin: return "server_fin";
    case EndReason::client_rst: return "client_rst";
    case EndReason::server_rst: return "server_rst";
    case EndReason::client_timeout: return "client_timeout";
    case EndReason::server_timeout: return "server_timeout";
    case EndReason::idle: return "idle";
    case EndReason::lifetime: return "lifetime";
    case EndReason::half_close: return "half_close";
    case EndReason::connect_refused: return "connect_refused";
    case EndReason::connect_timeout: return "connect_timeout";
    case EndReason::connect_unreachable: return "connect_unreachable";
    case EndReason::connect_failed: return "connect_failed";
    case EndReason::no_backend: return "no_backend";
    case EndReason::backends_full: return "backends_full";
    case EndReason::queue_timeout: return "queue_timeout";
    case EndReason::local_error: return "local_error";
    case EndReason::backend_down: return "backend_down";
    case EndReason::rebalance: return "rebalance";
    case EndReason::drain: return "drain";
    case EndReason::removed: return "removed";
    case EndReason::denied: return "denied";
    case EndReason::service_connections: return "service_connections";
    case EndReason::service_rate: return "service_rate";
    case EndReason::source_connections: return "source_connections";
    case EndReason::source_rate: return "source_rate";
    case EndReason::untrusted_proxy: return "untrusted_proxy";
    case EndReason::bad_proxy_header: return "bad_proxy_header";
    case EndReason::proxy_header_timeout: return "proxy_header_timeout";
    }
    return "unknown";
}

Relay::Relay(Reactor& reactor, RelayContext& context, Fd client, Fd server, RelayTimeouts timeouts,
             Handler on_end)
    : reactor_{reactor},
      timeouts_{timeouts},
      duplex_{std::make_unique<Duplex>(reactor, *this, context, timeouts_)},
      on_end_{std::move(on_end)} {
    duplex_->client.fd = std::move(client);
    duplex_->server.fd = std::move(server);
    for (Duplex::Side* side : {&duplex_->client, &duplex_->server}) {
        if (const int error = side->watch.attach(side->fd.get())) {
            throw fmt::system_error(error, "cannot watch a socket");
        }
    }
    duplex_->begin(is_internet_socket(duplex_->client.fd), is_internet_socket(duplex_->server.fd));
}

Relay::~Relay() = default;

std::uint64_t Relay::bytes_up() const noexcept { return duplex_->bytes_up(); }
std::uint64_t Relay::bytes_down() const noexcept { return duplex_->bytes_down(); }

void Relay::close(EndReason reason) noexcept {
    if (std::exchange(over_, true)) return;
    duplex_->reset(reason);
    reactor_.schedule(*this);
}

Next Relay::run() {
    if (over_) return Next::done;
    const Next next = duplex_->step();
    over_ = next == Next::done;
    return next;
}

void Relay::retire() {
    const RelayResult result{duplex_->reason(), duplex_->bytes_up(), duplex_->bytes_down(),
                             duplex_->error()};
    // The handler may destroy the relay, and itself with it.
    const Handler on_end = std::move(on_end_);
    if (on_end) on_end(result);
}

}  // namespace eplb
