#pragma once

#include "eplb/address.hpp"

namespace eplb {

class Service;

/// An address that clients of a service connect to. What is listened on is `address` with the port
/// that the kernel chose, where the configuration said 0. Outlives the sessions that came in by it.
struct Frontend {
    Service& service;
    Address address;
};

}  // namespace eplb
