#pragma once

#include "eplb/acceptor.hpp"
#include "eplb/config.hpp"

namespace eplb {

/// What the listeners of a service are opened with.
[[nodiscard]] inline ListenOptions listen_options(const ServiceConfig& service) {
    ListenOptions options;
    options.backlog = static_cast<int>(service.backlog);
    options.socket = service.socket;
    options.fast_open = service.fast_open;
    options.defer_accept = service.defer_accept;
    options.mode = service.unix_mode;
    options.owner = service.unix_owner.user;
    options.group = service.unix_owner.group;
    return options;
}

}  // namespace eplb
