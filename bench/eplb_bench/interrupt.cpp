#include "interrupt.hpp"

#include <csignal>

namespace eplb::bench {
namespace {

volatile std::sig_atomic_t flag = 0;

}  // namespace

void catch_interrupts() {
    struct sigaction action{};
    action.sa_handler = [](int) { flag = 1; };  // no SA_RESTART: waits have to end
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() noexcept { return flag != 0; }

}  // namespace eplb::bench
