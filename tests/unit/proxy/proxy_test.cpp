#include "eplb/proxy.hpp"

#include "eplb/reactor.hpp"
#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"
#include "support/proxy_fixture.hpp"
#include "support/recording_observer.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <netinet/tcp.h>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::BackendConfig;
using eplb::Config;
using eplb::Duration;
using eplb::EndReason;
using eplb::Fd;
using eplb::LogLevel;
using eplb::ManualClock;
using eplb::Proxy;
using eplb::Reactor;
using eplb::RelayMode;
using eplb::ServiceConfig;
using eplb::test::any_port;
using eplb::test::config_for;
using eplb::test::contains;
using eplb::test::Loop;
using eplb::test::pattern;
using eplb::test::Peer;
using eplb::test::RecordingObserver;
using eplb::test::RefusingPort;
using eplb::test::Script;
using eplb::test::ScriptedBackend;

namespace {

using Fixture = eplb::test::ProxyFixture;
using Attempts = std::vector<std::pair<Address, int>>;

// The descriptor, in this process, of a socket that is connected to `peer`; or -1.
int socket_connected_to(const Address& peer) {
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
        const int fd = std::stoi(entry.path().filename().string());
        sockaddr_storage raw{};
        socklen_t length = sizeof raw;
        if (::getpeername(fd, reinterpret_cast<sockaddr*>(&raw), &length) == 0 &&
            Address::from(raw, length) == peer) {
            return fd;
        }
    }
    return -1;
}

// A listener whose backlog is full: connecting to it neither succeeds nor fails.
class UnansweringPort {
public:
    UnansweringPort()
        : listener_{eplb::test::listener(0)}, address{eplb::test::address_of(listener_)} {
        // The kernel completes one more than the backlog, and ignores further SYNs.
        for (int i = 0; i < 4; ++i) fillers_.push_back(eplb::test::connect_to(address));
    }

private:
    Fd listener_;
    std::vector<Fd> fillers_;

public:
    Address address;
};

}  // namespace

// --- the way there and back

TEST_CASE("proxy: relays a client to its backend and back", "[proxy][proxy_whole]") {
    const RelayMode mode = GENERATE(RelayMode::automatic, RelayMode::splice, RelayMode::copy);
    CAPTURE(mode);
    Fixture f{1, {.echo = true, .finish_with_peer = true}};
    Config config = f.config();
    config.services[0].relay = mode;
    f.start(config);
    Peer& client = f.connect();
    client.send(pattern(500'000));
    client.half_close();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.received() == pattern(500'000));
    CHECK(client.finished());

    REQUIRE(f.until_ended(1));
    const RecordingObserver::End& end = f.observer.ends[0];
    CHECK(end.client == eplb::test::address_of(client.socket()));
    CHECK(end.listener == f.address);
    CHECK(end.backend == f.backends[0]->address().to_string());
    CHECK(end.bytes_up == 500'000);
    CHECK(end.bytes_down == 500'000);
    CHECK(end.reason == EndReason::client_fin);
    CHECK(end.error == 0);
    CHECK(end.failed_attempts.empty());
    CHECK(f.proxy->active_sessions() == 0);
    CHECK(f.proxy->stats().accepted == 1);
    CHECK(f.proxy->stats().pipes.lent == 0);
}

TEST_CASE("proxy: a server that speaks first is heard at once", "[proxy][proxy_whole]") {
    Fixture f{1, {.greeting = "220 welcome"}};
    f.start();
    Peer& client = f.connect();
    REQUIRE(f.loop.until([&] { return !client.received().empty(); }));
    CHECK(client.received() == "220 welcome");
}

TEST_CASE("proxy: clients go to the backends in turn", "[proxy][proxy_whole]") {
    Fixture f{2};
    f.start();
    for (int i = 0; i < 6; ++i) f.connect_through();
    CHECK(f.backends[0]->connections() == 3);
    CHECK(f.backends[1]->connections() == 3);
    CHECK(f.proxy->active_sessions() == 6);
    std::vector<Address> order;
    for (const auto& start : f.observer.starts) order.push_back(start.backend);
    const Address a = f.backends[0]->address();
    const Address b = f.backends[1]->address();
    CHECK(order == std::vector{a, b, a, b, a, b});
}

TEST_CASE("proxy: weights decide on the share, and zero takes nobody", "[proxy][proxy_whole]") {
    Fixture f{3};
    Config config = f.config();
    config.services[0].backends[0].weight = 3;
    config.services[0].backends[1].weight = 0;
    f.start(config);
    for (int i = 0; i < 8; ++i) f.connect_through();
    CHECK(f.backends[0]->connections() == 6);
    CHECK(f.backends[1]->connections() == 0);
    CHECK(f.backends[2]->connections() == 2);
}

TEST_CASE("proxy: each service has its own listeners and backends", "[proxy][proxy_whole]") {
    Fixture f{2};
    Config config = config_for({f.backends[0]->address()});
    config.services.push_back(config_for({f.backends[1]->address()}).services[0]);
    config.services[1].name = "other";
    config.services[1].listen.push_back(any_port);
    f.start(config);
    const std::vector<Address> listeners = f.proxy->listen_addresses();
    REQUIRE(listeners.size() == 3);
    f.connect_to(listeners[2]);
    f.connect_to(listeners[1]);
    REQUIRE(f.loop.until([&] { return f.backends[1]->connections() == 2; }));
    f.connect_to(listeners[0]);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 3; }));
    CHECK(f.backends[0]->connections() == 1);
    CHECK(f.observer.starts.back().listener == listeners[0]);
}

TEST_CASE("proxy: listen_addresses tells the ports that the kernel chose", "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.services[0].listen = {any_port, any_port};
    f.start(config);
    const std::vector<Address> addresses = f.proxy->listen_addresses();
    REQUIRE(addresses.size() == 2);
    CHECK(addresses[0].port() != 0);
    CHECK(addresses[1].port() != 0);
    CHECK_FALSE(addresses[0] == addresses[1]);
}

TEST_CASE("proxy: works from Unix socket to Unix socket, and removes its path",
          "[proxy][proxy_whole]") {
    const std::string base =
        (std::filesystem::temp_directory_path() / ("eplb-unit-proxy-" + std::to_string(::getpid())))
            .string();
    const Address front = Address::parse("unix:" + base + ".sock");
    const Address back = Address::parse("unix:@eplb-unit-proxy-" + std::to_string(::getpid()));
    const Fd backend{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    sockaddr_storage raw{};
    const socklen_t length = back.to_sockaddr(raw);
    REQUIRE(::bind(backend.get(), reinterpret_cast<const sockaddr*>(&raw), length) == 0);
    REQUIRE(::listen(backend.get(), 5) == 0);

    Fixture f{0};
    Config config = config_for({back});
    config.services[0].listen = {front};
    f.start(config);
    CHECK(std::filesystem::exists(front.path()));
    Peer& client = f.connect();
    client.send("over Unix");
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 1; }));
    Peer server{eplb::test::accept_one(backend)};
    f.loop.add(server);
    REQUIRE(f.loop.until([&] { return server.received() == "over Unix"; }));
    f.proxy.reset();
    CHECK_FALSE(std::filesystem::exists(front.path()));
    CHECK(f.observer.ends.at(0).client == Address{});
    f.loop.remove(server);
}

