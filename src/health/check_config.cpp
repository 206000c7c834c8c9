#include "eplb/health_check.hpp"

namespace eplb {

Address CheckConfig::target(const Address& backend) const {
    const Address& asked = address ? *address : backend;
    // Of a Unix socket this changes nothing.
    return port ? asked.with_port(*port) : asked;
}

}  // namespace eplb
