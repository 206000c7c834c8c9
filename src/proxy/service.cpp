#include "proxy/service.hpp"

#include <fmt/format.h>
#include <fstream>
#include <stdexcept>

namespace eplb {

Service::Service(const ServiceConfig& config, std::size_t index)
    : index_{index},
      connect_timeout_{config.connect_timeout},
      timeouts_{config.idle_timeout, config.half_close_timeout} {
    for (const BackendConfig& backend : config.backends) {
        if (backend.address.is_wildcard() || backend.address.family() == AF_UNSPEC) {
            throw std::invalid_argument(fmt::format("backend {} needs a host, like 127.0.0.1:{}",
                                                    backend.address.to_string(),
                                                    backend.address.port()));
        }
        backends_.push_back(std::make_unique<Backend>(backends_.size(), backend.name,
                                                      backend.address, backend.weight));
        if (backend.weight > 0) usable_.push_back(backends_.back().get());
    }
    if (usable_.empty()) {
        throw std::invalid_argument(
            fmt::format("service \"{}\" has no backend with a weight above 0", config.name));
    }

    std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    if (range >> first >> last) {
        first_ephemeral_port_ = first;
        last_ephemeral_port_ = last;
    }
}

bool Service::may_connect_to_itself(const Backend& backend) const noexcept {
    const std::uint16_t port = backend.address().port();
    return !backend.address().is_unix() && port >= first_ephemeral_port_ &&
           port <= last_ephemeral_port_;
}

}  // namespace eplb
