#pragma once

#include <cstdint>
#include <vector>

namespace sim {

struct EpollItem;

/// What a descriptor stands for: a socket, an end of a pipe, an epoll set and so on.
class File {
public:
    File() = default;
    virtual ~File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    /// For messages.
    [[nodiscard]] virtual const char* kind() const noexcept = 0;
    /// The EPOLL* bits that hold now.
    [[nodiscard]] virtual std::uint32_t poll() noexcept { return 0; }
    /// The last descriptor of it was closed.
    virtual void release() noexcept = 0;

    [[nodiscard]] bool watched() const noexcept { return !items_.empty(); }

protected:
    /// Something happened: every epoll item that asked for one of the bits in `key` becomes ready.
    /// A key of 0 wakes all of them, as a change of state does in the kernel.
    void wake(std::uint32_t key) noexcept;

private:
    friend class Epoll;
    std::vector<EpollItem*> items_;
};

}  // namespace sim
