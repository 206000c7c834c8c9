#pragma once

#include "eplb/clock.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace eplb {

/// Listeners whose network interface is not there yet: tries each of them again every second, until it
/// is open or of no use any more. Belongs to the thread of its reactor.
class LateListeners final : private Task {
public:
    static constexpr Duration interval = std::chrono::seconds{1};
    /// Whether it is done with that socket, FrontendSpec::socket. May clear(), and must not throw.
    using Try = std::function<bool(std::uint32_t socket)>;

    LateListeners(Reactor& reactor, Try attempt)
        : timer_{reactor, *this}, attempt_{std::move(attempt)} {}

    void add(std::uint32_t socket);
    void clear() noexcept;

private:
    Next run() noexcept override;

    Timer timer_;
    Try attempt_;
    std::vector<std::uint32_t> sockets_;
};

}  // namespace eplb
