#include "proxy/worker.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <new>
#include <utility>
#include <vector>

namespace eplb {
namespace {

// How many more sessions than another worker one may have: a sixteenth; and two while there are few,
// or every other short connection would change its thread for nothing.
constexpr std::size_t tolerated_share = 16;
constexpr std::size_t tolerated_sessions = 2;

}  // namespace

// A client on its way to another worker. Should that one be gone before it looks, the client is
// reset, as all of its clients are.
struct Worker::Parcel {
    Parcel(Fd client, const Frontend& frontend) noexcept
        : socket{std::move(client)}, spec{frontend.service.share_spec()} {}
    ~Parcel() {
        if (socket.valid()) sys::reset_on_close(socket.get());
    }
    Parcel(const Parcel&) = delete;
    Parcel& operator=(const Parcel&) = delete;

    Fd socket;
    std::shared_ptr<const ServiceSpec> spec;  // of the service that it was accepted for
};

Worker::Worker(Reactor& reactor, std::size_t index, const Shared& shared)
    : reactor_{reactor},
      index_{index},
      shared_{shared},
      catalog_{index, shared.budget, shared.on_splice_refused},
      self_{std::make_shared<Worker*>(this)} {}

Worker::~Worker() {
    sessions_.end_all(EndReason::drain);
    listeners_.clear();
    trim_pipes();  // tells the budget, which would tell us
}

// --- what it works by

void Worker::learn(const Generation& generation) {
    catalog_.learn_services(generation);
    sessions_.set_inspection_interval(catalog_.inspection_interval());
    catalog_.take_changes_of_timeouts(
        [this](Service& service) { sessions_.wake_those_of(service); });
    catalog_.learn_frontends(generation);
}

void Worker::switch_over(const Generation& generation, std::function<void()> on_done) {
    listeners_.switch_over(generation, std::move(on_done));
}

void Worker::add_listener(const FrontendSpec& frontend, Fd socket) {
    listeners_.add(frontend, std::move(socket));
}

Listener::Handlers Worker::handlers() {
    return {
        .on_accept = [this](Listener& listener, Fd client,
                            const Address& peer) { on_accept(listener, std::move(client), peer); },
        .on_shortage = [this](Listener& listener,
                              int error) { admission_.on_accept_shortage(listener, error); },
        .take_place = [this](Listener& listener) { return admission_.take_place(listener); },
        .give_place_back = [this](Listener& listener) { admission_.give_place_back(listener); }};
}

void Worker::forget_all_but(const Generation& generation) noexcept {
    catalog_.forget_all_but(generation);
}

// --- ending

void Worker::part() noexcept {
    parted_ = true;
    listeners_.clear();
}

void Worker::close_listeners(std::function<void()> on_closed) {
    listeners_.close_all(std::move(on_closed));
}

void Worker::reset_sessions() noexcept { sessions_.reset_all(EndReason::drain); }

void Worker::carry_out(const SessionOrders& orders) { sessions_.carry_out(orders); }

void Worker::post(std::function<void(Worker&)> fn) {
    reactor_.post([worker = std::weak_ptr<Worker*>{self_}, fn = std::move(fn)] {
        if (const auto alive = worker.lock()) fn(**alive);
    });
}

void Worker::call(Wish wish) noexcept { ears_.call(wish); }

// --- clients that come

void Worker::on_accept(Listener& listener, Fd client, const Address& peer) {
    listeners_.note_served(listener);
    accepted_.add();
    Frontend& frontend = listener.frontend();
    const Admission verdict = admission_.judge(frontend.service);
    Worker& worker = choose_worker();
    worker.load_.fetch_add(1);
    if (&worker == this) {
        start_session(frontend, std::move(client), peer, verdict);
    } else {
        hand_over(worker, frontend, std::move(client), peer, verdict);
    }
}

// Two of the others, drawn, and the one with fewer sessions: to look at all of them at every accept
// would be as many lines of the cache that they write all the time, and all who look at the same
// moment would choose the same one.
Worker& Worker::choose_worker() noexcept {
    const std::size_t own = load();
    const std::size_t others = peers_.size() < 2 ? 0 : peers_.size() - 1;
    if (others == 0 || own <= tolerated_sessions) return *this;
    random_ = random_ * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    const auto draw = [this, others](int shift) {
        return (index_ + 1 + (random_ >> shift & 0xffffU) % others) % peers_.size();
    };
    Worker* const first = peers_[draw(32)];
    Worker* second = peers_[draw(48)];
    if (second == first && others > 1) second = peers_[next_but_own(first->index_)];
    Worker* const least = second->load() < first->load() ? second : first;
    const std::size_t least_load = least->load();
    const std::size_t tolerated = std::max(tolerated_sessions, least_load / tolerated_share);
    return own > least_load + tolerated ? *least : *this;
}

std::size_t Worker::next_but_own(std::size_t index) const noexcept {
    const std::size_t next = (index + 1) % peers_.size();
    return next == index_ ? (next + 1) % peers_.size() : next;
}

void Worker::hand_over(Worker& to, const Frontend& frontend, Fd client, const Address& peer,
                       Admission verdict) noexcept {
    std::shared_ptr<Parcel> parcel;
    try {
        // Shared only because std::function wants to be copied.
        parcel = std::make_shared<Parcel>(std::move(client), frontend);
        to.post([id = frontend.id, parcel, peer, verdict](Worker& worker) {
            worker.receive(id, *parcel, peer, verdict);
        });
    } catch (const std::bad_alloc&) {
        load_.fetch_add(1);  // before: who counts all of them misses none
        to.load_.fetch_sub(1);
        lack_memory_for(frontend, parcel ? std::move(parcel->socket) : std::move(client), peer,
                        verdict);
    }
}

// Every worker knows a frontend before the first one accepts for it, and forgets it after the last
// one does. That is a promise of many threads, so whoever breaks it costs a client and no more.
void Worker::receive(std::uint32_t frontend, Parcel& parcel, const Address& peer,
                     Admission verdict) {
    Frontend* const own = catalog_.find_frontend(frontend);
    if (own == nullptr) return turn_away(parcel, peer, verdict);
    start_session(*own, std::move(parcel.socket), peer, verdict);
}

void Worker::turn_away(Parcel& parcel, const Address& peer, Admission verdict) noexcept {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    Address listener;
    if (sys::local_address(parcel.socket.get(), raw, length) == 0)
        listener = Address::from(raw, length);
    turn_away(*parcel.spec, listener, std::move(parcel.socket), peer, verdict, EndReason::removed,
              0);
}

// As the end of a session would be, without one. What was taken for it before it was accepted is
// given back, and it is told of like all others.
void Worker::turn_away(const ServiceSpec& spec, const Address& listener, Fd client,
                       const Address& peer, Admission verdict, EndReason reason,
                       int error) noexcept {
    static const std::vector<FailedAttempt> no_attempts;
    sys::reset_on_close(client.get());
    client.reset();
    on_session_end({.client = peer,
                    .service = spec.config->name,
                    .listener = listener,
                    .failed_attempts = no_attempts,
                    .reason = reason,
                    .error = error,
                    .problem = {},
                    .unique_id = {}});
    if (verdict == Admission::admitted) spec.limits->leave();
    count_out();
}

void Worker::start_session(Frontend& frontend, Fd client, const Address& peer,
                           Admission verdict) noexcept {
    Session* session = nullptr;
    try {
        session = &sessions_.create(*this, frontend, std::move(client), peer, verdict);
    } catch (const std::bad_alloc&) {
        return lack_memory_for(frontend, std::move(client), peer, verdict);
    }
    ++frontend.sessions;
    frontend.sessions_everywhere->fetch_add(1, std::memory_order_relaxed);
    RelayContexts::add_session(session->relay_context());
    // Now, not in the next turn: the backend is dialled before another client is accepted.
    reactor_.dispatch(*session);
}

void Worker::lack_memory_for(const Frontend& frontend, Fd client, const Address& peer,
                             Admission verdict) noexcept {
    admission_.on_out_of_memory();
    turn_away(frontend.service.spec(), frontend.address, std::move(client), peer, verdict,
              EndReason::local_error, ENOMEM);
}

// --- for its sessions

void Worker::on_sources_without_place(const Service& service) noexcept {
    try {
        shared_.observer.on_event(
            LogLevel::warning,
            fmt::format(
                "{}: more clients at a time than the limits per source can tell apart; those "
                "that come now share one source's limits with others of their network (/24 or "
                "/16; IPv6: /48 or /32)",
                service.name()));
    } catch (const std::bad_alloc&) {
        return;  // the limits hold all the same
    }
}

void Worker::on_session_start(const SessionStart& start) noexcept {
    shared_.observer.on_session_start(start);
}

void Worker::on_session_end(const SessionSummary& summary) noexcept {
    shared_.observer.on_session_end(summary);
}

void Worker::destroy(Session& session) noexcept {
    Frontend& frontend = session.frontend();
    const bool admitted = session.admitted();
    RelayContext& context = session.relay_context();
    sessions_.destroy(session);
    catalog_.contexts().remove_session(context);
    if (admitted) frontend.service.spec().limits->leave();
    if (!frontend.service.spec().waiting_room->empty()) call_first(frontend.service);
    frontend.sessions_everywhere->fetch_sub(1, std::memory_order_relaxed);
    if (--frontend.sessions == 0 && frontend.removed) catalog_.forget_unused();
    count_out();
}

void Worker::count_out() noexcept {
    load_.fetch_sub(1);
    shared_.budget.return_session();
    admission_.on_session_gone();
    shared_.on_session_gone();
}

bool Worker::may_try_at_once(const Service& service) noexcept {
    return attempts_.take(service.spec().index_end);
}

void Worker::call_first(Service& service) noexcept {
    const WaitingRoom& room = *service.spec().waiting_room;
    if (room.empty() || parted_) return;
    room.tell_hosts(service.free_places(), [&](WaitingRoom::Host& host) {
        if (&host == this) {
            usher_.call(service);
        } else {
            static_cast<Worker&>(host).call(Wish::backend_room);  // all hosts are workers
        }
    });
}

void Worker::on_waiting(Service& service) noexcept { usher_.on_waiting(service); }

void Worker::on_waited(Service& service) noexcept { usher_.on_waited(service); }

// Telling takes memory. If there is none, the next client who fails tells again; and who answered once
// answers again.
void Worker::on_backend_failing(const Backend& backend) noexcept {
    try {
        shared_.on_backend_failing(backend);
    } catch (const std::bad_alloc&) {}
}

void Worker::on_backend_answering(const Backend& backend) noexcept {
    try {
        shared_.on_backend_answering(backend);
    } catch (const std::bad_alloc&) {}
}

void Worker::on_backend_room() noexcept { usher_.call_all(); }

void Worker::on_starved(Session& session, bool again, int error) noexcept {
    admission_.on_starved(session, again, error);
}

void Worker::on_provided(Session& session) noexcept { admission_.on_provided(session); }

void Worker::on_out_of_memory() noexcept { admission_.on_out_of_memory(); }

void Worker::on_room() noexcept { admission_.on_room(); }

void Worker::take_turn() noexcept { admission_.take_turn(); }

void Worker::trim_pipes() noexcept { catalog_.contexts().trim(); }

PipePool::Stats Worker::pipe_stats() const { return catalog_.contexts().stats(); }

}  // namespace eplb
