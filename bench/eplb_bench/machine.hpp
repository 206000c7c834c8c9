#pragma once

#include <string>

namespace eplb::bench {

/// What a result has to be quoted with.
struct Machine {
    std::string cpu;
    unsigned processors = 0;
    std::string kernel;
};
[[nodiscard]] Machine this_machine();

/// "2 × Some Processor, Linux 6.1".
[[nodiscard]] std::string describe_machine();

}  // namespace eplb::bench
