// A program with a loop of its own, here around poll(2), in which eplb does its part: it forwards a
// port, while the program goes on beating. GLib, libuv and asio: docs/embedding.md.
//     nested_in_host_loop HERE THERE [BEATS]

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace eplb;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

class Log final : public ProxyObserver {
    void on_event(LogLevel, std::string_view message) noexcept override {
        std::cout << message << std::endl;
    }
    void on_session_end(const SessionSummary& session) noexcept override {
        std::cout << "session: " << session.bytes_down << " bytes down" << std::endl;
    }
};

int to_milliseconds(Duration time) {  // rounded up, or the last one would be a busy loop
    return time < 0ns
               ? -1
               : static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(time).count());
}

void host_loop(Reactor& reactor, int beats) {
    steady_clock::time_point next_beat = steady_clock::now();
    while (beats > 0) {
        // 1. Sleep until the host or the reactor has something to do. The descriptor is readable
        //    when there are events for the reactor; its timers are in wait_time().
        Duration sleep = std::max<Duration>(next_beat - steady_clock::now(), 0ns);
        if (reactor.wait_time() >= 0ns) sleep = std::min(sleep, reactor.wait_time());
        pollfd events{.fd = reactor.fd(), .events = POLLIN, .revents = 0};
        ::poll(&events, 1, to_milliseconds(sleep));
        // 2. A turn of the reactor, which does not wait.
        reactor.run_once(0ns);
        // 3. The host's own work.
        if (steady_clock::now() < next_beat) continue;
        next_beat += 100ms;
        std::cout << "beat " << --beats << std::endl;
    }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3 && argc != 4)
        throw std::invalid_argument{"usage: nested_in_host_loop HERE THERE [BEATS]"};
    Reactor reactor;
    Log log;
    Config config;
    config.services.resize(1);
    config.services[0].listen = {Address::parse(argv[1])};
    config.services[0].backends = {{.address = Address::parse(argv[2])}};
    const Proxy proxy{reactor, config, log};
    std::cout << "forwarding " << proxy.listen_addresses()[0].to_string() << std::endl;
    host_loop(reactor, argc == 4 ? std::stoi(argv[3]) : 50);
} catch (const std::exception& error) {
    std::cerr << "nested_in_host_loop: " << error.what() << '\n';
    return 1;
}
