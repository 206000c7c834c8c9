#pragma once

#include <cstddef>

namespace eplb {
class Proxy;
class ProxyObserver;
struct Config;
}  // namespace eplb

namespace eplb::app {

/// What the log of a balancer begins with: who it is, what it may use, what it serves; the last line is
/// "ready".
void introduce(ProxyObserver& log, const Config& config, const Proxy& proxy,
               std::size_t descriptors);

}  // namespace eplb::app
