#include "proxy/worker_listeners.hpp"

#include "proxy/worker_catalog.hpp"
#include "proxy/worker_shared.hpp"
#include "reactor/listening.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <fmt/format.h>
#include <string>
#include <utility>

namespace eplb {

// Counts the listeners that are being closed. One that is destroyed meanwhile is waited for in vain:
// so is the worker, then.
class WorkerListeners::Closing {
public:
    explicit Closing(std::function<void()> on_closed) : on_closed_{std::move(on_closed)} {}
    void close(const std::vector<Listener*>& listeners, const std::shared_ptr<Closing>& self) {
        left_ = listeners.size() + 1;
        for (Listener* const listener : listeners) listener->close([self] { self->count(); });
        count();
    }

private:
    void count() const {
        if (--left_ == 0) on_closed_();
    }
    mutable std::size_t left_ = 0;
    std::function<void()> on_closed_;
};

WorkerListeners::WorkerListeners(Reactor& reactor, WorkerCatalog& catalog,
                                 const WorkerShared& shared, Listener::Handlers handlers)
    : reactor_{reactor}, catalog_{catalog}, shared_{shared}, handlers_{std::move(handlers)} {}

void WorkerListeners::add(const FrontendSpec& frontend, Fd socket) {
    listeners_.push_back(std::make_unique<Listener>(reactor_, frontend.socket,
                                                    *catalog_.find_frontend(frontend.id),
                                                    std::move(socket), handlers_));
}

void WorkerListeners::switch_over(const Generation& generation, std::function<void()> on_done) {
    std::vector<Listener*> gone;
    std::vector<std::pair<Listener*, const FrontendSpec*>> cut_off;
    for (const auto& listener : listeners_) {
        const FrontendSpec* const spec = generation.frontend_of(listener->id());
        if (spec == nullptr) {
            gone.push_back(listener.get());
            continue;
        }
        const auto troubles =
            spec->as_before ? listener->look_after_file(spec->options)
                            : listener->serve(*catalog_.find_frontend(spec->id), spec->options);
        for (const std::string& trouble : troubles) shared_.on_listener_trouble(trouble);
        if (listener->is_cut_off()) cut_off.emplace_back(listener.get(), spec);
    }
    for (const auto& [listener, spec] : cut_off) reopen(*listener, *spec);
    close(gone, [this, on_done = std::move(on_done)] {
        std::erase_if(listeners_, [](const std::unique_ptr<Listener>& listener) {
            return listener->closed() || listener->is_of_no_use();
        });
        on_done();
    });
}

void WorkerListeners::close(const std::vector<Listener*>& listeners,
                            std::function<void()> on_closed) {
    const auto closing = std::make_shared<Closing>(std::move(on_closed));
    closing->close(listeners, closing);
}

// The old one stays for those who wait in its queue.
void WorkerListeners::reopen(Listener& listener, const FrontendSpec& spec) {
    const std::string address = spec.address.to_string();
    try {
        add(spec, listen_on(spec.address, spec.options));
        listener.supersede();
        shared_.on_listener_trouble(fmt::format("listener {}: it has a new file", address));
    } catch (const std::exception& error) {
        shared_.on_listener_trouble(error.what());
    }
}

void WorkerListeners::close_all(std::function<void()> on_closed) {
    std::vector<Listener*> all;
    for (const auto& listener : listeners_) all.push_back(listener.get());
    close(all, std::move(on_closed));
}

void WorkerListeners::pause() noexcept {
    for (const auto& listener : listeners_) listener->acceptor().pause();
}

// Whoever was served last comes last, or under a shared limit one listener would get every place
// that comes free.
void WorkerListeners::resume() noexcept {
    const auto last = std::ranges::find_if(
        listeners_, [this](const auto& listener) { return listener.get() == last_served_; });
    const auto first = static_cast<std::size_t>(last - listeners_.begin()) + 1;
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
        Acceptor& acceptor = listeners_[(first + i) % listeners_.size()]->acceptor();
        if (acceptor.paused() || acceptor.short_of_resources()) acceptor.resume();
    }
}

void WorkerListeners::try_again() noexcept {
    for (const auto& listener : listeners_) {
        Acceptor& acceptor = listener->acceptor();
        if (acceptor.short_of_resources() && !acceptor.paused()) acceptor.resume();
    }
}

}  // namespace eplb
