#include "eplb/health_check.hpp"

namespace eplb {

Address CheckConfig::target(const Address& backend) const {
    const Address& asked = address ? *address : backend;
    return port && !asked.is_unix() ? asked.with_port(*port) : asked;
}

}  // namespace eplb
