// A balancing policy of one's own: the first backend is for clients on a loopback address, as long as it
// works; all others share the rest.
//     custom_balancer HERE LOCAL OTHER...

#include "eplb/balancer.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"

#include <exception>
#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>

namespace {

using namespace eplb;

class LocalFirst final : public Balancer {
public:
    // Whenever the set of backends, or a weight, has changed. All that may take clients at all.
    void prepare(std::span<const Backend* const> backends) override { turns_.prepare(backends); }

    // For each client. Those that are down, full, or were tried for it are not among `candidates`.
    const Backend* pick(const Candidates& candidates,
                        const PickContext& context) noexcept override {
        const std::span<const Backend* const> all = candidates.all();
        const bool local_works = all.front()->index() == 0;  // its place; no apply() changes it
        if (local_works && (context.client.is_loopback() || all.size() == 1)) return all.front();
        return turns_.next(local_works ? all.subspan(1) : all);
    }

private:
    RoundRobin turns_;
};

class Log final : public ProxyObserver {
    void on_event(LogLevel, std::string_view message) noexcept override {
        std::cout << message << std::endl;
    }
    void on_session_start(const SessionStart& start) noexcept override {
        std::cout << start.client.to_string() << " gets " << start.backend.name() << std::endl;
    }
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 3) throw std::invalid_argument{"usage: custom_balancer HERE LOCAL OTHER..."};
    Config config;
    ServiceConfig& service = config.services.emplace_back();
    service.listen = {Address::parse(argv[1])};
    for (int i = 2; i < argc; ++i)
        service.backends.push_back({.address = Address::parse(argv[i]), .name = argv[i]});
    service.make_balancer = [] { return std::make_unique<LocalFirst>(); };

    Reactor reactor;
    const SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&](int) { reactor.stop(); }};
    Log log;
    const Proxy proxy{reactor, config, log};
    std::cout << "balancing " << proxy.listen_addresses()[0].to_string() << std::endl;
    reactor.run();
} catch (const std::exception& error) {
    std::cerr << "custom_balancer: " << error.what() << '\n';
    return 1;
}
