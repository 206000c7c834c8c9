#include "eplb/fd.hpp"

#include "base/sys.hpp"

namespace eplb {

void Fd::reset(int fd) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) sys::close(old);
}

}  // namespace eplb
