// A proxy with one to four workers that goes over to other configurations while clients come.

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "proxy/succession.hpp"
#include "sim/driver.hpp"
#include "sim/seeded.hpp"
#include "sim/world.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sim {

using eplb::Duration;
using eplb::TimePoint;
using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t first_port = 5555;
constexpr std::size_t port_count = 4;
// The others come and go.
constexpr std::size_t steady_ports = 3;
constexpr std::uint32_t backend_count = 6;

eplb::Address listener_on(std::size_t port) {
    return eplb::Address::parse("127.0.0.1:" + std::to_string(first_port + port));
}

Place backend_place(std::uint32_t number) { return {0x0a000101U + number, 80}; }

/// Whom who served, of every session.
class Witness final : public eplb::ProxyObserver {
public:
    struct Session {
        std::string client;
        std::string service;
        eplb::Address listener;
        std::optional<eplb::Address> backend;
        TimePoint started{};  // or ended without having started
        eplb::EndReason reason = eplb::EndReason::drain;
    };

    void on_event(eplb::LogLevel level, std::string_view message) noexcept override {
        if (level >= eplb::LogLevel::warning) warnings.emplace_back(message);
    }
    void on_session_start(const eplb::SessionStart& start) noexcept override {
        running_[start.client.to_string()] = {std::string{start.service}, Kernel::current().now()};
    }
    void on_session_end(const eplb::SessionSummary& summary) noexcept override {
        Session session{summary.client.to_string(), std::string{summary.service},
                        summary.listener,           {},
                        Kernel::current().now(),    summary.reason};
        if (summary.backend != nullptr) session.backend = summary.backend->address();
        if (const auto begun = running_.find(session.client); begun != running_.end()) {
            std::tie(session.service, session.started) = begun->second;
            running_.erase(begun);
        }
        ended.push_back(std::move(session));
    }

    std::vector<Session> ended;
    std::vector<std::string> warnings;

private:
    std::map<std::string, std::pair<std::string, TimePoint>> running_;
};

class ReloadWorld {
public:
    explicit ReloadWorld(std::uint64_t seed) : seed_{seed}, random_{Random::mix(seed ^ 0x4e10adU)} {
        KernelOptions options = random_kernel(seed, random_);
        workers_ = random_.between(1, 4);
        options.faults.preemption =
            random_.one_in(4) ? 0 : static_cast<std::uint32_t>(random_.between(3, 60));
        verdict_.setting = std::to_string(workers_) + " workers, " + mode_names[seed % 3];
        strict_ = !random_.one_in(4);
        if (!strict_) verdict_.setting += ", what is removed is closed";
        short_ = random_.one_in(4);
        if (short_) {
            verdict_.setting += ", shortages";
            shortages_.accept_shortage = static_cast<std::uint32_t>(random_.between(2, 10));
            shortages_.socket_shortage = static_cast<std::uint32_t>(random_.between(2, 10));
            shortages_.preemption = options.faults.preemption;
        }
        crowded_ = limits_.one_in(3);
        if (crowded_) verdict_.setting += ", few places";
        kernel_.emplace(options);
        population_.emplace(*kernel_);
        for (std::uint32_t i = 0; i < backend_count; ++i)
            kernel_->serve(backend_place(i), [this] { return answer(); });
    }

    Verdict run() {
        {
            const Faults faults = std::exchange(kernel_->options().faults, Faults{});
            eplb::Reactor reactor{kernel_->clock()};
            baseline_ = kernel_->open_descriptors();
            {
                config_ = first_config();
                eplb::Proxy proxy{reactor, config_, witness_};
                generations_.push_back({config_, kernel_->now(), TimePoint::max()});
                kernel_->options().faults = short_ ? shortages_ : faults;
                live(reactor, proxy);
            }
            reactor.run_once(0s);  // what was handed to the first worker goes with its letter
            check_descriptors(*kernel_, baseline_, "after the proxy", verdict_);
        }
        check_descriptors(*kernel_, 0, "after the reactor", verdict_);
        for (const std::string& text : kernel_->violations()) verdict_.problems.push_back(text);
        if (!verdict_.problems.empty()) {
            for (const std::string& text : witness_.warnings) complain("  told: " + text);
            describe_peers(*population_, verdict_);
        }
        verdict_.calls = kernel_->calls();
        verdict_.splices = kernel_->splices();
        return std::move(verdict_);
    }

private:
    struct Generation {
        eplb::Config config;
        TimePoint from;
        TimePoint to;  // when all workers worked by the next one
    };
    struct Client {
        Peer* peer = nullptr;
        std::size_t port = 0;
        TimePoint dialled{};
    };

