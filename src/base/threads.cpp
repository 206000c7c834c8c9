#include "base/threads.hpp"

#include <csignal>
#include <fmt/format.h>
#include <pthread.h>
#include <system_error>
#include <utility>

namespace eplb {

// A thread begins with the mask of the one that starts it.
std::thread start_without_signals(std::string_view whose, std::function<void()> run) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct Restore {
        const sigset_t& mask;
        ~Restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
    } const restore{before};
    try {
        return std::thread{std::move(run)};
    } catch (const std::system_error& error) {
        throw fmt::system_error(error.code().value(), "cannot start the thread of {}: {}", whose,
                                no_thread);
    }
}

}  // namespace eplb
