#include "proxy/service.hpp"

#include "balance/balance_table.hpp"
#include "base/random_word.hpp"
#include "proxy/session.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <new>
#include <utility>

namespace eplb {
namespace {

// A peer that is gone is found within the timeout and an eighth of it.
constexpr int inspections_per_timeout = 8;
constexpr Duration least_inspection_interval = std::chrono::milliseconds{10};
constexpr Duration latency_interval = std::chrono::seconds{2};
constexpr Duration rebalance_interval = std::chrono::seconds{1};
// In which a backend that dies, and whose port has just become one for us, could be missed.
constexpr Duration meeting_interval = std::chrono::milliseconds{100};

RelayTimeouts relay_timeouts(const ServiceConfig& service) noexcept {
    return {.idle = service.idle_timeout,
            .half_close = service.half_close_timeout,
            .lifetime = service.max_lifetime,
            .lifetime_jitter_percent = service.lifetime_jitter_percent,
            .dead_peer = service.dead_peer_timeout};
}

}  // namespace

EphemeralPorts EphemeralPorts::of_this_network() {
    std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
    EphemeralPorts ports;
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    if (range >> first >> last) ports = {first, last};
    return ports;
}

Service::Service(std::shared_ptr<const ServiceSpec> spec, std::size_t worker, RelayContext& context)
    : spec_{std::move(spec)},
      config_{spec_->config.get()},
      worker_{worker},
      context_{&context},
      timeouts_{relay_timeouts(*config_)} {
    make_balancers();
    try {
        take_backends();
    } catch (...) {
        // The next one that is made for this spec needs them.
        if (spec_->custom_balancers)
            spec_->custom_balancers->of_workers[worker_] = {std::move(primaries_.balancer),
                                                            std::move(backups_.balancer)};
        throw;
    }
    begin_at_own_place();
}

void Service::update(std::shared_ptr<const ServiceSpec> spec, RelayContext& context) {
    // Custom ones cannot be compared: they are new each time.
    const bool same_policy = up_to_date_ && spec->config->balance == config_->balance &&
                             !spec->custom_balancers && !spec_->custom_balancers;
    const RelayTimeouts timeouts = relay_timeouts(*spec->config);
    if (timeouts != timeouts_ || spec->config->queue_timeout != config_->queue_timeout)
        timeouts_changed_ = true;
    up_to_date_ = false;  // until all of it is done: it may run out of memory
    spec_ = std::move(spec);
    config_ = spec_->config.get();
    context_ = &context;
    timeouts_ = timeouts;
    try {
        if (!same_policy) make_balancers();
        take_backends();
    } catch (...) {
        have_no_backends();  // those that are there do not fit what picks among them
        throw;
    }
    if (!same_policy) begin_at_own_place();
    up_to_date_ = true;
}

// Custom ones are asked for clients alone.
void Service::begin_at_own_place() noexcept {
    if (spec_->custom_balancers) return;
    for (Tier* const tier : {&primaries_, &backups_}) {
        candidates_.clear();
        for (Backend* const backend : tier->backends) candidates_.add(*backend);
        for (std::size_t i = 0; i < worker_ && !candidates_.empty(); ++i)
            static_cast<void>(tier->balancer->pick(candidates_, {.client = {}}));
    }
}

void Service::make_balancers() {
    if (spec_->custom_balancers) {
        CustomBalancers::Pair& own = spec_->custom_balancers->of_workers[worker_];
        if (own.primaries == nullptr) return;  // ours already, from when update() failed
        primaries_.balancer = std::move(own.primaries);
        backups_.balancer = std::move(own.backups);
        return;
    }
    for (Tier* const tier : {&primaries_, &backups_})
        tier->balancer = make_balancer(config_->balance, random_word());
}

// At every change, because a weight may be another one.
void Service::take_backends() {
    candidates_.prepare(spec_->index_end);
    by_index_.assign(spec_->index_end, nullptr);
    rebalancer_ = {};  // goes by index, and an index may be somebody else's by now
    const auto take = [this](Tier& tier, const std::vector<std::shared_ptr<Backend>>& backends,
                             const std::shared_ptr<const BalanceTable>& table) {
        tier.backends.clear();
        tier.backends.reserve(backends.size());
        for (const auto& backend : backends) {
            tier.backends.push_back(backend.get());
            by_index_[backend->index()] = backend.get();
        }
        if (table != nullptr) {
            static_cast<TableBalancer&>(*tier.balancer).use(table, tier.backends);
        } else {
            tier.balancer->prepare(tier.backends);
        }
    };
    take(primaries_, spec_->primaries, spec_->primaries_table);
    take(backups_, spec_->backups, spec_->backups_table);
}

const Address* Service::next_source(int family) noexcept {
    return source_turn_.next(config_->sources, family);
}

std::string Service::make_unique_id() { return unique_ids_.next(); }

void Service::remove() noexcept {
    removed_ = true;
    have_no_backends();
}

void Service::have_no_backends() noexcept {
    primaries_.backends.clear();
    backups_.backends.clear();
    by_index_.clear();
}

Service::Choice Service::pick(const Address& client, const FailedAttempts* failed,
                              TimePoint now) noexcept {
    const PickContext context{.client = client,
                              .service = config_->name,
                              .attempts = failed == nullptr ? 0 : failed->size(),
                              .now = now};
    const auto usable = [](const Backend& backend) { return backend.usable(); };
    const auto enabled = [](const Backend& backend) { return backend.enabled(); };
    if (const auto choice = pick_from(primaries_, usable, failed, context)) return *choice;
    if (const auto choice = pick_from(backups_, usable, failed, context)) return *choice;
    // Those that are new, and wait for their first check, are a better hope than nobody.
    const auto may_work = [](const Backend& backend) { return backend.may_work(); };
    if (const auto choice = pick_from(primaries_, may_work, failed, context)) return *choice;
    if (const auto choice = pick_from(backups_, may_work, failed, context)) return *choice;
    // Some work, but have failed this client.
    const auto works = [](const Backend* backend) { return backend->usable(); };
    if (std::ranges::any_of(primaries_.backends, works) ||
        std::ranges::any_of(backups_.backends, works) ||
        config_->when_all_down == WhenAllDown::refuse)
        return {};
    if (const auto choice = pick_from(primaries_, enabled, failed, context)) return *choice;
    return pick_from(backups_, enabled, failed, context).value_or(Choice{});
}

// Nothing: none of them may be used for this client.
template <class Predicate>
std::optional<Service::Choice> Service::pick_from(Tier& tier, Predicate may_be_used,
                                                  const FailedAttempts* failed,
                                                  const PickContext& context) noexcept {
    const auto has_failed = [failed](const Backend& backend) {
        return failed != nullptr && failed->contains(backend);
    };
    candidates_.clear();
    bool some_are_full = false;
    for (Backend* const backend : tier.backends) {
        if (!may_be_used(*backend) || has_failed(*backend)) continue;
        if (backend->full()) {
            some_are_full = true;
        } else {
            candidates_.add(*backend);
        }
    }
    if (!candidates_.empty()) {
        return Choice{own_one(tier.balancer->pick(candidates_, context)), false};
    }
    if (some_are_full) return Choice{nullptr, true};
    return std::nullopt;
}

// Policies only look at backends; whoever dials also counts. A policy of the program around us may
// name one that is full, again and again, or none of ours, which may be gone: it is not looked at
// before it is known to be a candidate. Our own do not, and are not checked.
Backend* Service::own_one(const Backend* chosen) const noexcept {
    if (chosen == nullptr) return nullptr;
    if (spec_->custom_balancers &&
        std::ranges::find(candidates_.all(), chosen) == candidates_.all().end())
        return nullptr;
    return by_index_[chosen->index()];
}

// --- looking at sessions

bool Service::goes_by_latency() const noexcept {
    return config_->balance == Balance::least_time || config_->balance == Balance::peak_ewma;
}

// Under the other policies who comes back need not come to a backend that lacks sessions.
bool Service::rebalances() const noexcept {
    const bool by_weight = config_->balance == Balance::round_robin ||
                           config_->balance == Balance::leastconn ||
                           config_->balance == Balance::random;
    return config_->rebalance != Rebalance::off && by_weight && !spec_->custom_balancers;
}

Duration Service::inspection_interval() const noexcept {
    Duration least = Duration::max();
    if (timeouts_.dead_peer > Duration{0}) {
        least = std::max(timeouts_.dead_peer / inspections_per_timeout, least_inspection_interval);
    }
    if (goes_by_latency()) least = std::min(least, latency_interval);
    if (rebalances()) least = std::min(least, rebalance_interval);
    return least == Duration::max() ? Duration{0} : least;
}

void Service::begin_round(TimePoint now, std::size_t workers) {
    const auto take_turn = [now](TimePoint& next, Duration interval) {
        if (now < next) return false;
        next = now + interval;
        return true;
    };
    inspection_.peers_interval =
        std::max(timeouts_.dead_peer / inspections_per_timeout, least_inspection_interval);
    inspection_.peers = timeouts_.dead_peer > Duration{0} &&
                        take_turn(next_look_at_peers_, inspection_.peers_interval);
    inspection_.latency = goes_by_latency() && take_turn(next_look_at_latency_, latency_interval);
    if (rebalances() && take_turn(next_rebalance_, rebalance_interval)) {
        try {
            rebalancer_.plan(primaries_.backends, workers);
        } catch (const std::bad_alloc&) {}  // the next one does
    }
}

bool Service::is_to_be_moved(const Session& session) noexcept {
    if (!rebalances() || session.backend() == nullptr ||
        !rebalancer_.has_too_many(*session.backend()))
        return false;
    const std::optional<Duration> quiet = session.quiet();
    return quiet && *quiet >= config_->rebalance_idle && rebalancer_.take_from(*session.backend());
}

std::size_t Service::free_places() const noexcept {
    std::size_t free = 0;
    for (const Tier* const tier : {&primaries_, &backups_}) {
        for (const Backend* const backend : tier->backends) {
            if (!backend->usable()) continue;
            const std::size_t most = backend->max_connections();
            const std::size_t active = backend->active();
            if (most == 0) return WaitingRoom::most_called;
            if (active < most) free += most - active;
            if (free >= WaitingRoom::most_called) return WaitingRoom::most_called;
        }
    }
    return std::max(free, std::size_t{1});
}

// The range may be another one by now. To look at the socket says more than to ask for that, and is
// one system call; now and then, and always after a failure, is enough: whom we met is there.
bool Service::may_connect_to_itself(const Backend& backend, TimePoint now) const noexcept {
    return !backend.address().is_unix() &&
           (spec_->ephemeral_ports.contains(backend.address().port()) ||
            backend.met_ago(now) >= meeting_interval);
}

}  // namespace eplb
