#include "proxy/listener_manager.hpp"

#include "proxy/listener_conflicts.hpp"
#include "proxy/worker_group.hpp"
#include "reactor/listening.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <fmt/format.h>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace eplb {

ListenerManager::ListenerManager(Reactor& reactor, ProxyObserver& observer, const Roster& roster,
                                 WorkerGroup& workers, std::function<bool()> is_applying)
    : observer_{observer},
      roster_{roster},
      workers_{workers},
      is_applying_{std::move(is_applying)},
      late_{reactor, [this](std::uint32_t socket) { return try_again(socket); }} {}

// The old socket is open until the new one is, and only one of the two can be.
void ListenerManager::reject_what_takes_a_restart(const Roster::Draft& draft) const {
    if (draft.new_sockets.empty()) return;
    // Only those with the same port can be in each other's way; or the same path.
    const auto key = [](const Address& address) {
        return address.is_unix() ? address.to_string() : std::to_string(address.port());
    };
    std::unordered_map<std::string, std::vector<const Address*>> olds;
    for (const FrontendSpec& old : roster_.generation().frontends)
        olds[key(old.address)].push_back(&old.address);
    for (const Roster::NewSocket& wanted : draft.new_sockets) {
        const auto found = olds.find(key(wanted.address));
        if (found == olds.end()) continue;
        for (const Address* const old : found->second) {
            if (!overlap(wanted.address, *old)) continue;
            throw std::invalid_argument(fmt::format(
                "cannot go over from listener {} to {} without closing it: that takes a restart",
                old->to_string(), wanted.address.to_string()));
        }
    }
}

// A socket for each worker; the kernel shares the clients out among them. For Unix sockets there
// is no such thing: the first worker accepts, and hands over.
ListenerManager::Opened ListenerManager::open(Roster::Draft& draft) const {
    Opened opened;
    for (const Roster::NewSocket& wanted : draft.new_sockets) {
        const FrontendSpec& frontend = draft.generation().frontends[wanted.frontend];
        std::vector<Fd> sockets;
        try {
            sockets = listen_together(wanted.address, frontend.options, workers_.size());
            draft.set_address(wanted, local_address(sockets.front()));
        } catch (const std::system_error& error) {
            if (!draft.config().may_lack_interfaces || error.code().value() != ENODEV) throw;
        }
        opened.push_back({frontend, std::move(sockets)});
    }
    return opened;
}

void ListenerManager::add_to_workers(Opened& opened) {
    for (Rollout::NewListener& listener : opened) {
        for (std::size_t i = 0; i < listener.sockets.size(); ++i) {
            workers_.call(i, [&](Worker& worker) {
                worker.add_listener(listener.frontend, std::move(listener.sockets[i]));
            });
        }
    }
}

void ListenerManager::wait_for_interfaces(const Opened& opened) {
    for (const Rollout::NewListener& listener : opened) {
        if (!listener.sockets.empty()) continue;
        observer_.on_event(LogLevel::warning,
                           fmt::format("listener {} waits for interface {}, which is not there",
                                       listener.frontend.address.to_string(),
                                       listener.frontend.options.socket.interface));
        late_.add(listener.frontend.socket);
    }
}

void ListenerManager::stop_waiting() noexcept {
    gave_up_ = true;
    late_.clear();
}

// Whether that is over. What it is to be, now, is said by the generation.
bool ListenerManager::try_again(std::uint32_t socket) noexcept {
    if (is_applying_()) return false;
    try {
        const auto& frontends = roster_.generation().frontends;
        const auto spec = std::ranges::find(frontends, socket, &FrontendSpec::socket);
        if (spec == frontends.end() || gave_up_ || workers_.stopping()) return true;
        add_late({*spec, listen_together(spec->address, spec->options, workers_.size())});
        observer_.on_event(LogLevel::info,
                           fmt::format("interface {} is there: listening on {}",
                                       spec->options.socket.interface, spec->address.to_string()));
        return true;
    } catch (const std::exception& error) {
        const auto* const known = dynamic_cast<const std::system_error*>(&error);
        if (known == nullptr || known->code().value() != ENODEV) tell_trouble(error.what());
        return false;
    }
}

void ListenerManager::add_late(Rollout::NewListener listener) {
    // Each worker takes its own out of it.
    const auto shared = std::make_shared<Rollout::NewListener>(std::move(listener));
    workers_.broadcast([this, shared](Worker& worker) {
        if (worker.index() >= shared->sockets.size()) return;
        try {
            worker.add_listener(shared->frontend, std::move(shared->sockets[worker.index()]));
        } catch (const std::exception& error) {
            tell_trouble(error.what());
        }
    });
}

std::vector<std::string> ListenerManager::troubles() const {
    const std::lock_guard lock{telling_troubles_};
    return troubles_;
}

// Each worker may find the same.
void ListenerManager::tell_trouble(const std::string& trouble) {
    {
        const std::lock_guard lock{telling_troubles_};
        if (std::ranges::find(troubles_, trouble) != troubles_.end()) return;
        troubles_.push_back(trouble);
    }
    observer_.on_event(LogLevel::warning, trouble);
}

void ListenerManager::forget_troubles() {
    const std::lock_guard lock{telling_troubles_};
    troubles_.clear();
}

}  // namespace eplb
