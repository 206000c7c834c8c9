#include "sim/world.hpp"

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/relay.hpp"
#include "reactor/held_turns.hpp"
#include "sim/driver.hpp"
#include "sim/memory.hpp"
#include "sim/seeded.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

namespace sim {

using eplb::Duration;
using namespace std::chrono_literals;

namespace {

// --- the proxy's world

class ProxyWorld {
public:
    explicit ProxyWorld(std::uint64_t seed) : seed_{seed}, random_{Random::mix(seed ^ 0x5eedU)} {
        KernelOptions options = random_kernel(seed, random_);
        verdict_.setting = std::string{"proxy, "} + mode_names[seed % 3] + ", " +
                           choose_pipes(seed, random_, options) + choose_pauses(seed, options);
        timeouts_ = random_.one_in(3);
        faults_ = random_.one_in(3);
        if (timeouts_) verdict_.setting += ", timeouts";
        if (faults_) {
            verdict_.setting += ", shortages";
            options.faults.accept_shortage = static_cast<std::uint32_t>(random_.between(2, 10));
            options.faults.accept_aborted = random_.one_in(2) ? 5 : 0;
            options.faults.socket_shortage = static_cast<std::uint32_t>(random_.between(2, 10));
            options.faults.epoll_add = random_.one_in(2) ? 7 : 0;
        }
        choose_memory();
        kernel_.emplace(options);
        population_.emplace(*kernel_);
    }

    Verdict run() {
        {
            // Nothing runs short before it all begins.
            const Faults faults = std::exchange(kernel_->options().faults, Faults{});
            eplb::Reactor reactor{kernel_->clock()};
            const std::size_t baseline = kernel_->open_descriptors();
            {
                eplb::Proxy proxy{reactor, config(), recorder_};
                kernel_->options().faults = faults;
                live(reactor, proxy, baseline);
            }
            check_descriptors(*kernel_, baseline, "after the proxy", verdict_);
        }
        check_descriptors(*kernel_, 0, "after the reactor", verdict_);
        for (const std::string& text : kernel_->violations()) verdict_.problems.push_back(text);
        if (!verdict_.problems.empty()) describe_peers(*population_, verdict_);
        verdict_.calls = kernel_->calls();
        verdict_.splices = kernel_->splices();
        return std::move(verdict_);
    }

private:
    eplb::Config config() {
        eplb::Config config;
        config.max_connections = random_.one_in(4) ? random_.between(1, 3) : 100;
        eplb::ServiceConfig service;
        service.relay = mode_of(seed_);
        service.listen.push_back(eplb::Address::parse("127.0.0.1:5555"));
        service.connect_timeout = 1s;
        service.idle_timeout = timeouts_ ? idle_timeout : Duration{0};
        service.half_close_timeout = timeouts_ ? half_close_timeout : Duration{0};
        const std::uint64_t backends = random_.between(1, 4);
        for (std::uint64_t i = 0; i < backends; ++i) {
            const Place place{0x0a000100U + static_cast<std::uint32_t>(i) + 1, 80};
            service.backends.push_back({eplb::Address::parse(to_text(place)), "", 1});
            // Mostly there are healthy ones.
            const std::uint64_t health = i == 0 && !random_.one_in(8) ? 0 : random_.below(10);
            answers_in_time_[to_text(place)] = health != 6 && health != 7;
            kernel_->serve(place, [this, health] { return answer(health); });
        }
        choose_limits(service);
        config.services.push_back(service);
        return config;
    }

    // By a sequence of its own, too.
    void choose_memory() {
        Random random{Random::mix(seed_ ^ 0xa110cU)};
        if (!random.one_in(4)) return;
        memory_refused_once_in_ = static_cast<std::uint32_t>(1 + random.magnitude(30));
        verdict_.setting += ", memory refused once in " + std::to_string(memory_refused_once_in_);
    }

