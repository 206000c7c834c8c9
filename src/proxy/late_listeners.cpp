#include "proxy/late_listeners.hpp"

#include <algorithm>
#include <cstddef>

namespace eplb {

void LateListeners::add(std::uint32_t socket) {
    if (std::ranges::find(sockets_, socket) == sockets_.end()) sockets_.push_back(socket);
    if (!timer_.armed()) timer_.start(interval);
}

void LateListeners::clear() noexcept {
    sockets_.clear();
    timer_.cancel();
}

Next LateListeners::run() noexcept {
    if (!timer_.take_fired()) return Next::wait;
    // Whoever is told of an attempt may clear all of it.
    for (std::size_t i = 0; i < sockets_.size();) {
        const std::uint32_t socket = sockets_[i];
        if (attempt_(socket)) {
            std::erase(sockets_, socket);
        } else {
            ++i;
        }
    }
    if (!sockets_.empty()) timer_.start(interval);
    return Next::wait;
}

}  // namespace eplb
