#pragma once

#include "control/reloader.hpp"

#include <string>
#include <string_view>

namespace eplb::control {

// What `eplb reload` and the running process say to each other over the control socket: a request
// of one line, an answer of one line, and the end. JSON; both sides are of one version.

/// Longer than any request that makes sense.
constexpr std::size_t most_request_bytes = 16 * 1024;

[[nodiscard]] std::string encode(const Reloader::Request& request);
/// Throws std::invalid_argument.
[[nodiscard]] Reloader::Request decode_request(std::string_view line);

[[nodiscard]] std::string encode(const Reloader::Outcome& outcome);
/// Throws std::invalid_argument.
[[nodiscard]] Reloader::Outcome decode_outcome(std::string_view line);

}  // namespace eplb::control