    void complain(std::string text) { verdict_.problems.push_back(std::move(text)); }

    // --- configurations

    eplb::Config first_config() {
        eplb::Config config;
        config.workers = workers_;
        config.max_connections = random_.one_in(4) ? random_.between(1, 8) : 200;
        if (crowded_ && limits_.one_in(2)) config.max_connections = few();
        config.services = {new_service({0, 1}, {0, 1}), new_service({2}, {2, 3})};
        return config;
    }

    eplb::ServiceConfig new_service(const std::vector<std::size_t>& ports,
                                    const std::vector<std::uint32_t>& backends) {
        eplb::ServiceConfig service;
        service.name = "service-" + std::to_string(++names_);
        service.relay = mode_of(seed_);
        for (const std::size_t port : ports) service.listen.push_back(listener_on(port));
        for (const std::uint32_t number : backends) add_backend(service, number);
        service.connect_timeout = 10s;
        service.half_close_timeout = 0s;
        service.on_remove = strict_ ? eplb::OnRemove::keep : eplb::OnRemove::close;
        if (crowded_) service.max_connections = few();
        return service;
    }

    std::uint32_t few() { return static_cast<std::uint32_t>(limits_.between(1, 3)); }

    static void add_backend(eplb::ServiceConfig& service, std::uint32_t number) {
        service.backends.push_back({eplb::Address::parse(to_text(backend_place(number))), "", 1});
    }

    template <class T>
    T& any_of(std::vector<T>& items) {
        return items[static_cast<std::size_t>(random_.below(items.size()))];
    }

    void edit(eplb::Config& config) {
        auto& services = config.services;
        eplb::ServiceConfig& service = any_of(services);
        eplb::ServiceConfig& other = any_of(services);
        switch (random_.below(12)) {
        case 0: service.name = "service-" + std::to_string(++names_); break;
        case 1: std::swap(service.listen, other.listen); break;
        case 2:
        case 3:
            if (service.listen.size() < 2 || &service == &other) break;
            other.listen.insert(other.listen.begin(), service.listen.front());
            service.listen.erase(service.listen.begin());
            break;
        case 4: std::ranges::reverse(service.listen); break;
        case 5: open_or_close_a_port(services, service); break;
        case 6:
        case 7: change_backends(service); break;
        case 8: std::ranges::reverse(services); break;
        case 9: service.pipe_bytes = std::size_t{4096} << random_.below(8); break;
        case 10: service.max_connections = random_.one_in(2) ? 0 : (crowded_ ? few() : 50); break;
        default: break_up_or_join(services, service); break;
        }
    }

    void open_or_close_a_port(std::vector<eplb::ServiceConfig>& services,
                              eplb::ServiceConfig& service) {
        const eplb::Address port = listener_on(steady_ports);
        const auto owner =
            std::ranges::find_if(services, [&](const auto& each) { return has(each, port); });
        if (owner == services.end()) {
            service.listen.insert(service.listen.begin(), port);
        } else if (owner->listen.size() > 1) {
            std::erase(owner->listen, port);
        }
    }

    void change_backends(eplb::ServiceConfig& service) {
        const auto number = static_cast<std::uint32_t>(random_.below(backend_count));
        const eplb::Address address = eplb::Address::parse(to_text(backend_place(number)));
        const auto found =
            std::ranges::find(service.backends, address, &eplb::BackendConfig::address);
        if (found == service.backends.end()) {
            add_backend(service, number);
        } else if (service.backends.size() > 1) {
            service.backends.erase(found);
        }
    }

    void break_up_or_join(std::vector<eplb::ServiceConfig>& services,
                          eplb::ServiceConfig& service) {
        if (service.listen.size() > 1) {
            eplb::ServiceConfig part = service;
            part.name = "service-" + std::to_string(++names_);
            part.listen = {service.listen.back()};
            service.listen.pop_back();
            services.push_back(std::move(part));
        } else if (services.size() > 1) {
            const std::vector<eplb::Address> ports = service.listen;
            services.erase(services.begin() + (&service - services.data()));
            auto& heir = any_of(services).listen;
            heir.insert(heir.begin(), ports.begin(), ports.end());
        }
    }

    // --- what goes on