// --- backends that do not answer

TEST_CASE("proxy: a backend that refuses is passed over for the next", "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    const RefusingPort dead;
    f.start(config_for({dead.address, f.backends[0]->address()}));
    for (std::size_t i = 0; i < 4; ++i) {
        Peer& client = f.connect();
        client.send("hello");
        REQUIRE(f.loop.until([&] { return client.received() == "hello"; }));
        client.reset();
        REQUIRE(f.until_ended(i + 1));
    }
    // In turn, the dead one comes first for half of them.
    const Attempts failed{{dead.address, ECONNREFUSED}};
    CHECK(f.observer.ends[0].failed_attempts == failed);
    CHECK(std::count_if(f.observer.ends.begin(), f.observer.ends.end(),
                        [](const auto& end) { return end.failed_attempts.size() == 1; }) == 2);
    for (const auto& end : f.observer.ends) {
        CHECK(end.backend == f.backends[0]->address().to_string());
    }
}

TEST_CASE("proxy: when all refuse, the client is reset and the summary lists the attempts",
          "[proxy][proxy_whole]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f{0};
        const RefusingPort a;
        const RefusingPort b;
        f.start(config_for({a.address, b.address}));
        Peer& client = f.connect();
        client.send("anybody?");
        REQUIRE(f.loop.until([&] { return client.over(); }));
        CHECK(client.was_reset());
        REQUIRE(f.until_ended(1));
        const RecordingObserver::End& end = f.observer.ends[0];
        CHECK(end.backend.empty());
        CHECK(end.reason == EndReason::connect_refused);
        CHECK(end.error == ECONNREFUSED);
        CHECK(end.failed_attempts ==
              Attempts{{a.address, ECONNREFUSED}, {b.address, ECONNREFUSED}});
        CHECK(end.bytes_up == 0);
        CHECK(f.proxy->active_sessions() == 0);
        CHECK(f.observer.starts.empty());
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: a backend that comes back is used by the next client", "[proxy][proxy_whole]") {
    Fixture f{0};
    RefusingPort port;
    f.start(config_for({port.address}));
    Peer& unlucky = f.connect();
    REQUIRE(f.loop.until([&] { return unlucky.over(); }));
    REQUIRE(::listen(port.socket.get(), 5) == 0);
    f.connect_through();
    CHECK(f.observer.starts.size() == 1);
}

TEST_CASE("proxy: a Unix backend that is not there refuses too", "[proxy][proxy_whole]") {
    Fixture f{0};
    const Address gone = Address::parse("unix:/nonexistent/eplb.sock");
    f.start(config_for({gone}));
    Peer& client = f.connect();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.was_reset());
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::connect_refused);
    CHECK(f.observer.ends[0].failed_attempts == Attempts{{gone, ENOENT}});
}

TEST_CASE("proxy: an option that the kernel refuses is no fault of the backend, whatever its errno",
          "[proxy][proxy_whole]") {
    Fixture f{1};
    Config config = f.config();
    config.services[0].listen = {Address::parse("unix:@eplb-proxy-option")};  // has none of them
    config.services[0].eject_after = 1;
    config.services[0].max_ejected_percent = 100;
    std::string option;
    int error = 0;
    SECTION("a congestion control that is not there") {
        config.services[0].socket.congestion = option = "nosuch";
        option = "congestion";
        error = ENOENT;
    }
    SECTION("a source that is not ours") {
        config.services[0].sources = {Address::parse("192.0.2.1:0")};
        option = "source";
        error = EADDRNOTAVAIL;
    }
    f.start(config);
    f.observer.on_end = [&](const eplb::SessionSummary& summary) {
        CHECK(summary.problem == option);
        REQUIRE(summary.failed_attempts.size() == 1);
        CHECK(summary.failed_attempts[0].option == option);
    };
    Peer& client = f.connect();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::local_error);
    CHECK(f.observer.ends[0].error == error);
    const auto backends = f.proxy->backends();
    CHECK(backends[0].failures == 0);
    CHECK_FALSE(backends[0].ejected);
}

