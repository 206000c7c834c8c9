#include "proxy/listener.hpp"

#include "reactor/listening.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <system_error>
#include <utility>

namespace eplb {
namespace {

std::string refusal(const Address& address, const OptionFailure& failure) {
    return fmt::format("listener {}: {} cannot be changed: {}", address.to_string(), failure.option,
                       std::generic_category().message(failure.error));
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
                 .give_back = [this] { handlers_.give_place_back(*this); }}},
      file_{frontend.address} {}

Listener::~Listener() { file_.remove(); }

std::vector<std::string> Listener::serve(Frontend& frontend, const ListenOptions& options) {
    frontend_ = &frontend;
    std::vector<std::string> told;
    if (superseded_) return told;
    for (const OptionFailure& failure : change_listener(acceptor_.listener(), options))
        told.push_back(refusal(frontend.address, failure));
    for (std::string& trouble : look_after_file(options)) told.push_back(std::move(trouble));
    return told;
}

std::vector<std::string> Listener::look_after_file(const ListenOptions& options) const {
    std::vector<std::string> told;
    if (!file_) return told;
    const std::string address = frontend_->address.to_string();
    switch (file_.state()) {
    case SocketFile::State::ours:
        for (const OptionFailure& failure : file_.set_permissions(options))
            told.push_back(refusal(frontend_->address, failure));
        break;
    case SocketFile::State::gone:
        told.push_back(
            fmt::format("listener {}: its file is gone, so nobody could connect", address));
        break;
    case SocketFile::State::replaced:
        told.push_back(
            fmt::format("listener {}: another file has taken the place of its own, so "
                        "nobody can connect; remove it, and reload",
                        address));
        break;
    }
    return told;
}

bool Listener::is_cut_off() const noexcept {
    return file_ && file_.state() == SocketFile::State::gone;
}

bool Listener::is_of_no_use() const noexcept {
    if (!superseded_) return false;
    pollfd waiting{.fd = acceptor_.listener().get(), .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 0) == 0;
}

void Listener::close(std::function<void()> on_closed) {
    acceptor_.close([this, on_closed = std::move(on_closed)] {
        file_.remove();
        on_closed();
    });
}

}  // namespace eplb
