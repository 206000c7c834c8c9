#include "eplb/watch.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"

namespace eplb {

int Watch::attach(int fd, std::uint32_t events) noexcept {
    detach();
    ready_ = 0;
    const int error = sys::epoll_add(reactor_.fd(), fd, events, this);
    if (error != 0) return error;
    fd_ = fd;
    ++reactor_.watched_;
    return 0;
}

void Watch::detach() noexcept {
    if (!attached()) return;
    sys::epoll_remove(reactor_.fd(), fd_);
    fd_ = -1;
    --reactor_.watched_;
}

void Watch::on_events(std::uint32_t events) noexcept {
    // A peer that finished, or a failure, shows in the result of the next read or write: make the
    // owner try one. EPOLLHUP alone does not mean that there is nothing to read (epoll_ctl(2)).
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) events |= EPOLLIN | EPOLLOUT;
    if ((events & EPOLLRDHUP) != 0) events |= EPOLLIN;
    ready_ |= events;
    reactor_.schedule(task_);
}

}  // namespace eplb
