#include "app/early_signals.hpp"

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <pthread.h>
#include <unistd.h>

namespace eplb::app {
namespace {

constexpr std::array held{SIGHUP, SIGUSR1, SIGUSR2};
constexpr std::array changed{SIGTERM, SIGINT, SIGXFSZ};

sigset_t mask_before;
std::array<struct sigaction, changed.size()> actions_before;

void leave(int) noexcept { ::_exit(EXIT_SUCCESS); }

}  // namespace

void hold_signals() noexcept {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int signal : held) sigaddset(&mask, signal);
    pthread_sigmask(SIG_BLOCK, &mask, &mask_before);
    for (std::size_t i = 0; i < changed.size(); ++i) {
        struct sigaction action{};
        action.sa_handler = changed[i] == SIGXFSZ ? SIG_IGN : leave;
        ::sigaction(changed[i], &action, &actions_before[i]);
    }
}

void release_signals() noexcept {
    for (std::size_t i = 0; i < changed.size(); ++i)
        ::sigaction(changed[i], &actions_before[i], nullptr);
    pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
}

}  // namespace eplb::app
