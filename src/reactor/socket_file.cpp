#include "reactor/socket_file.hpp"

#include "eplb/fd.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace eplb {
namespace {

// By way of /proc, because fchmod(2) refuses a descriptor of O_PATH, and chmod(2) follows links;
// fchmodat2(2) came with Linux 6.6. Without /proc there is only the path.
int change_mode(const Fd& file, const std::string& path, mode_t mode) {
    if (::chmod(fmt::format("/proc/self/fd/{}", file.get()).c_str(), mode) == 0) return 0;
    if (errno != ENOENT) return errno;
    return ::chmod(path.c_str(), mode) == 0 ? 0 : errno;
}

}  // namespace

bool has_path(const Address& address) noexcept {
    return address.is_unix() && !address.path().empty() && address.path().front() != '@';
}

SocketFile::SocketFile(const Address& address) {
    struct stat status{};
    if (!has_path(address) || ::lstat(address.path().c_str(), &status) != 0) return;
    path_ = address.path();
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

SocketFile::State SocketFile::state() const noexcept {
    struct stat status{};
    if (::lstat(path_.c_str(), &status) != 0) {
        const bool nothing = errno == ENOENT || errno == ENOTDIR;
        return nothing ? State::gone : State::replaced;
    }
    return status.st_dev == device_ && status.st_ino == inode_ ? State::ours : State::replaced;
}

std::vector<OptionFailure> SocketFile::set_permissions(const ListenOptions& options) const {
    static constexpr auto unchanged = static_cast<uid_t>(-1);
    std::vector<OptionFailure> refused;
    const bool owned = options.owner || options.group;
    if (!owned && !options.mode) return refused;
    const Fd file{::open(path_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status{};
    const char* const wanted = owned ? "unix_owner" : "unix_mode";
    if (!file.valid() || ::fstat(file.get(), &status) != 0) {
        refused.push_back({errno, wanted});
        return refused;
    }
    if (status.st_dev != device_ || status.st_ino != inode_) {
        refused.push_back({ESTALE, wanted});
        return refused;
    }
    if (owned && ::fchownat(file.get(), "", options.owner.value_or(unchanged),
                            options.group.value_or(unchanged), AT_EMPTY_PATH) != 0)
        refused.push_back({errno, "unix_owner"});
    if (options.mode) {
        if (const int error = change_mode(file, path_, *options.mode))
            refused.push_back({error, "unix_mode"});
    }
    return refused;
}

void SocketFile::remove() noexcept {
    if (inode_ != 0 && state() == State::ours) ::unlink(path_.c_str());
    inode_ = 0;
}

}  // namespace eplb
