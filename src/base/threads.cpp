#include "base/threads.hpp"

#include <csignal>
#include <pthread.h>
#include <utility>

namespace eplb {

// A thread begins with the mask of the one that starts it.
std::thread start_without_signals(std::function<void()> run) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct Restore {
        const sigset_t& mask;
        ~Restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
    } const restore{before};
    return std::thread{std::move(run)};
}

}  // namespace eplb
