#include "discovery/system_names.hpp"

#include "discovery/ares_channel.hpp"

#include <algorithm>
#include <cstring>

namespace eplb::control {

SystemNames SystemNames::read() {
    init_ares();
    ares_channel channel = nullptr;
    check_ares(ares_init(&channel));
    const std::unique_ptr<ares_channeldata, void (*)(ares_channel)> release{channel, ares_destroy};
    SystemNames system;
    system.servers = servers_of(channel);
    ares_options options{};
    int mask = 0;
    const int status = ares_save_options(channel, &options, &mask);
    if (status == ARES_SUCCESS) {
        system.ndots = static_cast<std::size_t>(std::max(options.ndots, 0));
        for (int i = 0; i < options.ndomains; ++i) system.search.emplace_back(options.domains[i]);
        if (options.lookups != nullptr)
            system.use_hosts = std::strchr(options.lookups, 'f') != nullptr;
    }
    ares_destroy_options(&options);
    check_ares(status);
    if (system.use_hosts)
        system.hosts = std::make_shared<const Hosts>(Hosts::read(system.hosts_path));
    return system;
}

}  // namespace eplb::control