TEST_CASE("proxy: a backend that does not answer in time is passed over for the next",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    const UnansweringPort silent;
    Config config = config_for({silent.address, f.backends[0]->address()});
    config.services[0].connect_timeout = 5s;
    f.start(config);
    Peer& client = f.connect();
    client.send("hello");
    REQUIRE(f.loop.settle());
    f.clock.advance(5s - 1ms);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.starts.empty());
    f.clock.advance(1ms);
    REQUIRE(f.loop.until([&] { return client.received() == "hello"; }));
    client.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].failed_attempts == Attempts{{silent.address, ETIMEDOUT}});
    CHECK(f.observer.ends[0].connect_time == 5s);
}

TEST_CASE("proxy: nobody is tried any more once twice the connect timeout has gone by",
          "[proxy][proxy_whole]") {
    Fixture f{1};
    const UnansweringPort a;
    const UnansweringPort b;
    Config config = config_for({a.address, b.address, f.backends[0]->address()});
    config.services[0].connect_timeout = 5s;
    f.start(config);
    Peer& client = f.connect();
    REQUIRE(f.loop.settle());
    f.clock.advance(5s);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(client.over());
    f.clock.advance(5s);
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.was_reset());
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::connect_timeout);
    CHECK(f.observer.ends[0].failed_attempts.size() == 2);
    CHECK(f.backends[0]->connections() == 0);
}

TEST_CASE("proxy: with the longest connect timeout the next backend is tried as well",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    const RefusingPort dead;
    Config config = config_for({dead.address, f.backends[0]->address()});
    config.services[0].connect_timeout = Duration::max();
    f.start(config);
    Peer& client = f.connect();
    client.send("hello");
    REQUIRE(f.loop.until([&] { return client.over() || client.received() == "hello"; }));
    CHECK_FALSE(client.over());
}

TEST_CASE("proxy: every duration of a service may be the longest there is",
          "[proxy][proxy_whole]") {
    Fixture f{2, {.echo = true, .finish_with_peer = true}};
    const UnansweringPort silent;
    Config config = f.config();
    eplb::ServiceConfig& service = config.services[0];
    service.backends.push_back({silent.address, "silent"});
    service.backends[2].backup = true;
    for (Duration* const duration :
         {&service.connect_timeout, &service.idle_timeout, &service.half_close_timeout,
          &service.max_lifetime, &service.dead_peer_timeout, &service.queue_timeout,
          &service.ejection_time, &service.max_ejection_time, &service.slow_start,
          &service.rebalance_idle, &service.drain_timeout, &service.connection_rate.period,
          &service.connection_rate_per_source.period, &service.check.interval,
          &service.check.timeout, &service.check.fast_interval, &service.socket.keepalive.idle,
          &service.socket.keepalive.interval})
        *duration = Duration::max();
    service.rebalance = eplb::Rebalance::idle;
    service.check.type = eplb::CheckConfig::Type::tcp;
    service.connection_rate.count = service.connection_rate_per_source.count = 1000;
    service.backends[0].max_connections = service.backends[1].max_connections = 1;
    f.start(config);
    Peer& first = f.connect_through();
    f.connect_through();
    Peer& waits = f.connect();
    waits.send("hello");
    REQUIRE(f.loop.settle());
    const std::string name = f.backends[0]->address().to_string();
    CHECK(f.proxy->set_backend("default", name, eplb::Backend::Wanted::drain) == 1);
    CHECK(f.proxy->set_backend("default", name, eplb::Backend::Wanted::up) == 1);
    for (int years = 0; years < 10; ++years) {
        f.clock.advance(24h * 365);
        REQUIRE(f.loop.settle());
    }
    CHECK(f.observer.ends.empty());
    CHECK(f.proxy->active_sessions() == 3);
    first.half_close();
    REQUIRE(f.loop.until([&] { return waits.received() == "hello"; }));
    service.backends.erase(service.backends.begin());
    f.proxy->apply(config);
    f.clock.advance(24h * 365);
    REQUIRE(f.loop.settle());
    CHECK(f.observer.ends.size() == 1);
}

TEST_CASE("proxy: a client that gives up while its backend does not answer ends the session",
          "[proxy][proxy_whole]") {
    Fixture f{0};
    const UnansweringPort silent;
    f.start(config_for({silent.address}));
    Peer& client = f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 1);
    client.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::client_rst);
    CHECK(f.proxy->active_sessions() == 0);
}

TEST_CASE("proxy: a client that half-closed before its backend answered gets the whole answer",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.greeting = "answer", .finish_with_peer = true}};
    const RefusingPort dead;
    f.start(config_for({dead.address, f.backends[0]->address()}));
    Peer& client = f.connect();
    client.send("request");
    client.half_close();  // before the proxy's first turn
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.finished());
    CHECK(client.received() == "answer");
    CHECK(f.backends[0]->connection(0).received() == "request");
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::client_fin);
}

TEST_CASE("proxy: a backend that accepts and closes is a clean end for the client",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.close_at_once = true}};
    f.start();
    Peer& client = f.connect();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.finished());
    client.half_close();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::server_fin);
}

TEST_CASE(
    "proxy: a backend that resets a connection as soon as it is made is passed over for the next",
    "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    ScriptedBackend hostile{{.reset_at_once = true}};
    f.loop.add(hostile);
    f.start(config_for({hostile.address(), f.backends[0]->address()}));
    Peer& client = f.connect();
    client.send("hello");
    REQUIRE(f.loop.until([&] { return client.received() == "hello"; }));
    client.reset();
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].failed_attempts == Attempts{{hostile.address(), ECONNRESET}});
}

