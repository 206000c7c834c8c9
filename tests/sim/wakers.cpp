#include "sim/wakers.hpp"

#include <cerrno>
#include <cstring>
#include <sys/signalfd.h>

namespace sim {

using eplb::sys::Io;
using eplb::sys::IoResult;

IoResult EventFd::read(std::span<std::byte> buffer) noexcept {
    if (buffer.size() < sizeof count_) return {Io::error, EINVAL, 0};
    if (count_ == 0) return {Io::would_block, 0, 0};
    std::memcpy(buffer.data(), &count_, sizeof count_);
    count_ = 0;
    wake(EPOLLOUT);
    return {Io::moved, 0, sizeof count_};
}

IoResult EventFd::write(std::span<const std::byte> bytes) noexcept {
    std::uint64_t more = 0;
    if (bytes.size() < sizeof more) return {Io::error, EINVAL, 0};
    std::memcpy(&more, bytes.data(), sizeof more);
    count_ += more;
    wake(EPOLLIN);
    return {Io::moved, 0, sizeof more};
}

void SignalFd::raise(int signal) noexcept {
    if (sigismember(&signals_, signal) != 1) return;
    pending_.push_back(signal);
    wake(EPOLLIN);
}

IoResult SignalFd::read(std::span<std::byte> buffer) noexcept {
    signalfd_siginfo info{};
    if (buffer.size() < sizeof info) return {Io::error, EINVAL, 0};
    if (pending_.empty()) return {Io::would_block, 0, 0};
    std::size_t copied = 0;
    while (!pending_.empty() && buffer.size() - copied >= sizeof info) {
        info.ssi_signo = static_cast<std::uint32_t>(pending_.front());
        pending_.pop_front();
        std::memcpy(buffer.data() + copied, &info, sizeof info);
        copied += sizeof info;
    }
    return {Io::moved, 0, copied};
}

}  // namespace sim
