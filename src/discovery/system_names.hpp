#pragma once

#include "discovery/hosts_file.hpp"
#include "eplb/address.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace eplb::control {

/// How this system wants names to be asked for: resolv.conf(5), the "hosts" of nsswitch.conf(5), and
/// hosts(5).
struct SystemNames {
    std::vector<Address> servers;
    std::vector<std::string> search;  ///< domains, in which names without dots are looked for first
    std::size_t ndots = 1;            ///< a name with so many dots is first looked for as it is
    bool use_hosts = true;            ///< what hosts(5) says comes before the DNS
    std::string hosts_path = "/etc/hosts";
    std::shared_ptr<const Hosts> hosts = std::make_shared<Hosts>();

    /// May block, so that is nothing for a reactor's thread. Throws std::runtime_error.
    [[nodiscard]] static SystemNames read();
};

}  // namespace eplb::control