TEST_CASE("proxy: a backend that resets later is a reset for the client", "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    Peer& client = f.connect_through();
    f.backends[0]->last().send("part of an ans");
    f.backends[0]->last().reset();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.received() == "part of an ans");
    CHECK(client.was_reset());
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::server_rst);
    CHECK(f.observer.ends[0].error == ECONNRESET);
}

TEST_CASE("proxy: a client that is gone before it was accepted leaves nothing behind",
          "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    const eplb::test::DescriptorCheck descriptors;
    for (int i = 0; i < 10; ++i) {
        Fd socket = eplb::test::connect_to(f.address);
        eplb::test::reset_connection(std::move(socket));
    }
    REQUIRE(f.loop.until([&] {
        return f.observer.ends.size() == f.proxy->stats().accepted && f.proxy->stats().accepted > 0;
    }));
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 0);
    // What backends accepted meanwhile is theirs.
    CHECK(descriptors.leaked() == static_cast<long>(f.backends[0]->connections()));
}

// --- timeouts

TEST_CASE(
    "proxy: a session of more than a second has keepalive on both sides, a short one need not",
    "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    f.connect_through();
    const auto has_keepalive = [&](const Address& peer) {
        const int fd = socket_connected_to(peer);
        REQUIRE(fd >= 0);
        int on = 0;
        int idle = 0;
        socklen_t length = sizeof on;
        ::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &length);
        ::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &length);
        return on != 0 && idle == 60;
    };
    const Address client = eplb::test::address_of(f.clients[0].socket());
    const Address server = f.backends[0]->address();
    CHECK(has_keepalive(client));  // inherited
    f.clock.advance(999ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(has_keepalive(server));
    f.clock.advance(1ms);
    REQUIRE(f.loop.settle());
    CHECK(has_keepalive(server));
    CHECK(f.reactor.wait_time() >
          5s);  // nothing more to do, but to see whether its peers are there
}

TEST_CASE("proxy: a session that takes more than a second to connect has keepalive at once",
          "[proxy][proxy_whole]") {
    Fixture f;
    const UnansweringPort silent;
    Config config = config_for({silent.address, f.backends[0]->address()});
    config.services[0].connect_timeout = 2s;
    f.start(config);
    f.connect();
    REQUIRE(f.loop.settle());
    f.clock.advance(2s);
    REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 1; }));
    int on = 0;
    socklen_t length = sizeof on;
    ::getsockopt(socket_connected_to(f.backends[0]->address()), SOL_SOCKET, SO_KEEPALIVE, &on,
                 &length);
    CHECK(on != 0);
}

TEST_CASE("proxy: the timeouts of the service end its sessions", "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.services[0].idle_timeout = 100s;
    config.services[0].half_close_timeout = 10s;
    f.start(config);
    Peer& idle = f.connect_through();
    f.clock.advance(100s);
    REQUIRE(f.loop.until([&] { return idle.over(); }));
    CHECK(idle.was_reset());
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::idle);
    CHECK(f.observer.ends[0].total_time == 100s);

    Peer& half = f.connect_through();
    half.half_close();
    REQUIRE(f.loop.settle());
    f.clock.advance(10s);
    REQUIRE(f.until_ended(2));
    CHECK(f.observer.ends[1].reason == EndReason::half_close);
}

TEST_CASE("proxy: a client that closes after hours of silence ends cleanly",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.finish_with_peer = true}};
    f.start();
    Peer& client = f.connect_through();
    f.clock.advance(8h);
    REQUIRE(f.loop.settle());
    client.half_close();
    REQUIRE(f.loop.until([&] { return client.over(); }));
    CHECK(client.finished());
    CHECK(f.backends[0]->connection(0).finished());
    REQUIRE(f.until_ended(1));
    CHECK(f.observer.ends[0].reason == EndReason::client_fin);
}

// --- limits

TEST_CASE("proxy: at max_connections further clients wait in the backlog, and come in one by one",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.max_connections = 2;
    config.services[0].listen.push_back(any_port);
    f.start(config);
    CHECK(f.proxy->max_connections() == 2);
    const Address second = f.proxy->listen_addresses().at(1);
    for (int i = 0; i < 3; ++i) {
        f.connect();
        f.connect_to(second);
    }
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 2);
    CHECK(f.proxy->stats().accepted == 2);
    CHECK_FALSE(f.loop.turn());  // waiting is not busy

    std::size_t ended = 0;
    while (ended < 6) {
        for (Peer& client : f.clients) {
            // Whoever was let in is reset, and makes room.
            const bool inside = std::any_of(
                f.observer.starts.begin(), f.observer.starts.end(), [&](const auto& start) {
                    return client.is_open() &&
                           start.client == eplb::test::address_of(client.socket());
                });
            if (inside) {
                client.reset();
                break;
            }
        }
        REQUIRE(f.until_ended(++ended));
        REQUIRE(f.loop.settle());
        CHECK(f.proxy->active_sessions() <= 2);
        CHECK(f.proxy->active_sessions() == std::min<std::size_t>(2, 6 - ended));
    }
    CHECK(f.proxy->stats().accepted == 6);
}