    // By a sequence of its own: the rest of a seed's world does not depend on it.
    void choose_limits(eplb::ServiceConfig& service) {
        static constexpr std::array policies{eplb::Balance::round_robin, eplb::Balance::leastconn,
                                             eplb::Balance::first,       eplb::Balance::source_hash,
                                             eplb::Balance::consistent,  eplb::Balance::least_time};
        Random random{Random::mix(seed_ ^ 0x1141'7a11U)};
        service.balance = policies[random.below(policies.size())];
        service.eject_after = static_cast<std::uint32_t>(random.below(4));
        if (random.one_in(4)) service.retries = random.below(3);
        if (random.one_in(4)) service.max_connections = 1;
        if (random.one_in(2)) service.when_all_down = eplb::WhenAllDown::refuse;
        if (random.one_in(2)) return;
        verdict_.setting += ", backends with limits";
        service.queue = random.one_in(3) ? 1 : 100;
        if (random.one_in(2)) service.queue_timeout = 0s;
        for (eplb::BackendConfig& backend : service.backends) {
            backend.max_connections = static_cast<std::uint32_t>(random.below(3));
            backend.backup = random.one_in(4);
        }
    }

    Dialled answer(std::uint64_t health) {
        Dialled dialled;
        dialled.delay = scaled(random_.one_in(3) ? 0 : random_.magnitude(100), 1ms);
        switch (health) {
        case 5:
            dialled.kind = Dialled::Kind::fails;
            dialled.error = ECONNREFUSED;
            break;
        case 6:
            dialled.kind = Dialled::Kind::fails;
            dialled.error = random_.one_in(2) ? EHOSTUNREACH : ETIMEDOUT;
            break;
        case 7: dialled.kind = Dialled::Kind::silent; break;
        case 8:
            dialled.kind = Dialled::Kind::refused_at_once;
            dialled.error = random_.one_in(2) ? ENETUNREACH : EADDRNOTAVAIL;
            break;
        default:
            dialled.kind =
                random_.one_in(4) ? Dialled::Kind::accepted_at_once : Dialled::Kind::accepted;
            break;
        }
        const Link link = random_link(random_);
        dialled.link = [link] { return link; };
        dialled.on_accept = [this, link, health](Endpoint& remote) {
            Script script = random_server_script(random_, link, timeouts_);
            if (health == 9) script = {.end = Script::End::reset};  // resets at once
            population_->add(script, "backend").start(remote);
        };
        return dialled;
    }

    void add_clients() {
        const std::uint64_t clients = random_.between(1, 6);
        for (std::uint64_t i = 0; i < clients; ++i) {
            const Link link = random_link(random_);
            population_->add_client(random_script(random_, link, timeouts_), 5555, link,
                                    scaled(random_.one_in(2) ? 0 : random_.magnitude(3'000), 1ms));
        }
    }

    void live(eplb::Reactor& reactor, eplb::Proxy& proxy, std::size_t baseline) {
        add_clients();
        const ScarceMemory scarce{memory_refused_once_in_, seed_};
        Driver driver{*kernel_, reactor};
        const auto quiet = [&] { return population_->over() && proxy.active_sessions() == 0; };
        if (!drive(driver, verdict_, quiet)) return;
        // Nobody is left; no session may have been kept by a timer.
        if (recorder_.last_end - population_->over_at() > 4s + kernel_->stalled_for()) {
            verdict_.problems.emplace_back("a session outlived its peers");
        }
        // A client that is gone may still wait to be accepted.
        const eplb::TimePoint end = kernel_->now() + 5s;
        kernel_->at(end, [this] { kernel_->interrupt(); });
        if (!drive(driver, verdict_, [&] { return kernel_->now() >= end && quiet(); })) return;
        check_rest(proxy, baseline);
        population_->check_integrity(verdict_.problems);
        if (!timeouts_) population_->check_completeness(verdict_.problems, cut_off());
        for (Peer& peer : population_->all()) verdict_.bytes += peer.received();
        verdict_.sessions = recorder_.count;
        check_summaries();
    }

    void check_rest(const eplb::Proxy& proxy, std::size_t baseline) {
        const eplb::ProxyStats stats = proxy.stats();
        if (stats.accepted != recorder_.count)
            verdict_.problems.emplace_back("a session without an end");
        if (stats.pipes.lent != 0) verdict_.problems.emplace_back("a pipe was not given back");
        if (kernel_->bytes_in_pipes() != 0)
            verdict_.problems.emplace_back("an idle pipe is not empty");
        if (kernel_->open_pipes() != stats.pipes.open)
            verdict_.problems.emplace_back("pipes miscounted");
        check_descriptors(*kernel_, baseline + 1 + 2 * stats.pipes.open, "at rest", verdict_);
    }

    // Those whose session ended for want of memory.
    std::set<const Peer*> cut_off() {
        std::set<const Peer*> found;
        for (Peer& client : population_->all()) {
            if (client.name().front() != 'c' || client.endpoint() == nullptr) continue;
            const auto end = recorder_.ends.find(to_text(client.endpoint()->local()));
            if (end == recorder_.ends.end() || !lacked_memory(end->second)) continue;
            found.insert(&client);
            if (Peer* const server = population_->partner_of(client)) found.insert(server);
        }
        return found;
    }

    [[nodiscard]] bool lacked_memory(const Recorder::End& end) const noexcept {
        return memory_refused_once_in_ != 0 && end.reason == eplb::EndReason::local_error;
    }

    void check_summaries() {
        for (Peer& client : population_->all()) {
            if (client.name().front() != 'c') continue;
            const auto end = recorder_.ends.find(to_text(client.endpoint()->local()));
            if (end == recorder_.ends.end()) continue;  // never accepted
            for (const std::string& backend : end->second.too_late) {
                if (answers_in_time_[backend])
                    verdict_.problems.push_back(backend + " answered in time");
            }
            Peer* const server = population_->partner_of(client);
            if (server == nullptr) {
                if (client.saw_end() && !end->second.served) {
                    verdict_.problems.push_back(client.name() +
                                                " found no backend and was told of an end");
                }
                continue;
            }
            check_summary(client, *server, end->second);
        }
    }

    void check_summary(Peer& client, Peer& server, const Recorder::End& end) {
        const bool clean =
            end.reason == eplb::EndReason::client_fin || end.reason == eplb::EndReason::server_fin;
        const bool both_ended = client.saw_end() && server.saw_end();
        const std::string told = std::string{to_string(end.reason)} +
                                 " was said of the end of\n    " + client.describe() + "\n    " +
                                 server.describe();
        if (!end.served) verdict_.problems.push_back("no backend, but " + told);
        if (end.up < server.received() || end.down < client.received()) {
            verdict_.problems.push_back("more bytes were received than counted; " + told);
        }
        if (clean && (end.up > client.sent() || end.down > server.sent())) {
            verdict_.problems.push_back("more bytes were counted than sent; " + told);
        }
        if (end.reason == eplb::EndReason::idle || end.reason == eplb::EndReason::half_close)
            check_punctuality(*client.endpoint()->peer(), *server.endpoint()->peer(), end, told);
        const bool polite = client.is_polite() && server.is_polite();
        if (polite && !clean && !lacked_memory(end)) verdict_.problems.push_back(told);
        if (clean && polite && !both_ended) verdict_.problems.push_back(told);
    }

    // The balancer's two ends. A byte that could be passed on before the time was over keeps the
    // session, however late it is looked at.
    void check_punctuality(const Endpoint& client, const Endpoint& server, const Recorder::End& end,
                           const std::string& told) {
        const Duration timeout =
            end.reason == eplb::EndReason::idle ? idle_timeout : half_close_timeout;
        const Endpoint::AtClose& up = client.at_close();
        const Endpoint::AtClose& down = server.at_close();
        const eplb::TimePoint due = std::max(up.sent_at, down.sent_at) + timeout;
        if (std::min(up.when, down.when) + eplb::HeldTurns::least < due)
            verdict_.problems.push_back("bytes moved a short time ago, but " + told);
        for (const auto& [from, to] : {std::pair{up, down}, std::pair{down, up}}) {
            if (from.unread_since && to.writable_since &&
                std::max(*from.unread_since, *to.writable_since) < due)
                verdict_.problems.push_back("bytes came in time, but " + told);
        }
    }

    static constexpr Duration idle_timeout = 30s;
    static constexpr Duration half_close_timeout = 20s;

    std::uint64_t seed_;
    Random random_;
    Verdict verdict_;
    std::map<std::string, bool> answers_in_time_;
    bool timeouts_ = false;
    bool faults_ = false;
    std::uint32_t memory_refused_once_in_ = 0;  // 0: never
    Recorder recorder_;
    std::optional<Kernel> kernel_;
    std::optional<Population> population_;
};

// --- the relays' world

class RelayWorld {
public:
    explicit RelayWorld(std::uint64_t seed) : seed_{seed}, random_{Random::mix(seed ^ 0x7e1a7U)} {
        KernelOptions options = random_kernel(seed, random_);
        verdict_.setting = std::string{"relay, "} + mode_names[seed % 3] + ", " +
                           choose_pipes(seed, random_, options) + choose_pauses(seed, options);
        timeouts_ = random_.one_in(4);
        if (timeouts_) verdict_.setting += ", timeouts";
        kernel_.emplace(options);
        population_.emplace(*kernel_);
    }

    Verdict run() {
        {
            const Faults faults = std::exchange(kernel_->options().faults, Faults{});
            eplb::Reactor reactor{kernel_->clock()};
            kernel_->options().faults = faults;
            eplb::RelayContext context{context_options()};
            const std::size_t baseline = kernel_->open_descriptors();
            live(reactor, context);
            relays_.clear();
            if (verdict_.problems.empty()) {
                if (context.pipes().stats().lent != 0) complain("a pipe was not given back");
                if (kernel_->bytes_in_pipes() != 0) complain("an idle pipe is not empty");
            }
            context.pipes().trim();
            check_descriptors(*kernel_, baseline, "after the relays", verdict_);
        }
        check_descriptors(*kernel_, 0, "after the reactor", verdict_);
        for (const std::string& text : kernel_->violations()) verdict_.problems.push_back(text);
        if (!verdict_.problems.empty()) describe_peers(*population_, verdict_);
        verdict_.calls = kernel_->calls();
        verdict_.splices = kernel_->splices();
        return std::move(verdict_);
    }

private:
    void complain(const char* text) { verdict_.problems.emplace_back(text); }

    eplb::RelayContext::Options context_options() {
        eplb::RelayContext::Options options;
        options.mode = mode_of(seed_);
        // Tiny ones make every boundary common.
        options.scratch_bytes = random_.one_in(3) ? 64 * 1024 : random_.between(64, 8192);
        options.pipe_bytes = random_.one_in(2) ? 256 * 1024 : std::size_t{65'536};
        options.turn_bytes = random_.one_in(3) ? 256 * 1024 : random_.between(1, 20'000);
        return options;
    }

    void live(eplb::Reactor& reactor, eplb::RelayContext& context) {
        const std::uint64_t count = random_.between(1, 4);
        for (std::uint64_t i = 0; i < count; ++i) {
            kernel_->after(scaled(random_.one_in(2) ? 0 : random_.magnitude(2'000), 1ms), [this] {
                ++to_start_;
                kernel_->interrupt();
            });
        }
        Driver driver{*kernel_, reactor};
        const auto done = [&] {
            for (; to_start_ > 0; --to_start_) start(reactor, context);
            return relays_.size() == count && ended_ == count && population_->over();
        };
        if (!drive(driver, verdict_, done)) return;
        if (last_end_ - population_->over_at() > 1s + kernel_->stalled_for()) {
            verdict_.problems.emplace_back("a relay outlived its peers");
        }
        population_->check_integrity(verdict_.problems);
        if (!timeouts_) population_->check_completeness(verdict_.problems);
        for (Peer& peer : population_->all()) verdict_.bytes += peer.received();
        verdict_.sessions = ended_;
    }

    void start(eplb::Reactor& reactor, eplb::RelayContext& context) {
        const Link up = random_link(random_);
        const Link down = random_link(random_);
        const auto client = kernel_->connected_pair(up);
        const auto server = kernel_->connected_pair(down);
        population_->add(random_script(random_, up, timeouts_), "client").start(*client.remote);
        population_->add(random_server_script(random_, down, timeouts_), "server")
            .start(*server.remote);
        const eplb::RelayTimeouts timeouts =
            timeouts_ ? eplb::RelayTimeouts{30s, 20s} : eplb::RelayTimeouts{0s, 0s};
        relays_.push_back(std::make_unique<eplb::Relay>(reactor, context, eplb::Fd{client.fd},
                                                        eplb::Fd{server.fd}, timeouts,
                                                        [this](const eplb::RelayResult&) {
                                                            ++ended_;
                                                            last_end_ = kernel_->now();
                                                        }));
    }

    std::uint64_t seed_;
    Random random_;
    Verdict verdict_;
    bool timeouts_ = false;
    std::optional<Kernel> kernel_;
    std::optional<Population> population_;
    std::uint64_t to_start_ = 0;
    std::vector<std::unique_ptr<eplb::Relay>> relays_;
    std::uint64_t ended_ = 0;
    eplb::TimePoint last_end_{};
};

}  // namespace

Verdict run_proxy_world(std::uint64_t seed) { return ProxyWorld{seed}.run(); }
Verdict run_relay_world(std::uint64_t seed) { return RelayWorld{seed}.run(); }

}  // namespace sim
