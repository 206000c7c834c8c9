#include "sim/epoll.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace sim {

void File::wake(std::uint32_t key) noexcept {
    for (EpollItem* item : items_) {
        if (key != 0 && (key & item->events) == 0) continue;
        item->epoll->enqueue(*item);
    }
}

void Epoll::release() noexcept {
    for (auto& [fd, item] : items_) forget(item);
    items_.clear();
}

int Epoll::add(int fd, File& file, std::uint32_t events, void* data) noexcept {
    // Errors and hang-ups cannot be declined, epoll_ctl(2).
    const std::uint32_t wanted = events | EPOLLERR | EPOLLHUP;
    const auto [place, is_new] =
        items_.try_emplace(fd, EpollItem{this, &file, wanted, data, false});
    if (!is_new) return EEXIST;
    EpollItem& item = place->second;
    file.items_.push_back(&item);
    if ((file.poll() & wanted) != 0) enqueue(item);
    return 0;
}

int Epoll::remove(int fd) noexcept {
    const auto place = items_.find(fd);
    if (place == items_.end()) return ENOENT;
    forget(place->second);
    items_.erase(place);
    return 0;
}

int Epoll::collect(std::span<epoll_event> events, Random* random) noexcept {
    if (random != nullptr) {
        for (std::size_t i = ready_.size(); i > 1; --i) {
            std::swap(ready_[i - 1], ready_[static_cast<std::size_t>(random->below(i))]);
        }
    }
    std::size_t count = 0;
    std::deque<EpollItem*> again;
    while (count < events.size() && !ready_.empty()) {
        EpollItem& item = *ready_.front();
        ready_.pop_front();
        item.queued = false;
        const std::uint32_t bits = item.file->poll() & item.events;
        if (bits == 0) continue;
        epoll_event& event = events[count];
        event.events = bits;
        event.data.ptr = item.data;
        ++count;
        if ((item.events & EPOLLET) == 0) again.push_back(&item);
    }
    for (EpollItem* item : again) enqueue(*item);
    return static_cast<int>(count);
}

void Epoll::wake_spuriously(Random& random) noexcept {
    if (items_.empty()) return;
    const auto steps = static_cast<std::ptrdiff_t>(random.below(items_.size()));
    enqueue(std::next(items_.begin(), steps)->second);
}

void Epoll::enqueue(EpollItem& item) noexcept {
    if (item.queued) return;
    item.queued = true;
    ready_.push_back(&item);
}

void Epoll::forget(EpollItem& item) noexcept {
    std::erase(item.file->items_, &item);
    std::erase(ready_, &item);
}

}  // namespace sim
