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

// Where there is less, less is kept back: a quarter, but what eplb itself has open, when it also
// asks a name server, reloads and answers on its control socket.
constexpr std::size_t least_reserved = 20;
std::size_t reserved_of(std::size_t available) noexcept {
    return std::clamp(available / 4, least_reserved, reserved);
}
// And an eighth for pipes, without which all is copied. The two do not grow at the same numbers:
// one descriptor more never makes it a session less.
std::size_t kept_back(std::size_t available, std::size_t besides) noexcept {
    return std::clamp(available * 3 / 8, least_reserved, reserved + left_for_pipes) +
           std::max(std::min((available + 4) / 8, left_for_pipes), besides);
}

std::size_t difference(std::size_t from, std::size_t what) noexcept {
    return from > what ? from - what : 0;
}

Limits as_many_as_go(std::size_t available, std::size_t besides) {
    const std::size_t least = least_reserved + besides + 2;
    if (available < least) {
        throw std::runtime_error(fmt::format(
            "a limit of {} open files is too low for a single session: at least {} are needed; raise it "
            "(ulimit -n)",
            available, least));
    }
    const std::size_t others = reserved_of(available) + besides;
    const std::size_t sessions =
        std::max<std::size_t>(difference(available, kept_back(available, besides)) / 2, 1);
    return {sessions, std::max(difference(available, others), 2 * sessions)};
}

}  // namespace

Limits work_out_limits(std::size_t available, std::size_t wanted, std::size_t besides) {
    if (wanted == 0) return as_many_as_go(available, besides);
    const std::size_t others = reserved_of(available) + besides;
    if (wanted > available / 2 || others + 2 * wanted > available) {
        throw std::runtime_error(fmt::format(
            "{} connections need {} open files, but the limit is {}: raise it (ulimit -n) or allow fewer "
            "connections",
            wanted, others + 2 * wanted, available));
    }
    // No less is kept back than with any other limit, as long as they fit.
    return {wanted, std::max(difference(available, reserved + besides), 2 * wanted)};
}

std::string describe_low_limit(std::size_t available, const Limits& limits) {
    if (reserved_of(available) == reserved) return {};
    return fmt::format(
        "a limit of {} open files is low: {} session{} at a time; raise it (ulimit -n) for more",
        available, limits.sessions, limits.sessions == 1 ? "" : "s");
}

std::size_t descriptors_besides_sessions(const Config& config, std::size_t workers) noexcept {
    std::size_t listeners = 0;
    std::size_t checks = 0;
    for (const ServiceConfig& service : config.services) {
        listeners += service.listen.size();
        if (service.check.type == CheckConfig::Type::none) continue;
        checks += static_cast<std::size_t>(
            std::ranges::count_if(service.backends, [](const BackendConfig& backend) {
                return !backend.absent || *backend.absent == OnRemove::keep;
            }));
    }
    return listeners * workers + checks + 2 * (workers - 1);
}

std::size_t descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return unlimited;
    return static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, unlimited));
}

}  // namespace eplb
