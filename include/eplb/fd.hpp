// base: who owns a descriptor.
#pragma once

#include "eplb/export.hpp"

#include <utility>

namespace eplb {

/// An open file descriptor and the duty to close it. Move-only; 4 bytes.
///
/// Declare it before the Watch that observes it: members die in reverse order, so the watch leaves
/// epoll while the descriptor is still open. A descriptor that was ever duplicated could not be
/// removed afterwards (epoll(7), question 6).
class EPLB_API Fd {
public:
    Fd() noexcept = default;
    /// Takes ownership of `fd`; -1 means "none".
    explicit Fd(int fd) noexcept : fd_{fd} {}
    /// `other` holds nothing from then on.
    Fd(Fd&& other) noexcept : fd_{other.release()} {}
    /// Closes what was held, as reset() does.
    Fd& operator=(Fd&& other) noexcept {
        reset(other.release());
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    /// -1 if there is none. Ownership stays here.
    [[nodiscard]] int get() const noexcept { return fd_; }
    /// There is one. The kernel is not asked.
    [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }

    /// Gives ownership up to the caller.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    /// Closes what is held, if anything, and takes `fd`.
    void reset(int fd = -1) noexcept;

private:
    int fd_ = -1;
};

}  // namespace eplb
