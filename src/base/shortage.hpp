#pragma once

#include <cerrno>

namespace eplb {

/// Whether an errno says that this process, or this machine, is short of something that comes free again:
/// no fault of whoever is at the other end.
[[nodiscard]] inline bool is_shortage(int error) noexcept {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace eplb
