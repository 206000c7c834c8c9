#pragma once

#include "design.hpp"

#include <string>

namespace eplb::bench {

/// Write the configuration of a peer and return the command that runs it in the foreground. Both
/// are told to do what eplb does: TCP, one thread, the same backends in turn, another backend when
/// one refuses, long timeouts, no logs, the same backlog, and as many connections as the limit of
/// descriptors allows.
[[nodiscard]] Command haproxy_command(const std::string& program, const Route& route, bool splice);
[[nodiscard]] Command nginx_command(const std::string& program, const std::string& stream_module,
                                    const Route& route);

/// The file to load for nginx's stream module; empty when nginx has it built in.
/// `found` is false when there is neither.
struct StreamModule {
    bool found = false;
    std::string path;
};
[[nodiscard]] StreamModule find_stream_module(const std::string& version_text);

}  // namespace eplb::bench
