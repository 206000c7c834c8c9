#pragma once

#include "base/sys.hpp"
#include "sim/file.hpp"

#include <csignal>
#include <cstdint>
#include <deque>
#include <sys/epoll.h>

namespace sim {

/// eventfd(2).
class EventFd final : public File {
public:
    [[nodiscard]] const char* kind() const noexcept override { return "eventfd"; }
    [[nodiscard]] std::uint32_t poll() noexcept override {
        return (count_ > 0 ? EPOLLIN : 0U) | EPOLLOUT;
    }
    void release() noexcept override {}
    [[nodiscard]] eplb::sys::IoResult read(std::span<std::byte> buffer) noexcept;
    [[nodiscard]] eplb::sys::IoResult write(std::span<const std::byte> bytes) noexcept;

private:
    std::uint64_t count_ = 0;
};

/// signalfd(2), with signals that raise() made up.
class SignalFd final : public File {
public:
    explicit SignalFd(const sigset_t& signals) noexcept : signals_{signals} {}
    [[nodiscard]] const char* kind() const noexcept override { return "signalfd"; }
    [[nodiscard]] std::uint32_t poll() noexcept override { return pending_.empty() ? 0U : EPOLLIN; }
    void release() noexcept override {}
    void raise(int signal) noexcept;
    [[nodiscard]] eplb::sys::IoResult read(std::span<std::byte> buffer) noexcept;

private:
    sigset_t signals_;
    std::deque<int> pending_;
};

}  // namespace sim