TEST_CASE("proxy: under a shared limit no listener gets every place that comes free",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.max_connections = 1;
    config.services[0].listen = {any_port, any_port, any_port};
    f.start(config);
    const std::vector<Address> listeners = f.proxy->listen_addresses();
    for (int i = 0; i < 3; ++i) {
        for (const Address& listener : listeners) f.connect_to(listener);
    }
    for (std::size_t served = 1; served <= 9; ++served) {
        REQUIRE(f.loop.until([&] { return f.observer.starts.size() == served; }));
        f.backends[0]->last().reset();  // makes room for the next
        REQUIRE(f.until_ended(served));
    }
    for (std::size_t i = 0; i + 2 < 9; ++i) {
        CAPTURE(i);
        // Any three in a row came through three listeners.
        const Address& a = f.observer.starts[i].listener;
        const Address& b = f.observer.starts[i + 1].listener;
        const Address& c = f.observer.starts[i + 2].listener;
        CHECK((!(a == b) && !(b == c) && !(a == c)));
    }
}

TEST_CASE("proxy: with few descriptors it serves any number of clients, one after the other",
          "[proxy][proxy_whole]") {
    const RelayMode mode = GENERATE(RelayMode::automatic, RelayMode::splice, RelayMode::copy);
    CAPTURE(mode);
    Fixture f{1, {.echo = true, .finish_with_peer = true}};
    Config config = f.config();
    config.services[0].relay = mode;
    // Held for the length of the test: the clients and the backend live on it, too.
    const eplb::test::DescriptorShortage few{150};
    f.start(config);
    REQUIRE(f.proxy->max_connections() < 60);
    for (std::size_t i = 1; i <= 120; ++i) {
        Peer client{eplb::test::connect_to(f.address)};
        f.loop.add(client);
        client.send(pattern(70'000, i));
        client.half_close();
        const bool over =
            f.loop.until([&] { return client.over() && f.observer.ends.size() == i; });
        f.loop.remove(client);
        REQUIRE(over);
        REQUIRE(client.received() == pattern(70'000, i));
        f.backends[0]->last().close();
    }
    CHECK(f.proxy->active_sessions() == 0);
}

TEST_CASE("proxy: at max_connections, with descriptors to spare, idle pipes are kept for the next",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true, .finish_with_peer = true}};
    Config config = f.config();
    config.services[0].relay = RelayMode::splice;
    config.max_connections = 1;
    f.start(config);
    for (std::size_t i = 1; i <= 10; ++i) {
        Peer& client = f.connect();
        f.connect();  // waits, and finds no place
        client.send(pattern(70'000, i));
        REQUIRE(f.loop.until([&] { return client.received_bytes() == 70'000; }));
        client.half_close();
        f.clients.back().half_close();
        REQUIRE(f.until_ended(2 * i));
    }
    CHECK(f.proxy->stats().pipes.created <= 2);
}

TEST_CASE("proxy: pipes never take the descriptors that sessions need", "[proxy][proxy_whole]") {
    constexpr std::size_t sessions = 8;
    constexpr std::size_t size = 3'500'000;  // more than the kernel buffers for a reader who stalls
    Fixture f;
    Config config = f.config();
    config.services[0].relay = RelayMode::splice;
    config.max_connections = sessions;
    const auto spare = 110 - static_cast<int>(eplb::test::open_descriptors());
    REQUIRE(spare > 0);
    eplb::test::DescriptorShortage few{spare};
    const std::size_t shared =
        eplb::work_out_limits(eplb::descriptor_limit(), sessions, 1).descriptors;
    f.start(config);
    // Every session gets bytes stuck, and would like to keep a pipe.
    for (std::size_t i = 0; i < sessions; ++i) {
        Peer& client = f.clients.emplace_back(eplb::test::connect_to(f.address, 4096));
        client.hold();
        f.loop.add(client);
        REQUIRE(f.loop.until([&] { return f.backends[0]->connections() == i + 1; }));
        f.backends[0]->last().send(pattern(size, i));
        f.backends[0]->last().half_close();
    }
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == sessions);
    const std::size_t lent = f.proxy->stats().pipes.lent;
    CHECK(lent > 0);
    CHECK(lent < sessions);  // the others copy
    CHECK(2 * 2 * lent <= shared - 2 * sessions);

    for (std::size_t i = 0; i < sessions; ++i) {
        f.clients[i].resume();
        REQUIRE(f.loop.until([&] { return f.clients[i].over(); }));
        CHECK(f.clients[i].received() == pattern(size, i));
    }
    few.end();
}

TEST_CASE("proxy: counts are right after a storm of clients of all kinds", "[proxy][proxy_whole]") {
    Fixture f{2, {.echo = true, .finish_with_peer = true}};
    const RefusingPort dead;
    Config config = f.config();
    config.services[0].backends.push_back({});
    config.services[0].backends.back().address = dead.address;
    config.max_connections = 20;
    f.start(config);
    const eplb::test::DescriptorCheck descriptors;
    for (int i = 0; i < 200; ++i) {
        Peer& client = f.connect();
        switch (i % 5) {
        case 0: client.reset(); break;
        case 1: client.close(); break;
        default:
            client.send(pattern(1000 * static_cast<std::size_t>(i % 7)));
            client.half_close();
            break;
        }
        if (i % 3 == 0) f.loop.turn();
    }
    REQUIRE(f.loop.until([&] {
        return std::all_of(f.clients.begin(), f.clients.end(),
                           [](const Peer& c) { return !c.is_open() || c.over(); });
    }));
    REQUIRE(f.loop.until([&] { return f.observer.ends.size() == f.proxy->stats().accepted; }));
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 0);
    CHECK(f.proxy->stats().pipes.lent == 0);
    for (const auto& end : f.observer.ends) CHECK(end.bytes_up == end.bytes_down);
    // A full house at the end: nothing was lost on the way.
    for (int i = 0; i < 20; ++i) f.connect();
    REQUIRE(f.loop.settle());
    CHECK(f.proxy->active_sessions() == 20);
    f.proxy.reset();
}

TEST_CASE("proxy: without a descriptor for the backend a session waits, and goes on later",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    f.start();
    Peer& client = f.connect();
    client.send("hello");
    f.observer.events.reserve(10);
    std::size_t backends_dialled = 0;
    {
        const eplb::test::DescriptorShortage shortage{1};  // enough to accept, not to dial
        for (int i = 0; i < 5; ++i) f.reactor.run_once(Duration{0});
        backends_dialled = f.observer.starts.size();
    }
    CHECK(backends_dialled == 0);
    CHECK(f.proxy->active_sessions() == 1);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(client.over());
    CHECK(f.observer.events.size() == 1);
    CHECK(f.observer.events[0].level == LogLevel::warning);

    f.clock.advance(1s);
    REQUIRE(f.loop.until([&] { return client.received() == "hello"; }));
    Peer& next = f.connect();  // and nobody else is locked out
    next.send("me too");
    REQUIRE(f.loop.until([&] { return next.received() == "me too"; }));
}

TEST_CASE("proxy: without a descriptor to accept with, clients wait, and are served later",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    f.start();
    Peer& client = f.connect();
    client.send("hello");
    f.observer.events.reserve(10);
    {
        const eplb::test::DescriptorShortage shortage;
        for (int i = 0; i < 5; ++i) f.reactor.run_once(Duration{0});
    }
    REQUIRE(f.loop.settle());
    CHECK_FALSE(client.over());
    f.clock.advance(1s);
    REQUIRE(f.loop.until([&] { return client.received() == "hello"; }));
    CHECK_FALSE(f.observer.events.empty());
}

TEST_CASE("proxy: by default it allows about half as many connections as there are descriptors",
          "[proxy][proxy_whole]") {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    Fixture f;
    f.start();
    CHECK(f.proxy->max_connections() > 0);
    CHECK(f.proxy->max_connections() <= limit.rlim_cur / 2);
}

// --- what makes no sense

TEST_CASE("proxy: a configuration that makes no sense is an invalid argument that says why",
          "[proxy][proxy_whole]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        const auto message_of = [&](const Config& config) -> std::string {
            try {
                f.start(config);
            } catch (const std::invalid_argument& error) {
                return error.what();
            }
            return "no exception";
        };
        // A port that is free, by number: a loop is seen before anything is opened.
        const Address own = RefusingPort{}.address;

        Config loop = config_for({own});
        loop.services[0].listen = {own};
        CHECK_THAT(message_of(loop), contains(own.to_string()));

        const Address others = RefusingPort{}.address;
        Config through_other = config_for({others});
        through_other.services.push_back(config_for({own}).services[0]);
        through_other.services[0].listen = {own};
        through_other.services[1].name = "other";
        through_other.services[1].listen = {others};
        CHECK_THAT(message_of(through_other), contains(own.to_string()));

        Config wildcard = config_for({own});
        wildcard.services[0].listen = {Address::parse(":0").with_port(own.port())};
        CHECK_THAT(message_of(wildcard), contains(own.to_string()));

        CHECK_THAT(message_of(config_for({Address::parse("0.0.0.0:80")})), contains("0.0.0.0:80"));
        CHECK_THAT(message_of(config_for({Address{}})), contains("backend"));
        CHECK_THAT(message_of(config_for({})), contains("default"));

        Config weightless = f.config();
        weightless.services[0].backends[0].weight = 0;
        CHECK_THAT(message_of(weightless), contains("weight"));

        Config twice = f.config();
        twice.services[0].listen = {own, own};
        CHECK_THAT(message_of(twice), contains(own.to_string()));

        CHECK(f.proxy == nullptr);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: a wildcard listener and a backend of another machine or port are no loop",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = config_for({f.backends[0]->address(), Address::parse("192.0.2.1:80")});
    config.services[0].listen = {Address::parse(":0")};
    if (!eplb::test::has_ipv6()) config.services[0].listen = {Address::parse("0.0.0.0:0")};
    f.start(config);
    CHECK(f.address.is_wildcard());
}

TEST_CASE("proxy: a port that is in use is an error that names it, and nothing stays open",
          "[proxy][proxy_whole]") {
    Fixture f;
    const Fd occupied = eplb::test::listener();
    const Address taken = eplb::test::address_of(occupied);
    Config config = f.config();
    const Address free = RefusingPort{}.address;
    config.services[0].listen = {free, taken};
    const eplb::test::DescriptorCheck descriptors;
    CHECK_THROWS_AS(f.start(config), std::system_error);
    CHECK_THROWS_WITH(f.start(config), contains(taken.to_string()));
    CHECK(descriptors.leaked() == 0);
    CHECK_FALSE(eplb::test::connect_to(free).valid());
    CHECK_FALSE(f.reactor.run_once(Duration{0}));
}

TEST_CASE("proxy: more connections than there are descriptors is an error",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.max_connections = 1'000'000'000;
    CHECK_THROWS_AS(f.start(config), std::runtime_error);
    CHECK_THROWS_WITH(f.start(config), contains("1000000000"));
}

// --- the end

TEST_CASE("proxy: destroyed with live sessions, it resets and closes everything",
          "[proxy][proxy_whole]") {
    Fixture f;
    const eplb::test::DescriptorCheck descriptors;
    f.start();
    Peer& active = f.connect_through();
    active.send("hello");
    REQUIRE(f.loop.settle());
    Peer& untouched = f.connect();  // in the backlog still
    f.proxy.reset();
    CHECK(f.observer.ends.size() == 1);
    CHECK(f.observer.ends.at(0).reason == EndReason::drain);
    REQUIRE(f.loop.until([&] { return active.over() && untouched.over(); }));
    CHECK(active.was_reset());
    Peer& at_backend = f.backends[0]->connection(0);
    REQUIRE(f.loop.until([&] { return at_backend.over(); }));
    CHECK(at_backend.was_reset());
    CHECK_FALSE(f.reactor.run_once(Duration{0}));
    // The ends of the clients and the backend are the test's.
    CHECK(descriptors.leaked() == 3);
    CHECK_FALSE(eplb::test::connect_to(f.address).valid());
}

TEST_CASE("proxy: destroyed while sessions connect, it closes everything", "[proxy][proxy_whole]") {
    const UnansweringPort silent;
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f{0};
        f.start(config_for({silent.address}));
        f.connect();
        f.connect();
        REQUIRE(f.loop.settle());
        CHECK(f.proxy->active_sessions() == 2);
        f.proxy.reset();
        CHECK(f.observer.ends.size() == 2);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: may be destroyed by another task in the turn in which its sessions are ready",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true}};
    f.start();
    for (int i = 0; i < 5; ++i) f.connect_through();
    eplb::test::FunctionTask killer{eplb::test::FunctionTask::waiting([&] { f.proxy.reset(); })};
    for (Peer& client : f.clients) client.send("x");
    f.connect();
    f.reactor.schedule(killer);
    f.reactor.run_once(Duration{0});
    CHECK(f.proxy == nullptr);
    CHECK(f.observer.ends.size() == 5);
    CHECK_FALSE(f.reactor.run_once(Duration{0}));
}

TEST_CASE("proxy: reset_sessions ends them all in the next turn, and new ones are welcome",
          "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    for (int i = 0; i < 3; ++i) f.connect_through();
    f.proxy->reset_sessions();
    f.reactor.run_once(Duration{0});
    CHECK(f.observer.ends.size() == 3);
    CHECK(f.proxy->active_sessions() == 0);
    for (const auto& end : f.observer.ends) CHECK(end.reason == EndReason::drain);
    for (Peer& client : f.clients) {
        REQUIRE(f.loop.until([&] { return client.over(); }));
        CHECK(client.was_reset());
    }
    f.connect_through();
    CHECK(f.proxy->active_sessions() == 1);
}

TEST_CASE("proxy: drained without sessions, it is done in the next turn", "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    std::optional<std::size_t> drained;
    f.proxy->drain(30s, [&](std::size_t reset) { drained = reset; });
    CHECK_FALSE(drained);  // a turn of its own
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{0});
    CHECK_FALSE(eplb::test::connect_to(f.address).valid());
}

TEST_CASE("proxy: drained, it lets sessions finish, and takes who had connected before",
          "[proxy][proxy_whole]") {
    Fixture f{1, {.echo = true, .finish_with_peer = true}};
    f.start();
    Peer& active = f.connect_through();
    Peer& waiting = f.connect();  // with the kernel, not with us yet
    std::optional<std::size_t> drained;
    f.proxy->drain(30s, [&](std::size_t reset) { drained = reset; });
    CHECK_FALSE(eplb::test::connect_to(f.address).valid());
    for (Peer* const client : {&active, &waiting}) {
        client->send("still there?");
        REQUIRE(f.loop.until([&] { return client->received() == "still there?"; }));
    }
    CHECK_FALSE(drained);
    active.half_close();
    waiting.half_close();
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{0});
    for (const auto& end : f.observer.ends) CHECK(end.reason == EndReason::client_fin);
    CHECK(std::any_of(f.observer.events.begin(), f.observer.events.end(), [](const auto& event) {
        return event.message.find("2 sessions") != std::string::npos;
    }));
}

TEST_CASE("proxy: what is left when the drain timeout is over is reset, and counted",
          "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    Peer& a = f.connect_through();
    Peer& b = f.connect_through();
    Peer& c = f.connect_through();
    std::optional<std::size_t> drained;
    f.proxy->drain(30s, [&](std::size_t reset) { drained = reset; });
    a.reset();
    REQUIRE(f.until_ended(1));
    f.clock.advance(30s - 1ms);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(drained);
    f.clock.advance(1ms);
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{2});
    REQUIRE(f.loop.until([&] { return b.over() && c.over(); }));
    CHECK(b.was_reset());
    CHECK(c.was_reset());
    CHECK(f.observer.ends.size() == 3);
    CHECK(f.observer.ends[1].reason == EndReason::drain);
}

TEST_CASE("proxy: may be destroyed by its own on_drained", "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    Peer& client = f.connect_through();
    f.proxy->drain(30s, [&](std::size_t) { f.proxy.reset(); });
    client.reset();
    REQUIRE(f.loop.until([&] { return f.proxy == nullptr; }));
    CHECK_FALSE(f.reactor.run_once(Duration{0}));
}

TEST_CASE("proxy: drained without a timeout, it waits for its sessions for ever",
          "[proxy][proxy_whole]") {
    Fixture f;
    f.start();
    Peer& client = f.connect_through();
    std::optional<std::size_t> drained;
    f.proxy->drain(Duration{0}, [&](std::size_t reset) { drained = reset; });
    REQUIRE(f.loop.settle());
    f.clock.advance(24h * 365);
    REQUIRE(f.loop.settle());
    CHECK_FALSE(drained);
    client.reset();
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{0});
}

