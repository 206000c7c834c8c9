#include "proxy/worker_admission.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace eplb {
namespace {

// Of listeners that wait for a service's rate.
constexpr Duration longest_pause = std::chrono::seconds{1};

}  // namespace

bool WorkerAdmission::take_place(Listener& listener) noexcept {
    if (may_accept(listener.frontend().service)) return true;
    listeners_wait_ = true;
    return false;
}

bool WorkerAdmission::may_accept(Service& service) noexcept {
    if (service.config().over_limit == OverLimit::reset) return take_descriptors();  // see judge()
    if (!enter(service)) return false;
    if (take_descriptors()) return true;
    service.spec().limits->undo();
    return false;
}

void WorkerAdmission::give_place_back(Listener& listener) noexcept {
    const Service& service = listener.frontend().service;
    if (service.config().over_limit == OverLimit::wait) service.spec().limits->undo();
    budget_.return_session();
}

// Whoever may not enter yet waits in the backlog of this listener.
bool WorkerAdmission::enter(Service& service) noexcept {
    ServiceLimits& limits = *service.spec().limits;
    const TimePoint now = reactor_.now();
    Admission verdict = limits.try_enter(now);
    if (verdict == Admission::too_many) {
        limits.want_room(worker_);
        verdict = limits.try_enter(now);  // somebody may have left in between
    }
    // A place that another worker took of the rate and gives back is not told.
    if (verdict == Admission::too_fast)
        pacemaker_.wait_until(std::min(limits.next_free(now), now + longest_pause));
    return verdict == Admission::admitted;
}

bool WorkerAdmission::take_descriptors() noexcept {
    if (sessions_.anyone_starves()) return false;
    if (budget_.take_session()) return true;
    // Under max_sessions no pipe helps, and the next session would have to make it anew.
    if (budget_.short_of_descriptors() && release_idle_pipes() && budget_.take_session())
        return true;
    const bool first = budget_.want_room(worker_);
    if (budget_.take_session()) return true;  // came back in between, and nobody was told
    pause_listeners();
    if (first && budget_.pipes_in_the_way()) shared_.on_pipes_in_the_way();
    return false;
}

void WorkerAdmission::on_accept_shortage(Listener& listener, int error) noexcept {
    shared_.shortages.report(error, budget_.sessions(), reactor_.now());
    listeners_wait_ = short_ = true;
    if (release_idle_pipes()) listener.acceptor().resume();
}

void WorkerAdmission::on_starved(Session& session, bool again, int error) noexcept {
    if (!again) sessions_.starve(session);
    pause_listeners();
    shared_.shortages.report(error, budget_.sessions(), reactor_.now());
    if (release_idle_pipes() && sessions_.anyone_starves()) sessions_.wake_first_starved();
}

void WorkerAdmission::on_provided(Session& session) noexcept {
    sessions_.provide(session);
    on_room();
}

void WorkerAdmission::on_out_of_memory() noexcept {
    shared_.shortages.report_reset(ENOMEM, budget_.sessions(), reactor_.now());
}

bool WorkerAdmission::release_idle_pipes() noexcept {
    RelayContexts& contexts = catalog_.contexts();
    const std::size_t open = contexts.open_pipes();
    contexts.trim();
    return contexts.open_pipes() < open;
}

Next WorkerAdmission::PassingOn::run() noexcept {
    admission_.budget_.pass_on();
    admission_.catalog_.pass_room_on();
    return Next::wait;
}

void WorkerAdmission::pause_listeners() noexcept {
    listeners_wait_ = true;
    listeners_.pause();
}

}  // namespace eplb
