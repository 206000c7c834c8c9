// A whole balancer inside a program, which changes its backends while it runs: one for every two
// sessions, of those given. Sessions of one that is taken out have 30 s to finish.
//     embedded_proxy HERE BACKEND...

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace {

using namespace eplb;

class Log final : public ProxyObserver {
    void on_event(LogLevel, std::string_view message) noexcept override {
        std::cout << message << std::endl;
    }
};

class Scaler final : public Task {
public:
    Scaler(Reactor& reactor, Proxy& proxy, const std::vector<BackendConfig>& pool)
        : proxy_{proxy}, pool_{pool}, timer_{reactor, *this} {
        timer_.start(interval);
    }

    Next run() override {
        if (!timer_.take_fired()) return Next::wait;
        timer_.start(interval);
        const std::size_t wanted = std::max<std::size_t>((proxy_.active_sessions() + 1) / 2, 1);
        Config config = proxy_.config();  // a copy: what stays the same keeps its sessions
        auto& backends = config.services[0].backends;
        if (backends.size() == std::min(wanted, pool_.size())) return Next::wait;
        backends = pool_;
        if (wanted < pool_.size()) backends.resize(wanted);
        timer_.cancel();  // one change after the other
        proxy_.apply(config, [this, count = backends.size()] {
            std::cout << "backends: " << count << std::endl;
            timer_.start(interval);
        });
        return Next::wait;
    }

private:
    static constexpr Duration interval = std::chrono::milliseconds{50};
    Proxy& proxy_;
    std::vector<BackendConfig> pool_;
    Timer timer_;
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 3) throw std::invalid_argument{"usage: embedded_proxy HERE BACKEND..."};
    std::vector<BackendConfig> pool;
    for (int i = 2; i < argc; ++i) pool.push_back({Address::parse(argv[i]), argv[i]});
    Config config;
    config.services.resize(1);
    config.services[0].listen = {Address::parse(argv[1])};
    config.services[0].backends = {pool.front()};

    Reactor reactor;
    const SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&](int) { reactor.stop(); }};
    Log log;
    Proxy proxy{reactor, config, log};
    std::cout << "balancing " << proxy.listen_addresses()[0].to_string() << std::endl;
    Scaler scaler{reactor, proxy, pool};
    reactor.run();
} catch (const std::exception& error) {
    std::cerr << "embedded_proxy: " << error.what() << '\n';
    return 1;
}
