// reactor: tasks when a descriptor has news.
#pragma once

#include "eplb/export.hpp"

#include <cstdint>
#include <sys/epoll.h>

namespace eplb {

class Reactor;
class Task;

/// Tells a task what it may do with a descriptor.
///
/// Edge-triggered: the kernel reports a change once (epoll(7)), and the watch remembers it until
/// the owner proves it stale. "Readable" means: the kernel said so, and no read has found the
/// opposite since. Only two things are such proof: EAGAIN, and, for TCP, a read that returned less
/// than was asked while neither hung_up() nor urgent(). Whoever stops for any other reason (budget,
/// a full destination) leaves the flag set and is not woken again for what is already known.
///
/// 24 bytes. Belongs to the thread of its reactor, which outlives it.
class EPLB_API Watch {
public:
    /// What a stream socket wants to hear. Errors and hang-ups are always reported.
    static constexpr std::uint32_t stream_events =
        EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    /// What is only read from wants to hear: a listening socket, an eventfd(2), a pipe.
    static constexpr std::uint32_t input_events = EPOLLIN | EPOLLET;

    /// Runs `task` whenever something new is known. Not attached yet.
    Watch(Reactor& reactor, Task& task) noexcept : reactor_{reactor}, task_{task} {}
    ~Watch() { detach(); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    /// Starts watching `fd`, which stays open until detach(). Forgets what was known of an earlier
    /// one. Returns 0 or an errno: ENOMEM, ENOSPC (fs.epoll.max_user_watches), EPERM (a regular
    /// file). One epoll_ctl(2); the state that `fd` is already in is reported in the next turn.
    [[nodiscard]] int attach(int fd, std::uint32_t events = stream_events) noexcept;
    /// Stops watching. One epoll_ctl(2) if attached, else nothing.
    void detach() noexcept;
    /// From an attach() that returned 0 to detach().
    [[nodiscard]] bool attached() const noexcept { return fd_ >= 0; }
    /// The descriptor being watched, or -1.
    [[nodiscard]] int fd() const noexcept { return fd_; }

    /// A read may find data, the end of the stream, or an error.
    [[nodiscard]] bool readable() const noexcept { return (ready_ & EPOLLIN) != 0; }
    /// A write may be taken, or find an error.
    [[nodiscard]] bool writable() const noexcept { return (ready_ & EPOLLOUT) != 0; }
    /// The peer finished sending, or the connection is gone. Never cleared.
    [[nodiscard]] bool hung_up() const noexcept {
        return (ready_ & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    }
    /// The connection failed (for TCP: reset, or timed out). Never cleared.
    [[nodiscard]] bool failed() const noexcept { return (ready_ & EPOLLERR) != 0; }
    /// There is, or was, urgent data: a short read may have stopped at its mark.
    [[nodiscard]] bool urgent() const noexcept { return (ready_ & EPOLLPRI) != 0; }

    /// For an owner that wants to try without being told to.
    void assume_readable() noexcept { ready_ |= EPOLLIN; }
    /// A read has proved it stale. Forgets urgent(), too.
    void clear_readable() noexcept { ready_ &= ~std::uint32_t{EPOLLIN | EPOLLPRI}; }
    /// A write has said EAGAIN.
    void clear_writable() noexcept { ready_ &= ~std::uint32_t{EPOLLOUT}; }

private:
    friend class Reactor;
    void on_events(std::uint32_t events) noexcept;

    Reactor& reactor_;
    Task& task_;
    int fd_ = -1;
    std::uint32_t ready_ = 0;
};

}  // namespace eplb
