#pragma once

// What the files supervisor*.cpp share; for nobody else.

#include "proxy/supervisor.hpp"

#include <fmt/format.h>
#include <new>
#include <string>

namespace eplb {

/// As logs have it: "db1/10.0.0.1:3306".
[[nodiscard]] inline std::string label(const Backend& backend) {
    if (backend.name().empty()) return backend.address().to_string();
    return fmt::format("{}/{}", backend.name(), backend.address().to_string());
}

// Whatever there is to be told has happened already, with or without the memory for a line.
template <class... Arguments>
void Supervisor::tell(LogLevel level, const ServiceBackend& member,
                      fmt::format_string<const Arguments&...> what,
                      const Arguments&... arguments) noexcept {
    try {
        observer_.on_event(
            level, fmt::format("backend {} of {} {}", label(*member.backend), member.service->name,
                               fmt::format(what, arguments...)));
    } catch (const std::bad_alloc&) {}
}

}  // namespace eplb
