#pragma once

#include "protocol/proxy_wire.hpp"

namespace eplb::proxy_wire {

// Version 1: a line of text, specification 2.1.

constexpr std::string_view v1_signature = "PROXY ";

[[nodiscard]] ProxyParse parse_v1(std::string_view received);

}  // namespace eplb::proxy_wire
