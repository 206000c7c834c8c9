#include "proxy/worker.hpp"

#include "base/sys.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <utility>

namespace eplb {
namespace {

// How many more sessions than another worker one may have: a sixteenth; and two while there are few,
// or every other short connection would change its thread for nothing.
constexpr std::size_t tolerated_share = 16;
constexpr std::size_t tolerated_sessions = 2;

// Four system calls each: a thousand clients who came at once do not hold everybody up together.
constexpr int settled_per_turn = 32;

// A socket and a connect(2) each, as an accept(2) has behind it.
constexpr int called_per_turn = Acceptor::budget_per_turn;

// A look costs next to nothing; a reset two close(2), and a line in the log in the next turn.
constexpr int charges_of_errands = 1024;
constexpr int charges_of_reset = 15;  // 64 of them a turn
constexpr int charges_of_waking = 3;

// A system call or two each.
constexpr int inspected_per_turn = 64;
// Of listeners that wait for a service's rate.
constexpr Duration longest_pause = std::chrono::seconds{1};

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
    while (!starved_.empty()) starved_.front().reset(EndReason::drain);  // joins the young
    for (IntrusiveList<Session>* list : {&young_, &settled_}) {
        for (Session* session = list->empty() ? nullptr : &list->front(); session != nullptr;
             session = list->next(*session)) {
            session->reset(EndReason::drain);
        }
    }
    for (IntrusiveList<Session>* list : {&young_, &settled_}) {
        while (!list->empty()) list->front().retire();
    }
    listeners_.clear();
    trim_pipes();  // tells the budget, which would tell us
}

// --- what it works by

void Worker::learn(const Generation& generation) {
    const SessionOrders orders = catalog_.learn_services(generation);
    inspector_.set_interval(catalog_.inspection_interval());
    carry_out(orders);
    catalog_.learn_frontends(generation);
}

// Counts the listeners that are being closed. One that is destroyed meanwhile is waited for in vain:
// so is the worker, then.
class Worker::Closing {
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

void Worker::switch_over(const Generation& generation, std::function<void()> on_done) {
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

void Worker::close(const std::vector<Listener*>& listeners, std::function<void()> on_closed) {
    const auto closing = std::make_shared<Closing>(std::move(on_closed));
    closing->close(listeners, closing);
}

// The old one stays for those who wait in its queue.
void Worker::reopen(Listener& listener, const FrontendSpec& spec) {
    const std::string address = spec.address.to_string();
    try {
        add_listener(spec, listen_on(spec.address, spec.options));
        listener.supersede();
        shared_.on_listener_trouble(fmt::format("listener {}: it has a new file", address));
    } catch (const std::exception& error) {
        shared_.on_listener_trouble(error.what());
    }
}

void Worker::add_listener(const FrontendSpec& frontend, Fd socket) {
    listeners_.push_back(std::make_unique<Listener>(
        reactor_, frontend.socket, *catalog_.find_frontend(frontend.id), std::move(socket),
        Listener::Handlers{
            .on_accept = [this](
                             Listener& listener, Fd client,
                             const Address& peer) { on_accept(listener, std::move(client), peer); },
            .on_shortage = [this](Listener& listener,
                                  int error) { on_accept_shortage(listener, error); },
            .take_place = [this](Listener& listener) { return take_place(listener); },
            .give_place_back = [this](Listener& listener) { give_place_back(listener); }}));
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
    std::vector<Listener*> all;
    for (const auto& listener : listeners_) all.push_back(listener.get());
    close(all, std::move(on_closed));
}

void Worker::reset_sessions() noexcept { errands_.reset_all(EndReason::drain); }

void Worker::carry_out(const SessionOrders& orders) {
    if (!orders.empty()) errands_.order(orders);
}

void Worker::Errands::reset_all(EndReason reason) noexcept {
    coming_.reset_all(reason);
    begin();
}

void Worker::Errands::order(const SessionOrders& orders) {
    coming_.add(orders);
    begin();
}

// A few at once: then few sessions are over in the next turn, as if this took no turns at all.
void Worker::Errands::begin() noexcept {
    if (under_way_ || coming_.empty()) return;
    under_way_ = true;
    current_ = std::exchange(coming_, {});
    round_ = round_ == UINT8_MAX ? std::uint8_t{1} : static_cast<std::uint8_t>(round_ + 1);
    unvisited_ = worker_.memory_.size();
    list_ = 0;
    next_ = list().empty() ? nullptr : &list().front();
    if (run() == Next::again) worker_.reactor_.schedule(*this);
}

Next Worker::Errands::run() noexcept {
    for (int charged = 0; unvisited_ > 0;) {
        if (charged >= charges_of_errands) return Next::again;
        Session& session = take_next();
        ++charged;
        if (session.visited_in() == round_) continue;
        session.set_visited_in(round_);
        --unvisited_;
        charged += carry_out(session);
    }
    current_ = {};
    next_ = nullptr;
    if (std::exchange(under_way_, false) && !coming_.empty()) begin();
    return Next::wait;
}

// One that is not visited yet may have gone from a list that comes to one that was done, so it begins
// anew as long as there are such.
Session& Worker::Errands::take_next() noexcept {
    while (next_ == nullptr) {
        list_ = (list_ + 1) % 3;
        next_ = list().empty() ? nullptr : &list().front();
    }
    Session& session = *next_;
    next_ = list().next(session);
    return session;
}

// Returns what it costs.
int Worker::Errands::carry_out(Session& session) noexcept {
    const std::uint32_t service = session.frontend().service.id();
    if (const auto doom = current_.doom_of(service, session.frontend().id, session.backend())) {
        session.reset(*doom);
        return charges_of_reset;
    }
    if (!current_.wakes(service)) return 0;
    worker_.reactor_.schedule(session);
    return charges_of_waking;
}

const IntrusiveList<Session>& Worker::Errands::list() const noexcept {
    return list_ == 0 ? worker_.young_ : list_ == 1 ? worker_.settled_ : worker_.starved_;
}

void Worker::Errands::on_unlink(Session& session) noexcept {
    if (next_ == &session) next_ = list().next(session);
}

void Worker::Errands::on_destroy(const Session& session) noexcept {
    if (under_way_ && session.visited_in() != round_) --unvisited_;
}

void Worker::unlink(Session& session) noexcept {
    errands_.on_unlink(session);
    session.ListHook<Session>::unlink();
}

void Worker::post(std::function<void(Worker&)> fn) {
    reactor_.post([worker = std::weak_ptr<Worker*>{self_}, fn = std::move(fn)] {
        if (const auto alive = worker.lock()) fn(**alive);
    });
}

void Worker::call(Wish wish) noexcept { ears_.call(wish); }

void Worker::Ears::call(Wish wish) noexcept {
    const auto bit = static_cast<std::uint8_t>(wish);
    if ((wishes_.fetch_or(bit) & bit) == 0) bell_.ring();
}

Next Worker::Ears::run() noexcept {
    const std::uint8_t wishes = wishes_.exchange(0);
    const auto wanted = [wishes](Wish wish) {
        return (wishes & static_cast<std::uint8_t>(wish)) != 0;
    };
    if (wanted(Wish::reset_sessions)) worker_.reset_sessions();
    if (wanted(Wish::trim_pipes)) worker_.trim_pipes();
    if (wanted(Wish::room)) worker_.on_room();
    if (wanted(Wish::backend_room)) worker_.on_backend_room();
    if (wanted(Wish::look_at_sessions)) worker_.shared_.on_sessions_gone();
    if (wanted(Wish::look_at_answers)) worker_.shared_.on_answers();
    return Next::wait;
}

// --- clients that come

// A place is one of the service's sessions and of the proxy's, whichever worker it will be on.
bool Worker::take_place(Listener& listener) noexcept {
    if (may_accept(listener.frontend().service)) return true;
    listeners_wait_ = true;
    return false;
}

bool Worker::may_accept(Service& service) noexcept {
    if (service.config().over_limit == OverLimit::reset)
        return take_descriptors();  // see on_accept()
    if (!enter(service)) return false;
    if (take_descriptors()) return true;
    service.spec().limits->undo();
    return false;
}

void Worker::give_place_back(Listener& listener) noexcept {
    const Service& service = listener.frontend().service;
    if (service.config().over_limit == OverLimit::wait) service.spec().limits->undo();
    shared_.budget.return_session();
}

// Whoever may not enter yet waits in the backlog of this listener.
bool Worker::enter(Service& service) noexcept {
    ServiceLimits& limits = *service.spec().limits;
    const TimePoint now = reactor_.now();
    Admission verdict = limits.try_enter(now);
    if (verdict == Admission::too_many) {
        limits.want_room(index_);
        verdict = limits.try_enter(now);  // somebody may have left in between
    }
    // A place that another worker took of the rate and gives back is not told.
    if (verdict == Admission::too_fast)
        pacemaker_.wait_until(std::min(limits.next_free(now), now + longest_pause));
    return verdict == Admission::admitted;
}

bool Worker::take_descriptors() noexcept {
    DescriptorBudget& budget = shared_.budget;
    if (!starved_.empty()) return false;
    if (budget.take_session()) return true;
    // Under max_sessions no pipe helps, and the next session would have to make it anew.
    if (budget.short_of_descriptors() && release_idle_pipes() && budget.take_session()) return true;
    const bool first = budget.want_room();
    if (budget.take_session()) return true;  // came back in between, and nobody was told
    pause_listeners();
    if (first && budget.pipes_in_the_way()) shared_.on_pipes_in_the_way();
    return false;
}

void Worker::on_accept(Listener& listener, Fd client, const Address& peer) {
    last_served_ = &listener;
    accepted_.add();
    Frontend& frontend = listener.frontend();
    const Service& service = frontend.service;
    // Who may wait has entered before.
    const Admission verdict = service.config().over_limit == OverLimit::reset
                                  ? service.spec().limits->try_enter(reactor_.now())
                                  : Admission::admitted;
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
        session = &memory_.create(*this, frontend, std::move(client), peer, verdict);
    } catch (const std::bad_alloc&) {
        return lack_memory_for(frontend, std::move(client), peer, verdict);
    }
    session->set_visited_in(errands_.round());
    ++frontend.sessions;
    frontend.sessions_everywhere->fetch_add(1, std::memory_order_relaxed);
    RelayContexts::add_session(session->relay_context());
    add_young(*session);
    // Now, not in the next turn: the backend is dialled before another client is accepted.
    reactor_.dispatch(*session);
}

void Worker::lack_memory_for(const Frontend& frontend, Fd client, const Address& peer,
                             Admission verdict) noexcept {
    on_out_of_memory();
    turn_away(frontend.service.spec(), frontend.address, std::move(client), peer, verdict,
              EndReason::local_error, ENOMEM);
}

void Worker::on_out_of_memory() noexcept {
    shared_.shortages.report_reset(ENOMEM, shared_.budget.sessions(), reactor_.now());
}

void Worker::add_young(Session& session) noexcept {
    young_.push_back(session);
    settler_.expect_a_session();
}

Next Worker::Settler::run() noexcept {
    IntrusiveList<Session>& young = worker_.young_;
    for (int count = 0; !young.empty() && young.front().age() >= settling_age; ++count) {
        if (count == settled_per_turn) return Next::again;
        Session& session = young.front();
        worker_.unlink(session);
        session.settle();
        worker_.settled_.push_back(session);
        worker_.inspector_.expect_a_session();
    }
    if (!young.empty()) timer_.start(settling_age - young.front().age());
    return Next::wait;
}

void Worker::Pacemaker::wait_until(TimePoint when) noexcept {
    if (timer_.armed() && due_ <= when) return;
    due_ = when;
    timer_.start_at(when);
}

Next Worker::Pacemaker::run() noexcept {
    if (timer_.take_fired()) worker_.on_room();
    return Next::wait;
}

// --- sessions that have settled

void Worker::Inspector::set_interval(Duration interval) noexcept {
    if (interval == interval_) return;
    interval_ = interval;
    in_round_ = false;
    timer_.cancel();
    if (!worker_.settled_.empty()) expect_a_session();
}

// Every session that was there when the round began is looked at once: it carries the round's
// number then. The list goes round, so that it does not matter who leaves meanwhile.
Next Worker::Inspector::run() noexcept {
    if (timer_.take_fired()) {
        in_round_ = true;
        round_ = round_ == UINT8_MAX ? std::uint8_t{1} : static_cast<std::uint8_t>(round_ + 1);
        worker_.catalog_.begin_round(worker_.reactor_.now(),
                                     std::max(worker_.peers_.size(), std::size_t{1}));
    }
    if (!in_round_) return Next::wait;
    IntrusiveList<Session>& settled = worker_.settled_;
    for (int count = 0; !settled.empty() && settled.front().inspected_in() != round_; ++count) {
        if (count == inspected_per_turn) return Next::again;
        Session& session = settled.front();
        worker_.unlink(session);
        settled.push_back(session);
        session.inspect(round_);
        if (session.frontend().service.is_to_be_moved(session)) session.reset(EndReason::rebalance);
    }
    in_round_ = false;
    if (!settled.empty()) timer_.start(interval_);
    return Next::wait;
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
    errands_.on_destroy(session);
    unlink(session);
    memory_.destroy(session);
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
    on_room();
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

void Worker::on_waiting(Service& service) noexcept {
    if (service.waiting++ == 0) waited_for_.push_back(service);
}

void Worker::on_waited(Service& service) noexcept {
    if (--service.waiting == 0) service.ListHook<Waiting>::unlink();
}

// Whoever gets a place leaves, and then the next ones are called. Who does not stays, and as there is
// no room nobody is called.
Next Worker::Usher::run() noexcept {
    for (int count = 0; !calling_.empty(); ++count) {
        if (count == called_per_turn) return Next::again;
        Service& service = calling_.pop_front();
        WaitingRoom::Guest* const guest =
            service.spec().waiting_room->first_of(worker_, service.free_places());
        if (guest == nullptr) continue;
        auto& session = static_cast<Session&>(*guest);  // all guests are sessions
        session.wake();
        worker_.reactor_.dispatch(session);
    }
    return Next::wait;
}

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

void Worker::on_backend_room() noexcept {
    Service* service = waited_for_.empty() ? nullptr : &waited_for_.front();
    for (; service != nullptr; service = waited_for_.next(*service)) usher_.call(*service);
}

// --- running out

void Worker::on_starved(Session& session, bool again, int error) noexcept {
    if (!again) {
        unlink(session);
        starved_.push_back(session);
    }
    pause_listeners();
    shared_.shortages.report(error, shared_.budget.sessions(), reactor_.now());
    if (release_idle_pipes() && !starved_.empty()) starved_.front().wake();
}

void Worker::on_provided(Session& session) noexcept {
    unlink(session);
    add_young(session);
    on_room();
}

void Worker::on_accept_shortage(Listener& listener, int error) {
    shared_.shortages.report(error, shared_.budget.sessions(), reactor_.now());
    listeners_wait_ = true;
    if (release_idle_pipes()) listener.acceptor().resume();
}

void Worker::on_room() noexcept {
    if (!starved_.empty()) {
        starved_.front().wake();
    } else if (std::exchange(listeners_wait_, false)) {
        resume_listeners();
    }
}

bool Worker::release_idle_pipes() noexcept {
    const std::size_t open = catalog_.contexts().open_pipes();
    trim_pipes();
    return catalog_.contexts().open_pipes() < open;
}

void Worker::trim_pipes() noexcept { catalog_.contexts().trim(); }

PipePool::Stats Worker::pipe_stats() const { return catalog_.contexts().stats(); }

void Worker::pause_listeners() noexcept {
    listeners_wait_ = true;
    for (const auto& listener : listeners_) listener->acceptor().pause();
}

// Whoever was served last comes last, or under a shared limit one listener would get every place
// that comes free.
void Worker::resume_listeners() noexcept {
    const auto last = std::ranges::find_if(
        listeners_, [this](const auto& listener) { return listener.get() == last_served_; });
    const auto first = static_cast<std::size_t>(last - listeners_.begin()) + 1;
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
        Acceptor& acceptor = listeners_[(first + i) % listeners_.size()]->acceptor();
        if (acceptor.paused() || acceptor.short_of_resources()) acceptor.resume();
    }
}

}  // namespace eplb
