#pragma once

#include "sim/file.hpp"
#include "sim/random.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <sys/epoll.h>

namespace sim {

class Epoll;

struct EpollItem {
    Epoll* epoll = nullptr;
    File* file = nullptr;
    std::uint32_t events = 0;
    void* data = nullptr;
    bool queued = false;
};

/// An epoll set as fs/eventpoll.c has it: a wake-up puts an item on the ready list, and
/// epoll_wait(2) asks each item on the list for the state that it has then. So an event says that
/// something changed, and its bits say how things are when it is read; an item whose bits are all
/// gone by then is not reported.
class Epoll final : public File {
public:
    [[nodiscard]] const char* kind() const noexcept override { return "epoll"; }
    void release() noexcept override;

    /// 0 or an errno.
    [[nodiscard]] int add(int fd, File& file, std::uint32_t events, void* data) noexcept;
    [[nodiscard]] int remove(int fd) noexcept;
    /// Fills in at most `events.size()` events, in an order that `random` chooses if there is one.
    [[nodiscard]] int collect(std::span<epoll_event> events, Random* random) noexcept;
    /// Puts an item on the ready list for no reason; the kernel does so too, now and then.
    void wake_spuriously(Random& random) noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

private:
    friend class File;
    void enqueue(EpollItem& item) noexcept;
    void forget(EpollItem& item) noexcept;

    std::map<int, EpollItem> items_;
    std::deque<EpollItem*> ready_;
};

}  // namespace sim
