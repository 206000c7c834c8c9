#pragma once

#include "base/socket_options.hpp"
#include "eplb/acceptor.hpp"
#include "eplb/address.hpp"

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace eplb {

/// The file of a Unix socket of ours. It is known by device and inode, not by its path: what is there
/// may be somebody else's by now, or a link to anything. The kernel keeps the inode as long as the
/// socket is open, so no other file gets its number meanwhile.
///
/// All of it takes a few system calls of the file system. Never follows a link in the last part of the
/// path.
class SocketFile {
public:
    enum class State : std::uint8_t {
        ours,
        gone,      ///< nothing is there, so nobody can connect
        replaced,  ///< something else is there
    };

    /// No file: of TCP and abstract sockets.
    SocketFile() noexcept = default;
    /// What is at the path of `address` now, which was just bound. No file, if it has no path.
    explicit SocketFile(const Address& address);

    [[nodiscard]] explicit operator bool() const noexcept { return inode_ != 0; }
    [[nodiscard]] State state() const noexcept;
    /// Owner and group, and mode, even if those are refused; nothing if there is another file. What is
    /// not given stays as it is. Returns what was refused.
    [[nodiscard]] std::vector<OptionFailure> set_permissions(const ListenOptions& options) const;
    /// Unless there is another file. From now on it is no file.
    void remove() noexcept;

private:
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

/// Whether the socket has a path in the file system.
[[nodiscard]] bool has_path(const Address& address) noexcept;

}  // namespace eplb
