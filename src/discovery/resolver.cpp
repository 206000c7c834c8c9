// Whoever asks, and whoever is told.
#include "discovery/resolver_impl.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <stdexcept>
#include <sys/socket.h>
#include <utility>

namespace eplb::control {
namespace {

// A look at the file of hosts may take so long; then what was known of it counts.
constexpr Duration longest_look = std::chrono::milliseconds{500};

std::vector<int> families_of(NameFamily family) {
    switch (family) {
    case NameFamily::ipv4: return {AF_INET};
    case NameFamily::ipv6: return {AF_INET6};
    case NameFamily::automatic:
    case NameFamily::both: break;
    }
    return {AF_INET, AF_INET6};
}

}  // namespace

Resolver::Impl::Impl(Reactor& reactor, const DnsOptions& values, SystemNames system)
    : reactor_{reactor},
      timer_{reactor, *this},
      timeout_{values.timeout},
      families_{families_of(values.family)},
      all_families_{values.family == NameFamily::both},
      search_{std::move(system.search)},
      ndots_{system.ndots},
      use_hosts_{system.use_hosts},
      hosts_{reactor, std::move(system.hosts_path), std::move(system.hosts)} {
    init_ares();
    const std::vector<Address>& addresses =
        values.servers.empty() ? system.servers : values.servers;
    if (addresses.empty()) throw std::runtime_error("cannot ask for names: no name server");
    for (const Address& address : addresses) {
        Server& server = servers_.emplace_back();
        for (const bool edns : {false, true}) {
            server.channels[edns ? 1 : 0] = std::make_unique<AresChannel>(
                address, edns, timeout_,
                [this](AresChannel& channel, int fd, bool readable, bool writable) {
                    watch(channel, fd, readable, writable);
                });
        }
    }
}

void Resolver::Impl::ask(const NameQuestion& question, Done done) {
    const std::uint64_t id = next_id_++;
    try {
        Question& mine = questions_[id];
        mine.question = question;
        mine.done = std::move(done);
        mine.deadline = reactor_.now() + timeout_;
        if (use_hosts_ && !hosts_.is_fresh() && hosts_.look([this] { begin_waiting(); })) {
            waiting_for_hosts_.push_back(id);
            look_until_ = std::min(look_until_, reactor_.now() + longest_look);
        } else {
            begin(id);
        }
    } catch (const std::bad_alloc&) {
        drop(questions_.find(id));
        throw;
    }
    rearm();
}

void Resolver::Impl::close() noexcept {
    closing_ = true;
    questions_.clear();
    if (!running_) delete this;
}

Next Resolver::Impl::run() noexcept {
    running_ = true;
    // Not the time that it is now: what had come by then has been noted, and maybe no more.
    if (timer_.take_fired()) due_ = armed_for_;
    try {
        go_on();
    } catch (const std::bad_alloc&) {
        starved_ = true;
    }
    // Those who are told may ask again, which may be answered at once: in the next turn.
    std::list<Finished> batch;
    batch.splice(batch.end(), finished_);
    while (!batch.empty() && !closing_) {
        const Finished finished = std::move(batch.front());
        batch.pop_front();
        finished.done(finished.answer);
    }
    running_ = false;
    if (closing_) return Next::done;
    rearm();
    return Next::wait;
}

Resolver::Impl::~Impl() {
    closing_ = true;
    servers_.clear();
}

Resolver::Resolver(Reactor& reactor, const DnsOptions& values, SystemNames system)
    : impl_{new Impl{reactor, values, std::move(system)}} {}

Resolver::~Resolver() { impl_->close(); }

void Resolver::ask(const NameQuestion& question, Done done) {
    impl_->ask(question, std::move(done));
}

}  // namespace eplb::control