TEST_CASE("proxy: drained with the longest timeout there is, it waits for ever, and says so",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.services[0].drain_timeout = Duration::max();
    f.start(config);
    Peer& client = f.connect_through();
    std::optional<std::size_t> drained;
    const auto on_drained = [&](std::size_t reset) { drained = reset; };
    if (GENERATE(true, false)) {
        f.proxy->drain(Duration::max(), on_drained);
    } else {
        f.proxy->drain(on_drained);
    }
    REQUIRE(f.loop.settle());
    f.clock.advance(24h * 365);
    REQUIRE(f.loop.settle());
    REQUIRE(f.observer.events.size() == 2);
    for (const auto& event : f.observer.events) CHECK(event.message == "draining: 1 session left");
    CHECK_FALSE(drained);
    client.reset();
    REQUIRE(f.loop.until([&] { return drained.has_value(); }));
    CHECK(drained == std::size_t{0});
}

TEST_CASE("proxy: two in one reactor do not know of each other", "[proxy][proxy_whole]") {
    Fixture f{2};
    f.start(config_for({f.backends[0]->address()}));
    RecordingObserver other_observer;
    auto other =
        std::make_unique<Proxy>(f.reactor, config_for({f.backends[1]->address()}), other_observer);
    f.connect_through();
    f.connect_to(other->listen_addresses().at(0));
    REQUIRE(f.loop.until([&] { return other_observer.starts.size() == 1; }));
    other.reset();
    CHECK(other_observer.ends.size() == 1);
    CHECK(f.proxy->active_sessions() == 1);
    f.connect_through();
    CHECK(f.proxy->active_sessions() == 2);
}

