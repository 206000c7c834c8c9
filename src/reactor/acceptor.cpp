#include "eplb/acceptor.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <utility>

namespace eplb {
namespace {

// Of one connection: it is gone, the next one may be fine. accept(2) passes on errors of the
// network.
bool is_connection_error(int error) noexcept {
    switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP: return true;
    default: return false;
    }
}

}  // namespace

// Whoever runs it holds it as well: a handler may destroy the acceptor, and what runs, with the
// handler itself, has to be there until it returns.
class EPLB_LOCAL Acceptor::Impl final : public Task, public std::enable_shared_from_this<Impl> {
public:
    Impl(Reactor& reactor, Fd listener, Handler on_accept, ShortageHandler on_shortage,
         Places places)
        : reactor_{reactor},
          listener_{std::move(listener)},
          watch_{reactor, *this},
          retry_{reactor, *this},
          on_accept_{std::move(on_accept)},
          on_shortage_{std::move(on_shortage)},
          places_{std::move(places)} {
        if (const int error = watch_.attach(listener_.get(), Watch::input_events)) {
            throw fmt::system_error(error, "cannot watch a listening socket");
        }
    }

    void pause() noexcept { paused_ = true; }
    [[nodiscard]] bool paused() const noexcept { return paused_; }
    [[nodiscard]] bool short_of_resources() const noexcept { return retry_.armed(); }
    [[nodiscard]] const Fd& listener() const noexcept { return listener_; }

    void resume() noexcept {
        paused_ = false;
        retry_.cancel();
        if (watch_.readable()) reactor_.schedule(*this);
    }

    void close(std::function<void()> on_closed) {
        if (!listener_.valid()) {
            if (on_closed) on_closed();
            return;
        }
        on_closed_ = std::move(on_closed);
        if (std::exchange(closing_, true)) return;  // a handler of those accepted below
        watch_.assume_readable();  // the edge of the latest clients may not have reached us yet
        reactor_.dispatch(*this);
    }

    // Nobody is accepted any more, whoever is waiting.
    void shut() noexcept {
        retry_.cancel();
        watch_.detach();
        watch_.clear_readable();  // so that neither resume() nor a loop under way does anything
        listener_.reset();
    }

    Next run() override {
        const auto self = shared_from_this();
        if (closing_) return go_on_closing();
        if (retry_.armed()) return Next::wait;  // an edge does not mean that descriptors came free
        return accept_some(budget_per_turn);
    }

private:
    static constexpr int most_while_closing = 4096;

    Next go_on_closing() {
        const int budget = std::min(budget_per_turn, most_while_closing - accepted_while_closing_);
        accepted_while_closing_ += budget;
        const bool more = accept_some(budget) == Next::again;
        if (more && accepted_while_closing_ < most_while_closing) return Next::again;
        if (!listener_.valid())
            return Next::wait;  // a handler destroyed it, or closed it before us
        shut();
        if (const auto on_closed = std::exchange(on_closed_, {})) on_closed();
        return Next::wait;
    }

    Next accept_some(int budget) {
        for (; budget > 0; --budget) {
            if (paused_ || !watch_.readable() || !take_place()) return Next::wait;

            sockaddr_storage peer{};
            socklen_t length = sizeof peer;
            const int result = sys::accept(listener_.get(), peer, length);
            if (result >= 0) {
                on_accept_(Fd{result}, Address::from(peer, length));
                continue;
            }
            if (places_.give_back) places_.give_back();
            if (result == -EAGAIN) {
                watch_.clear_readable();
            } else if (!is_connection_error(-result)) {
                // Out of descriptors or memory. Anything unheard of is treated alike: never spin,
                // never stop.
                retry_.start(retry_delay);
                if (on_shortage_) on_shortage_(-result);
                return Next::wait;
            }
        }
        return Next::again;
    }

    [[nodiscard]] bool take_place() {
        if (!places_.take || places_.take()) return true;
        paused_ = true;
        return false;
    }

    Reactor& reactor_;
    Fd listener_;
    Watch watch_;
    Timer retry_;
    Handler on_accept_;
    ShortageHandler on_shortage_;
    Places places_;
    bool paused_ = false;
    bool closing_ = false;
    int accepted_while_closing_ = 0;  // or tried to
    std::function<void()> on_closed_;
};

Acceptor::Acceptor(Reactor& reactor, Fd listener, Handler on_accept, ShortageHandler on_shortage,
                   Places places)
    : impl_{std::make_shared<Impl>(reactor, std::move(listener), std::move(on_accept),
                                   std::move(on_shortage), std::move(places))} {}
Acceptor::~Acceptor() { impl_->shut(); }

void Acceptor::pause() noexcept { impl_->pause(); }
void Acceptor::resume() noexcept { impl_->resume(); }
bool Acceptor::paused() const noexcept { return impl_->paused(); }
bool Acceptor::short_of_resources() const noexcept { return impl_->short_of_resources(); }
void Acceptor::close(std::function<void()> on_closed) { impl_->close(std::move(on_closed)); }
const Fd& Acceptor::listener() const noexcept { return impl_->listener(); }

}  // namespace eplb
