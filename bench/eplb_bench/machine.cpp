#include "machine.hpp"

#include <fmt/format.h>
#include <fstream>
#include <sys/utsname.h>
#include <thread>

namespace eplb::bench {

Machine this_machine() {
    Machine machine;
    machine.processors = std::thread::hardware_concurrency();
    machine.cpu = "unknown processor";
    std::ifstream info{"/proc/cpuinfo"};
    for (std::string line; std::getline(info, line);) {
        if (!line.starts_with("model name")) continue;
        machine.cpu = line.substr(line.find(':') + 2);
        break;
    }
    utsname system{};
    ::uname(&system);
    machine.kernel = fmt::format("{} {}", system.sysname, system.release);
    return machine;
}

std::string describe_machine() {
    const Machine machine = this_machine();
    return fmt::format("{} × {}, {}", machine.processors, machine.cpu, machine.kernel);
}

}  // namespace eplb::bench
