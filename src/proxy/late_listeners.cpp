#include "proxy/late_listeners.hpp"

#include <algorithm>

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
    std::erase_if(sockets_, attempt_);
    if (!sockets_.empty()) timer_.start(interval);
    return Next::wait;
}

}  // namespace eplb
