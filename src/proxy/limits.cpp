#include "proxy/limits.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/resource.h>

namespace eplb {
namespace {

// For standard streams, logs, epoll, eventfd, signalfd and whatever the program around us has open.
constexpr std::size_t reserved = 64;
// Left for pipes when sessions are as many as can be.
constexpr std::size_t left_for_pipes = 32;
constexpr std::size_t unlimited = 1'000'000;

}  // namespace

Limits work_out_limits(std::size_t available, std::size_t wanted, std::size_t besides) {
    const std::size_t others = reserved + besides;
    if (wanted == 0) {
        const std::size_t kept = reserved + left_for_pipes + std::max(left_for_pipes, besides);
        if (available < kept + 2) {
            throw std::runtime_error(fmt::format(
                "a limit of {} open files is too low: at least {} are needed; raise it (ulimit -n)",
                available, kept + 2));
        }
        return {(available - kept) / 2, available - others};
    }
    if (wanted > available / 2 || others + 2 * wanted > available) {
        throw std::runtime_error(fmt::format(
            "{} connections need {} open files, but the limit is {}: raise it (ulimit -n) or allow fewer "
            "connections",
            wanted, others + 2 * wanted, available));
    }
    return {wanted, available - others};
}

std::size_t descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return unlimited;
    return static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, unlimited));
}

}  // namespace eplb
