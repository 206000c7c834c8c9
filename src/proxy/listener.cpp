#include "proxy/listener.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace eplb {
namespace {

bool has_path(const Address& address) noexcept {
    return address.is_unix() && !address.path().empty() && address.path().front() != '@';
}

}  // namespace

Listener::Listener(Reactor& reactor, const Frontend& frontend, Fd socket,
                   Acceptor::Handler on_accept, Acceptor::ShortageHandler on_shortage,
                   Acceptor::Places places)
    : frontend_{frontend},
      acceptor_{reactor, std::move(socket), std::move(on_accept), std::move(on_shortage),
                std::move(places)} {
    struct stat status{};
    if (has_path(frontend_.address) && ::lstat(frontend_.address.path().c_str(), &status) == 0) {
        device_ = status.st_dev;
        inode_ = status.st_ino;
    }
}

Listener::~Listener() { remove_path(); }

void Listener::close() {
    acceptor_.close();
    remove_path();
}

void Listener::remove_path() noexcept {
    if (inode_ == 0) return;
    struct stat status{};
    if (::lstat(frontend_.address.path().c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        ::unlink(frontend_.address.path().c_str());
    }
    inode_ = 0;
}

}  // namespace eplb
