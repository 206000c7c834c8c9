#include "app/introduction.hpp"

#include "base/duration.hpp"
#include "base/size.hpp"
#include "config/config_file.hpp"
#include "eplb/proxy.hpp"
#include "eplb/version.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <string>
#include <string_view>
#include <sys/utsname.h>
#include <unistd.h>
#include <vector>

namespace eplb::app {
namespace {

std::string_view name_of(RelayMode mode) noexcept {
    switch (mode) {
    case RelayMode::automatic: return "auto";
    case RelayMode::splice: return "splice";
    case RelayMode::copy: return "copy";
    }
    return "unknown";
}

}  // namespace

void introduce(ProxyObserver& log, const Config& config, const Proxy& proxy,
               std::size_t descriptors) {
    const auto say = [&log](const std::string& text) { log.on_event(LogLevel::info, text); };
    utsname system{};
    ::uname(&system);
    say(fmt::format("eplb {} on {} {}, pid {}", EPLB_VERSION, system.sysname, system.release,
                    ::getpid()));
    say(fmt::format("limits: {} open files, {} connections", descriptors, proxy.max_connections()));
    say(fmt::format("data path: {} worker{}, busy poll {}", config.workers,
                    config.workers == 1 ? "" : "s", format_duration(config.busy_poll)));
    const std::vector<Address> listeners = proxy.listen_addresses();
    auto listener = listeners.begin();
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        const ServiceConfig& service = config.services[i];
        const std::size_t pipe_bytes =
            service.pipe_bytes != 0 ? service.pipe_bytes : RelayContext::Options{}.pipe_bytes;
        say(fmt::format(
            "service {}: relay {}, pipes of {}; timeouts: connect {}, idle {}, "
            "half-close {}, drain {}",
            service.name, name_of(service.relay), format_size(pipe_bytes),
            format_duration(service.connect_timeout), format_duration(service.idle_timeout),
            format_duration(service.half_close_timeout), format_duration(service.drain_timeout)));
        const std::string& interface = service.socket.interface;
        const bool late = !interface.empty() && ::if_nametoindex(interface.c_str()) == 0;
        for (std::size_t n = 0; n < service.listen.size(); ++n, ++listener) {
            say(fmt::format("{}listening on {}", late && !listener->is_unix() ? "not yet " : "",
                            listener->to_string()));
        }
        for (const BackendConfig& backend : service.backends) {
            say(fmt::format("backend {}{}{} weight {}", backend.name,
                            backend.name.empty() ? "" : "/", backend.address.to_string(),
                            backend.weight));
        }
    }
    for (const std::string& service : control::services_without_backends(config))
        log.on_event(LogLevel::warning, control::not_ready_text(service));
    say("ready");
}

}  // namespace eplb::app