TEST_CASE("proxy: a PROXY header that came in time is in time, however late we look",
          "[proxy][proxy_whole]") {
    Fixture f;
    Config config = f.config();
    config.services[0].accept_proxy = eplb::AcceptProxy::v1;
    config.services[0].trusted_proxies = {eplb::Cidr::parse("127.0.0.0/8")};
    f.start(config);
    const std::string header = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n";
    Peer& client = f.connect();
    REQUIRE(f.loop.settle());
    SECTION("the whole of it") {
        client.send(header + "hello");
        f.clock.advance(1min);
        REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 1; }));
        CHECK(f.observer.ends.empty());
    }
    SECTION("a part of it is none") {
        client.send(header.substr(0, 20));
        f.clock.advance(1min);
        REQUIRE(f.until_ended(1));
        CHECK(f.observer.ends[0].reason == EndReason::proxy_header_timeout);
    }
    SECTION("and in a turn that is held up, the time begins at its end") {
        eplb::test::FunctionTask pause{
            eplb::test::FunctionTask::waiting([&] { f.clock.advance(1min); })};
        f.clock.advance(1s);
        f.reactor.schedule(pause);
        Peer& other = f.connect();
        REQUIRE(f.until_ended(1));  // the first one
        REQUIRE(f.loop.settle());
        CHECK(f.observer.ends.size() == 1);
        other.send(header);
        REQUIRE(f.loop.until([&] { return f.observer.starts.size() == 1; }));
    }
}