    Dialled answer() {
        Dialled dialled;
        dialled.delay = scaled(random_.one_in(2) ? 0 : random_.magnitude(50), 1ms);
        dialled.kind =
            random_.one_in(4) ? Dialled::Kind::accepted_at_once : Dialled::Kind::accepted;
        dialled.on_accept = [this](Endpoint& remote) {
            Script script{.bytes = random_.magnitude(20'000)};
            if (random_.one_in(2)) script = {.echo = true};
            population_->add(script, "backend").start(remote);
        };
        return dialled;
    }

    void add_client(Duration delay) {
        const Link link = random_link(random_);
        Script script{.bytes = random_.magnitude(20'000)};
        if (random_.one_in(3)) script.end_delay = scaled(random_.magnitude(2'000), 1ms);
        const auto port = static_cast<std::size_t>(random_.below(port_count));
        // It arrives just when something happens there.
        delay = std::max(delay - link.latency, Duration{0});
        Peer& peer = population_->add_client(script, static_cast<std::uint16_t>(first_port + port),
                                             link, delay);
        clients_.push_back({&peer, port, kernel_->now() + delay});
    }

    void live(eplb::Reactor& reactor, eplb::Proxy& proxy) {
        Driver driver{*kernel_, reactor};
        std::size_t due = 0;
        std::size_t to_come = random_.between(2, 6);
        Duration when{0};
        for (std::size_t i = 0; i < to_come; ++i) {
            when += scaled(random_.magnitude(800), 1ms);
            kernel_->after(when, [&] {
                ++due;
                kernel_->interrupt();
            });
            for (std::uint64_t n = random_.between(2, 8); n > 0; --n) add_client(when);
        }
        for (std::uint64_t n = random_.between(1, 6); n > 0; --n)
            add_client(scaled(random_.magnitude(2'000), 1ms));

        const auto quiet = [&] { return population_->over() && proxy.active_sessions() == 0; };
        const auto done = [&] {
            if (due > 0 && !applying_) {
                --due;
                --to_come;
                reload(proxy);
            }
            return to_come == 0 && !applying_ && quiet();
        };
        if (!drive(driver, verdict_, done)) return;
        const TimePoint end = kernel_->now() + 5s;
        kernel_->at(end, [this] { kernel_->interrupt(); });
        if (!drive(driver, verdict_, [&] { return kernel_->now() >= end && quiet(); })) return;
        check_rest(proxy);
        check_sessions();
        check_clients();
        population_->check_integrity(verdict_.problems);
        for (Peer& peer : population_->all()) verdict_.bytes += peer.received();
        verdict_.sessions = witness_.ended.size();
        if (verdict_.problems.empty()) leave(driver, proxy);
    }

    void reload(eplb::Proxy& proxy) {
        eplb::Config changed = config_;
        for (std::uint64_t n = random_.between(1, 4); n > 0; --n) edit(changed);
        const TimePoint begin = kernel_->now();
        try {
            applying_ = true;
            proxy.apply(changed, [this] {
                generations_[generations_.size() - 2].to = kernel_->now();
                applying_ = false;
            });
        } catch (const std::system_error&) {
            applying_ = false;  // short of descriptors, and nothing has changed
            if (!short_) complain("a configuration was refused");
            return;
        }
        config_ = std::move(changed);
        generations_.push_back({config_, begin, TimePoint::max()});
    }

    // In the middle of a rollout, more often than not.
    void leave(Driver& driver, eplb::Proxy& proxy) {
        const std::uint64_t how = random_.below(4);
        for (std::uint64_t n = random_.between(0, 6); n > 0; --n) add_client(0s);
        if (how > 0) reload(proxy);
        for (int i = 1; i <= 20; ++i) kernel_->after(i * 10ms, [this] { kernel_->interrupt(); });
        std::uint64_t turns = random_.below(12);
        if (!drive(driver, verdict_, [&] { return turns-- == 0; })) return;
        if (how == 1) return;  // it is destroyed as it is
        bool drained = false;
        proxy.drain(how == 2 ? 0s : 1s, [&](std::size_t) { drained = true; });
        if (!drive(driver, verdict_, [&] { return drained && population_->over(); })) return;
        if (proxy.active_sessions() != 0) complain("sessions are left behind a drain");
        if (proxy.stats().accepted != witness_.ended.size())
            complain("a session without an end, behind a drain");
    }

    // --- what has to be true

    void check_rest(const eplb::Proxy& proxy) {
        const eplb::ProxyStats stats = proxy.stats();
        if (stats.accepted != witness_.ended.size()) complain("a session without an end");
        if (stats.pipes.lent != 0) complain("a pipe was not given back");
        if (kernel_->bytes_in_pipes() != 0) complain("an idle pipe is not empty");
        if (kernel_->open_pipes() != stats.pipes.open) complain("pipes miscounted");
        std::size_t listeners = 0;
        for (const eplb::ServiceConfig& service : config_.services)
            listeners += service.listen.size();
        check_descriptors(
            *kernel_, baseline_ + 2 * (workers_ - 1) + listeners * workers_ + 2 * stats.pipes.open,
            "at rest", verdict_);
    }

    static bool has(const eplb::ServiceConfig& service, const eplb::Address& listener) {
        return std::ranges::find(service.listen, listener) != service.listen.end();
    }
    /// Whether sessions of `service`, as it was in `generation`, end as those of `name`: it is called
    /// that, or was renamed since, maybe more than once.
    bool is_or_was(const eplb::ServiceConfig& service, const Generation& generation,
                   const std::string& name) const {
        const auto& services = generation.config.services;
        auto place = static_cast<std::size_t>(&service - services.data());
        if (service.name == name) return true;
        const Generation* before = &generation;
        for (const Generation* next = before + 1; next != generations_.data() + generations_.size();
             before = next++) {
            const auto& now = next->config.services;
            const std::vector<std::size_t> old = eplb::match_services(before->config.services, now);
            const auto heir = std::ranges::find(old, place);
            if (heir == old.end()) return false;
            place = static_cast<std::size_t>(heir - old.begin());
            if (now[place].name == name) return true;
        }
        return false;
    }
    static bool has_backend(const eplb::ServiceConfig& service, const eplb::Address& address) {
        return std::ranges::find(service.backends, address, &eplb::BackendConfig::address) !=
               service.backends.end();
    }

    void check_sessions() {
        std::map<std::string, const Client*> clients;
        for (const Client& client : clients_) {
            if (client.peer->endpoint() != nullptr)
                clients[to_text(client.peer->endpoint()->local())] = &client;
        }
        for (const Witness::Session& session : witness_.ended) {
            const Client* const client = clients[session.client];
            if (client == nullptr) {
                complain("a session of nobody: " + session.client);
                continue;
            }
            check_session(session, *client);
        }
    }

    void check_session(const Witness::Session& session, const Client& client) {
        const std::string told = client.peer->name() + " (port " + std::to_string(client.port) +
                                 ") was served by " + session.service + ", and its end is " +
                                 std::string{to_string(session.reason)};
        if (session.reason != eplb::EndReason::client_fin &&
            session.reason != eplb::EndReason::server_fin &&
            (strict_ || session.reason != eplb::EndReason::removed)) {
            return complain(told);
        }
        if (session.listener != listener_on(client.port)) complain(told + ": of another listener");
        // By whom it may have been served, between its coming and its backend's answer. A service that
        // the listener has left may have other backends by then.
        bool right_service = false;
        bool right_backend = !session.backend;
        for (const Generation& generation : generations_) {
            if (generation.from > session.started || generation.to < client.dialled) continue;
            for (const eplb::ServiceConfig& service : generation.config.services) {
                const bool owns = has(service, session.listener);
                const bool is_it = is_or_was(service, generation, session.service);
                right_service = right_service || (owns && is_it);
                right_backend =
                    right_backend || ((owns || is_it) && has_backend(service, *session.backend));
            }
        }
        if (!right_service) complain(told + ": of another service");
        if (!right_backend) complain(told + ": by a backend of another service");
    }

    // Whoever comes to a port that is always there is served to the last byte.
    void check_clients() {
        for (const Client& client : clients_) {
            const Peer& peer = *client.peer;
            const bool whole = peer.saw_end() && peer.error() == 0;
            if (strict_ && client.port < steady_ports && !whole)
                complain(peer.name() + " was not served");
        }
        if (strict_) population_->check_completeness(verdict_.problems);
    }

    std::uint64_t seed_;
    Random random_;
    // Of its own: the rest of a seed's world does not depend on it.
    Random limits_{Random::mix(seed_ ^ 0xc40'3dedU)};
    Verdict verdict_;
    std::size_t workers_ = 1;
    bool strict_ = true;
    bool short_ = false;
    bool crowded_ = false;
    Faults shortages_;
    Witness witness_;
    std::optional<Kernel> kernel_;
    std::optional<Population> population_;
    std::size_t baseline_ = 0;
    std::uint64_t names_ = 0;
    eplb::Config config_;
    std::vector<Generation> generations_;
    bool applying_ = false;
    std::deque<Client> clients_;
};

}  // namespace

Verdict run_reload_world(std::uint64_t seed) { return ReloadWorld{seed}.run(); }

}  // namespace sim
