#include "proxy/worker.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"
#include "proxy/service.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace eplb {
namespace {

// How much longer than the least loaded worker's list of sessions another one's may be: a sixteenth,
// and nothing while there are few, when each of them may be a heavy one.
constexpr std::size_t tolerated_share = 16;

// Four system calls each: a thousand clients who came at once do not hold everybody up together.
constexpr int settled_per_turn = 32;

// A client on its way to another worker. Should that one be gone before it looks, the client is
// reset, as all of its clients are.
struct Parcel {
    explicit Parcel(Fd client) noexcept : socket{std::move(client)} {}
    ~Parcel() {
        if (socket.valid()) sys::reset_on_close(socket.get());
    }
    Parcel(const Parcel&) = delete;
    Parcel& operator=(const Parcel&) = delete;

    Fd socket;
};

}  // namespace

Worker::Worker(Reactor& reactor, std::size_t index, const Shared& shared)
    : reactor_{reactor},
      shared_{shared},
      context_{shared.relay, &shared.budget},
      self_{std::make_shared<Worker*>(this)} {
    for (const auto& service : shared.services) pickers_.emplace_back(*service, index);
}

Worker::~Worker() {
    reset_sessions();
    for (IntrusiveList<Session>* list : {&young_, &settled_}) {
        while (!list->empty()) list->front().retire();
    }
    listeners_.clear();
    context_.pipes().trim();  // tells the budget, which would tell us
}

void Worker::add_listener(const Frontend& frontend, Fd socket) {
    const std::size_t index = listeners_.size();
    listeners_.push_back(std::make_unique<Listener>(
        reactor_, frontend, std::move(socket),
        [this, index](Fd client, const Address& peer) {
            last_served_ = index;
            on_accept(listeners_[index]->frontend(), std::move(client), peer);
        },
        [this, index](int error) { on_accept_shortage(*listeners_[index], error); },
        Acceptor::Places{[this] { return take_place(); },
                         [this] { shared_.budget.return_session(); }}));
}

void Worker::close_listeners() {
    for (const auto& listener : listeners_) listener->close();
}

void Worker::reset_sessions() noexcept {
    while (!starved_.empty()) starved_.front().reset(EndReason::drain);  // joins the young
    for (const IntrusiveList<Session>* list : {&young_, &settled_}) {
        for (Session* session = list->empty() ? nullptr : &list->front(); session != nullptr;
             session = list->next(*session)) {
            session->reset(EndReason::drain);
        }
    }
}

void Worker::post(std::function<void(Worker&)> fn) {
    reactor_.post([worker = std::weak_ptr<Worker*>{self_}, fn = std::move(fn)] {
        if (const auto alive = worker.lock()) fn(**alive);
    });
}

// --- clients that come

// A place is one of the proxy's sessions, whichever worker it will be on.
bool Worker::take_place() noexcept {
    DescriptorBudget& budget = shared_.budget;
    if (!starved_.empty()) return false;
    if (budget.take_session()) return true;
    if (release_idle_pipes() && budget.take_session()) return true;
    const bool first = budget.want_room();
    if (budget.take_session()) return true;  // came back in between, and nobody was told
    pause_listeners();
    if (first && budget.pipes_in_the_way()) shared_.on_pipes_in_the_way();
    return false;
}

void Worker::on_accept(const Frontend& frontend, Fd client, const Address& peer) {
    accepted_.add();
    Worker& worker = choose_worker();
    worker.load_.fetch_add(1);
    if (&worker == this) {
        start_session(frontend, std::move(client), peer);
    } else {
        hand_over(worker, frontend, std::move(client), peer);
    }
}

Worker& Worker::choose_worker() noexcept {
    const std::size_t own = load();
    if (peers_.size() < 2 || own == 0) return *this;
    Worker* const least =
        *std::min_element(peers_.begin(), peers_.end(),
                          [](const Worker* a, const Worker* b) { return a->load() < b->load(); });
    const std::size_t least_load = least->load();
    return own > least_load + least_load / tolerated_share ? *least : *this;
}

void Worker::hand_over(Worker& to, const Frontend& frontend, Fd client, const Address& peer) {
    // Shared only because std::function wants to be copied.
    const auto parcel = std::make_shared<Parcel>(std::move(client));
    to.post([&frontend, parcel, peer](Worker& worker) {
        worker.start_session(frontend, std::move(parcel->socket), peer);
    });
}

void Worker::start_session(const Frontend& frontend, Fd client, const Address& peer) {
    Session& session = memory_.create(*this, frontend, std::move(client), peer);
    add_young(session);
    // Now, not in the next turn: the backend is dialled before another client is accepted.
    reactor_.dispatch(session);
}

void Worker::add_young(Session& session) noexcept {
    young_.push_back(session);
    settler_.expect_a_session();
}

Next Worker::Settler::run() noexcept {
    IntrusiveList<Session>& young = worker_.young_;
    for (int count = 0; !young.empty() && young.front().age() >= settling_age; ++count) {
        if (count == settled_per_turn) return Next::again;
        Session& session = young.pop_front();
        session.settle();
        worker_.settled_.push_back(session);
    }
    if (!young.empty()) timer_.start(settling_age - young.front().age());
    return Next::wait;
}

// --- for its sessions

Backend* Worker::pick(const Service& service, const Address& client,
                      std::span<const FailedAttempt> failed) noexcept {
    return pickers_[service.index()].pick(client, failed);
}

void Worker::on_session_start(const SessionStart& start) noexcept {
    shared_.observer.on_session_start(start);
}

void Worker::on_session_end(const SessionSummary& summary) noexcept {
    shared_.observer.on_session_end(summary);
}

void Worker::destroy(Session& session) noexcept {
    memory_.destroy(session);
    load_.fetch_sub(1);
    shared_.budget.return_session();
    on_room();
    shared_.on_session_gone();
}

// --- running out

void Worker::on_starved(Session& session, bool again, int error) noexcept {
    if (!again) {
        session.ListHook<Session>::unlink();
        starved_.push_back(session);
    }
    pause_listeners();
    shared_.shortages.report(error, shared_.budget.sessions(), reactor_.now());
    if (release_idle_pipes()) starved_.front().wake();
}

void Worker::on_provided(Session& session) noexcept {
    session.ListHook<Session>::unlink();
    add_young(session);
    on_room();
}

void Worker::on_accept_shortage(Listener& listener, int error) {
    shared_.shortages.report(error, shared_.budget.sessions(), reactor_.now());
    if (release_idle_pipes()) listener.acceptor().resume();
}

void Worker::on_room() noexcept {
    if (!starved_.empty()) {
        starved_.front().wake();
    } else {
        resume_listeners();
    }
}

bool Worker::release_idle_pipes() noexcept {
    const std::size_t open = context_.pipes().stats().open;
    context_.pipes().trim();
    return context_.pipes().stats().open < open;
}

void Worker::pause_listeners() noexcept {
    for (const auto& listener : listeners_) listener->acceptor().pause();
}

// Whoever was served last comes last, or under a shared limit one listener would get every place
// that comes free.
void Worker::resume_listeners() noexcept {
    for (std::size_t i = 1; i <= listeners_.size(); ++i) {
        Acceptor& acceptor = listeners_[(last_served_ + i) % listeners_.size()]->acceptor();
        if (acceptor.paused() || acceptor.short_of_resources()) acceptor.resume();
    }
}

}  // namespace eplb
