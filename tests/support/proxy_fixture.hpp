#pragma once

#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/recording_observer.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace eplb::test {

inline const Address any_port = Address::parse("127.0.0.1:0");

/// One service on any port, with these backends.
[[nodiscard]] inline Config config_for(const std::vector<Address>& backends) {
    Config config;
    ServiceConfig service;
    service.listen = {any_port};
    for (const Address& address : backends) {
        BackendConfig backend;
        backend.address = address;
        service.backends.push_back(backend);
    }
    config.services = {service};
    return config;
}

/// A proxy on a reactor with a fake clock, its backends and its clients, all on one thread.
class ProxyFixture {
public:
    explicit ProxyFixture(std::size_t backend_count = 1, const Script& script = {}) {
        for (std::size_t i = 0; i < backend_count; ++i) {
            backends.push_back(std::make_unique<ScriptedBackend>(script));
            loop.add(*backends.back());
        }
    }
    ~ProxyFixture() { proxy.reset(); }
    ProxyFixture(const ProxyFixture&) = delete;
    ProxyFixture& operator=(const ProxyFixture&) = delete;

    [[nodiscard]] Config config() const {
        std::vector<Address> addresses;
        for (const auto& backend : backends) addresses.push_back(backend->address());
        return config_for(addresses);
    }
    void start() { start(config()); }
    void start(const Config& with) {
        proxy = std::make_unique<Proxy>(reactor, with, observer);
        address = proxy->listen_addresses().at(0);
    }

    /// A client whose connection the kernel has made; the proxy may not know of it yet.
    Peer& connect() { return connect_to(address); }
    Peer& connect_to(const Address& to) {
        Fd socket = test::connect_to(to);
        REQUIRE(socket.valid());
        Peer& client = clients.emplace_back(std::move(socket));
        loop.add(client);
        return client;
    }
    /// A client that has been relayed to a backend.
    Peer& connect_through() {
        const std::size_t before = observer.starts.size();
        Peer& client = connect();
        REQUIRE(loop.until([&] { return observer.starts.size() > before; }));
        REQUIRE(loop.settle());
        return client;
    }
    [[nodiscard]] bool until_ended(std::size_t count) {
        return loop.until([&] { return observer.ends.size() >= count; });
    }

    ManualClock clock;
    Reactor reactor{clock};
    RecordingObserver observer;
    Loop loop{reactor};
    std::vector<std::unique_ptr<ScriptedBackend>> backends;
    std::deque<Peer> clients;
    std::unique_ptr<Proxy> proxy;
    Address address;
};

}  // namespace eplb::test
