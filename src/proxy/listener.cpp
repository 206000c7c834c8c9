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

Listener::Listener(Reactor& reactor, std::uint32_t id, Frontend& frontend, Fd socket,
                   Handlers handlers)
    : id_{id},
      frontend_{&frontend},
      handlers_{std::move(handlers)},
      acceptor_{reactor,
                std::move(socket),
                [this](Fd client, const Address& peer) {
                    handlers_.on_accept(*this, std::move(client), peer);
                },
                [this](int error) { handlers_.on_shortage(*this, error); },
                {.take = [this] { return handlers_.take_place(*this); },
                 .give_back = [this] { handlers_.give_place_back(*this); }}} {
    struct stat status{};
    if (has_path(frontend.address) && ::lstat(frontend.address.path().c_str(), &status) == 0) {
        device_ = status.st_dev;
        inode_ = status.st_ino;
    }
}

Listener::~Listener() { remove_path(); }

void Listener::serve(Frontend& frontend, const ListenOptions& options) noexcept {
    frontend_ = &frontend;
    static_cast<void>(change_options(acceptor_.listener(), frontend.address, options));
}

void Listener::close() {
    acceptor_.close();
    remove_path();
}

void Listener::remove_path() noexcept {
    if (inode_ == 0) return;
    struct stat status{};
    if (::lstat(frontend_->address.path().c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        ::unlink(frontend_->address.path().c_str());
    }
    inode_ = 0;
}

}  // namespace eplb