TEST_CASE("proxy: leaves no descriptor behind", "[proxy][proxy_whole]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f{2, {.echo = true}};
        f.start();
        for (int i = 0; i < 10; ++i) {
            Peer& client = f.connect();
            client.send(pattern(300'000));
            if (i % 2 == 0) client.reset();
        }
        REQUIRE(f.loop.settle());
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("proxy: a backend that nobody listens on is never taken for one that is ourselves",
          "[proxy][proxy_whole]") {
    // In a network of its own, where the only free port for the way out is the backend's own: TCP
    // then connects the socket to itself (simultaneous open).
    enum : int { fine = 0, cannot_try = 77 };
    const bool changed_meanwhile = GENERATE(false, true);
    CAPTURE(changed_meanwhile);
    const int code = eplb::test::in_child([changed_meanwhile]() -> int {
        const std::uint16_t first = changed_meanwhile ? 50000 : 40000;
        if (!eplb::test::enter_network_with_ports(first, static_cast<std::uint16_t>(first + 1)))
            return cannot_try;

        ManualClock clock;
        Reactor reactor{clock};
        RecordingObserver observer;
        Config config =
            config_for({Address::parse("127.0.0.1:40000"), Address::parse("127.0.0.1:40001")});
        config.services[0].listen = {Address::parse("127.0.0.1:5555")};
        Proxy proxy{reactor, config, observer};
        Loop loop{reactor};
        if (changed_meanwhile)
            std::ofstream{"/proc/sys/net/ipv4/ip_local_port_range"} << "40000 40001" << std::flush;
        // Connecting out of 40000 or 40001 to 5555 would take a port away, so the clients name
        // theirs.
        for (std::uint16_t i = 0; i < 50; ++i) {
            const Fd client{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
            sockaddr_storage raw{};
            socklen_t length = Address::parse("127.0.0.1:0")
                                   .with_port(static_cast<std::uint16_t>(20'000 + i))
                                   .to_sockaddr(raw);
            if (::bind(client.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0)
                return 1;
            length = Address::parse("127.0.0.1:5555").to_sockaddr(raw);
            if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 &&
                errno != EINPROGRESS) {
                return 2;
            }
            if (!loop.until([&] { return observer.ends.size() > i || !observer.starts.empty(); })) {
                return 3;
            }
            if (!observer.starts.empty()) return 4;  // relayed to itself
            for (const auto& [address, error] : observer.ends.back().failed_attempts) {
                if (error != ECONNREFUSED) return 5;
            }
        }
        return fine;
    });
    if (code == cannot_try) EPLB_SKIP("needs a network namespace of its own");
    CHECK(code == fine);
}
