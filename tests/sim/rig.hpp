#pragma once

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/relay.hpp"
#include "sim/driver.hpp"
#include "sim/population.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sim {

/// Relays between scripted peers, for directed tests.
class RelayRig {
public:
    struct Joined {
        Peer* client = nullptr;
        Peer* server = nullptr;
        bool over = false;
        eplb::RelayResult result;
        std::unique_ptr<eplb::Relay> relay;
    };

    explicit RelayRig(KernelOptions options = {}, eplb::RelayContext::Options context_options = {},
                      eplb::RelayTimeouts relay_timeouts = {eplb::Duration{0}, eplb::Duration{0}})
        : kernel{std::move(options)},
          population{kernel},
          reactor{kernel.clock()},
          context{std::move(context_options)},
          driver{kernel, reactor},
          timeouts{relay_timeouts},
          baseline{kernel.open_descriptors()} {
        kernel.options().short_waits = true;
    }

    Joined& join(const Script& client, const Script& server) {
        const Link& link = kernel.options().link;
        return join(client, server, link, link);
    }
    Joined& join(const Script& client, const Script& server, const Link& client_link,
                 const Link& server_link) {
        joined.push_back(std::make_unique<Joined>());
        Joined& made = *joined.back();
        const auto up = kernel.connected_pair(client_link);
        const auto down = kernel.connected_pair(server_link);
        made.client = &population.add(client, "client");
        made.server = &population.add(server, "server");
        made.client->start(*up.remote);
        made.server->start(*down.remote);
        made.relay =
            std::make_unique<eplb::Relay>(reactor, context, eplb::Fd{up.fd}, eplb::Fd{down.fd},
                                          timeouts, [&made](const eplb::RelayResult& result) {
                                              made.over = true;
                                              made.result = result;
                                          });
        return made;
    }

    [[nodiscard]] bool all_over() const {
        return population.over() && std::all_of(joined.begin(), joined.end(),
                                                [](const auto& each) { return each->over; });
    }
    /// Everybody is gone, and nothing is left of it.
    [[nodiscard]] std::string check_rest() {
        Problems problems;
        if (!driver.failure().empty()) problems.push_back(driver.failure());
        population.check_integrity(problems);
        const eplb::PipePool::Stats stats = context.pipes().stats();
        if (stats.lent != 0) problems.emplace_back("a pipe was not given back");
        if (kernel.bytes_in_pipes() != 0) problems.emplace_back("an idle pipe is not empty");
        if (kernel.open_descriptors() != baseline + 2 * stats.open) {
            problems.push_back("open: " + kernel.describe_open());
        }
        return join_text(problems);
    }
    [[nodiscard]] static std::string join_text(const Problems& problems) {
        std::string text;
        for (const std::string& problem : problems) text += problem + '\n';
        return text;
    }

    Kernel kernel;
    Population population;
    eplb::Reactor reactor;
    eplb::RelayContext context;
    Driver driver;
    eplb::RelayTimeouts timeouts;
    std::size_t baseline;
    std::vector<std::unique_ptr<Joined>> joined;
};

/// A proxy on port 5555 with backends 10.0.1.1:80, 10.0.1.2:80 and so on, for directed tests.
class ProxyRig {
public:
    static constexpr std::uint16_t port = 5555;

    explicit ProxyRig(KernelOptions options = {})
        : kernel{std::move(options)},
          population{kernel},
          reactor{kernel.clock()},
          driver{kernel, reactor} {
        kernel.options().short_waits = true;
        service.listen.push_back(eplb::Address::parse("127.0.0.1:5555"));
        service.connect_timeout = std::chrono::seconds{1};
        service.half_close_timeout = eplb::Duration{0};
        config.max_connections = 100;
    }

    /// A backend that does what `answer` says, and `script` if it accepts. Before open().
    void add_backend(const Dialled& answer, const Script& script = {},
                     std::uint16_t backend_port = 80) {
        const auto number = static_cast<std::uint32_t>(service.backends.size() + 1);
        const Place place{0x0a000100U + number, backend_port};
        service.backends.push_back({eplb::Address::parse(to_text(place)), "", 1});
        kernel.serve(place, [this, answer, script] {
            Dialled dialled = answer;
            ++attempts;
            dialled.on_accept = [this, script](Endpoint& remote) {
                backends.push_back(&population.add(script, "backend"));
                if (on_accepted) on_accepted();
                backends.back()->start(remote);
            };
            return dialled;
        });
    }

    void open() {
        config.services.push_back(service);
        proxy = std::make_unique<eplb::Proxy>(reactor, config, recorder);
        baseline = kernel.open_descriptors();
    }

    Peer& add_client(const Script& script, eplb::Duration delay = eplb::Duration{0}) {
        return population.add_client(script, port, kernel.options().link, delay);
    }

    [[nodiscard]] bool over() const {
        return population.over() && proxy->active_sessions() == 0 &&
               recorder.count == proxy->stats().accepted && recorder.count > 0;
    }
    [[nodiscard]] std::string check_rest() {
        Problems problems;
        if (!driver.failure().empty()) problems.push_back(driver.failure());
        population.check_integrity(problems);
        const eplb::PipePool::Stats stats = proxy->stats().pipes;
        if (stats.lent != 0) problems.emplace_back("a pipe was not given back");
        if (kernel.bytes_in_pipes() != 0) problems.emplace_back("an idle pipe is not empty");
        if (kernel.open_descriptors() != baseline + 2 * stats.open) {
            problems.push_back("open: " + kernel.describe_open());
        }
        return RelayRig::join_text(problems);
    }

    Kernel kernel;
    Population population;
    eplb::Reactor reactor;
    Driver driver;
    Recorder recorder;
    eplb::Config config;
    eplb::ServiceConfig service;
    std::unique_ptr<eplb::Proxy> proxy;
    std::vector<Peer*> backends;
    std::function<void()> on_accepted;
    std::size_t attempts = 0;
    std::size_t baseline = 0;
};

}  // namespace sim
