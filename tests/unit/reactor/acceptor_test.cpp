#include "eplb/acceptor.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <netinet/tcp.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using eplb::Acceptor;
using eplb::Address;
using eplb::Duration;
using eplb::Fd;
using eplb::listen_on;
using eplb::local_address;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::test::connect_to;
using eplb::test::contains;
using eplb::test::Folder;
using eplb::test::get_option;

namespace {

// An acceptor on 127.0.0.1 that keeps what it accepts.
struct Fixture {
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<Fd> accepted;
    std::vector<Address> peers;
    std::vector<int> shortages;
    std::function<void()> on_accept = [] {};
    Acceptor acceptor{reactor, listen_on(Address::parse("127.0.0.1:0")),
                      [this](Fd socket, const Address& peer) {
                          accepted.push_back(std::move(socket));
                          peers.push_back(peer);
                          on_accept();
                      },
                      [this](int error) { shortages.push_back(error); }};
    Address address = local_address(acceptor.listener());
    std::vector<Fd> clients;

    bool turn() { return reactor.run_once(Duration{0}); }
    void connect(std::size_t count = 1) {
        for (std::size_t i = 0; i < count; ++i) {
            clients.push_back(connect_to(address));
            REQUIRE(clients.back().valid());
        }
    }
};

int error_of_listen_on(const Address& address) {
    try {
        static_cast<void>(listen_on(address));
    } catch (const std::system_error& error) {
        return error.code().value();
    }
    return 0;
}

}  // namespace

// --- listen_on

TEST_CASE("listen_on: the socket is nonblocking, close-on-exec and has its options",
          "[reactor][acceptor]") {
    const Fd fd = listen_on(Address::parse("127.0.0.1:0"));
    CHECK(eplb::test::is_nonblocking(fd.get()));
    CHECK(eplb::test::is_close_on_exec(fd.get()));
    CHECK(get_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
    CHECK(get_option(fd, SOL_SOCKET, SO_REUSEADDR) == 1);
    CHECK(local_address(fd).port() != 0);
}

TEST_CASE("listen_on: accepted sockets inherit no-delay and keepalive", "[reactor][acceptor]") {
    const Fd fd = listen_on(Address::parse("127.0.0.1:0"));
    const Fd client = connect_to(local_address(fd));
    const Fd accepted = eplb::test::accept_one(fd);
    CHECK(get_option(accepted, IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK(get_option(accepted, SOL_SOCKET, SO_KEEPALIVE) != 0);
    CHECK(get_option(accepted, IPPROTO_TCP, TCP_KEEPIDLE) == 60);
    CHECK(get_option(accepted, IPPROTO_TCP, TCP_KEEPINTVL) == 10);
    CHECK(get_option(accepted, IPPROTO_TCP, TCP_KEEPCNT) == 6);
}

TEST_CASE("listen_on: an address in use is an error that names it", "[reactor][acceptor]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        const Fd first = listen_on(Address::parse("127.0.0.1:0"));
        const Address address = local_address(first);
        CHECK(error_of_listen_on(address) == EADDRINUSE);
        CHECK_THROWS_WITH(static_cast<void>(listen_on(address)), contains(address.to_string()));
        CHECK_THROWS_WITH(static_cast<void>(listen_on(address)),
                          eplb::test::starts_with("cannot listen on " + address.to_string()));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("listen_on: an address of another machine is an error that names it",
          "[reactor][acceptor]") {
    const Address address = Address::parse("192.0.2.1:0");  // TEST-NET-1
    CHECK(error_of_listen_on(address) == EADDRNOTAVAIL);
    CHECK_THROWS_WITH(static_cast<void>(listen_on(address)), contains("192.0.2.1:0"));
}

TEST_CASE("listen_on: no address is an error", "[reactor][acceptor]") {
    CHECK_THROWS_AS(static_cast<void>(listen_on(Address{})), std::system_error);
}

TEST_CASE("listen_on: a shortage of descriptors is an error that names the address",
          "[reactor][acceptor]") {
    std::string message;
    int code = 0;
    try {
        const eplb::test::DescriptorShortage shortage;  // over when the exception is looked at
        static_cast<void>(listen_on(Address::parse("127.0.0.1:0")));
    } catch (const std::system_error& error) {
        message = error.what();
        code = error.code().value();
    }
    CHECK(code == EMFILE);
    CHECK_THAT(message, contains("127.0.0.1:0"));
}

TEST_CASE("listen_on: the wildcard takes IPv6 and IPv4 clients, each with its own address",
          "[reactor][acceptor]") {
    if (!eplb::test::has_ipv6()) EPLB_SKIP("this machine has no IPv6");
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<Fd> accepted;
    std::vector<Address> peers;
    const Acceptor acceptor{reactor, listen_on(Address::parse(":0")),
                            [&](Fd socket, const Address& peer) {
                                accepted.push_back(std::move(socket));
                                peers.push_back(peer);
                            }};
    const std::uint16_t port = local_address(acceptor.listener()).port();
    CHECK(local_address(acceptor.listener()).is_wildcard());

    const Fd v4 = connect_to(Address::parse("127.0.0.1:0").with_port(port));
    const Fd v6 = connect_to(Address::parse("[::1]:0").with_port(port));
    REQUIRE(v4.valid());
    REQUIRE(v6.valid());
    reactor.run_once(Duration{0});
    CHECK(peers == std::vector{eplb::test::address_of(v4), eplb::test::address_of(v6)});
    REQUIRE(peers.size() == 2);
    CHECK(peers[0].family() == AF_INET);
}

TEST_CASE("listen_on: one IPv6 address takes no IPv4 clients", "[reactor][acceptor]") {
    if (!eplb::test::has_ipv6()) EPLB_SKIP("this machine has no IPv6");
    const Fd fd = listen_on(Address::parse("[::1]:0"));
    const std::uint16_t port = local_address(fd).port();
    CHECK(connect_to(local_address(fd)).valid());
    CHECK_FALSE(connect_to(Address::parse("127.0.0.1:0").with_port(port)).valid());
}

TEST_CASE("listen_on: a Unix path that a dead process left behind is taken over",
          "[reactor][acceptor]") {
    const Folder directory;
    const Address address = directory.socket("stale.sock");
    { const Fd dead = listen_on(address); }
    REQUIRE(std::filesystem::exists(directory.file("stale.sock")));
    CHECK_FALSE(connect_to(address).valid());

    const Fd fd = listen_on(address);
    CHECK(local_address(fd) == address);
    CHECK(connect_to(address).valid());
}

TEST_CASE("listen_on: a Unix path on which somebody listens is not taken", "[reactor][acceptor]") {
    const Folder directory;
    const Address address = directory.socket("live.sock");
    const Fd alive = listen_on(address);
    CHECK(error_of_listen_on(address) == EADDRINUSE);
    CHECK_THROWS_WITH(static_cast<void>(listen_on(address)), contains(address.to_string()));
    CHECK(std::filesystem::exists(directory.file("live.sock")));
    CHECK(connect_to(address).valid());
}

TEST_CASE("listen_on: a live Unix socket with a full backlog is not taken for a stale one",
          "[reactor][acceptor]") {
    const Folder directory;
    const Address address = directory.socket("busy.sock");
    const Fd alive = listen_on(address, {.backlog = 0});
    std::vector<Fd> waiting;
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    int error = 0;
    while (error == 0 && waiting.size() < 10'000) {
        waiting.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (::connect(waiting.back().get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) {
            error = errno;
        }
    }
    REQUIRE(error == EAGAIN);
    CHECK(error_of_listen_on(address) == EADDRINUSE);
    CHECK(std::filesystem::exists(directory.file("busy.sock")));
}

TEST_CASE("listen_on: a file that is no socket is never removed", "[reactor][acceptor]") {
    const Folder directory;
    std::ofstream{directory.file("precious")} << "data";
    CHECK(error_of_listen_on(directory.socket("precious")) == EADDRINUSE);
    CHECK(std::filesystem::file_size(directory.file("precious")) == 4);

    std::filesystem::create_symlink("precious", directory.file("link"));
    CHECK(error_of_listen_on(directory.socket("link")) == EADDRINUSE);
    CHECK(std::filesystem::is_symlink(directory.file("link")));
}

TEST_CASE("listen_on: an abstract name works, and is in use while it is", "[reactor][acceptor]") {
    const Address address =
        Address::parse("unix:@eplb-unit-acceptor-" + std::to_string(::getpid()));
    {
        const Fd fd = listen_on(address);
        CHECK(local_address(fd) == address);
        CHECK(error_of_listen_on(address) == EADDRINUSE);
    }
    CHECK(listen_on(address).valid());
}

TEST_CASE("listen_on: local_address of what is no socket throws", "[reactor][acceptor]") {
    CHECK_THROWS_AS(static_cast<void>(local_address(Fd{})), std::system_error);
}

// --- Acceptor

TEST_CASE("listen_on: several that share a port each get clients, and only by that wish",
          "[reactor][acceptor]") {
    const Fd first = listen_on(Address::parse("127.0.0.1:0"), {.share_port = true});
    const Address address = local_address(first);
    const Fd second = listen_on(address, {.share_port = true});
    CHECK(local_address(second) == address);
    CHECK(error_of_listen_on(address) == EADDRINUSE);

    std::vector<Fd> clients;
    std::size_t at_first = 0;
    std::size_t at_second = 0;
    for (int i = 0; i < 200 && (at_first == 0 || at_second == 0); ++i) {
        clients.push_back(connect_to(address));
        sockaddr_storage raw{};
        socklen_t length = 0;
        for (const Fd* const fd : {&first, &second}) {
            length = sizeof raw;
            const Fd accepted{
                ::accept(fd->get(), reinterpret_cast<sockaddr*>(&raw), &length)};  // nonblocking
            if (accepted.valid()) ++(fd == &first ? at_first : at_second);
        }
    }
    CHECK(at_first > 0);
    CHECK(at_second > 0);
}

TEST_CASE("change_options: sets what is wanted now, and switches off what is not wanted any more",
          "[reactor][acceptor]") {
    const Fd listener = listen_on(Address::parse("127.0.0.1:0"));
    const Address address = local_address(listener);
    const auto option = [&](int level, int name) { return get_option(listener, level, name); };
    const auto text_option = [&](int level, int name) {
        std::array<char, 32> text{};
        socklen_t length = text.size();
        REQUIRE(::getsockopt(listener.get(), level, name, text.data(), &length) == 0);
        return std::string{text.data()};
    };
    const std::string usual = text_option(IPPROTO_TCP, TCP_CONGESTION);

    eplb::ListenOptions options;
    options.socket.no_delay = false;
    options.socket.keepalive = {.idle = 5min, .interval = 7s, .count = 3};
    options.socket.congestion = "reno";
    options.fast_open = 16;
    options.defer_accept = 3s;
    const bool privileged = ::geteuid() == 0;
    if (privileged) {
        options.socket.mark = 77;
        options.socket.interface = "lo";
        options.socket.transparent = true;
    }
    CHECK(eplb::change_options(listener, address, options) == 0);
    CHECK(option(IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
    CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 300);
    CHECK(text_option(IPPROTO_TCP, TCP_CONGESTION) == "reno");
    CHECK(option(IPPROTO_TCP, TCP_FASTOPEN) == 16);
    CHECK(option(IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    for (const Duration longest : {Duration{100 * 365 * 24h}, Duration::max()}) {
        CAPTURE(longest.count());
        options.defer_accept = longest;
        CHECK(eplb::change_options(listener, address, options) == 0);
        CHECK(option(IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    }
    CHECK(option(SOL_SOCKET, SO_MARK) == (privileged ? 77 : 0));
    CHECK(text_option(SOL_SOCKET, SO_BINDTODEVICE) == (privileged ? "lo" : ""));
    CHECK(option(SOL_IP, IP_TRANSPARENT) == (privileged ? 1 : 0));

    options = {};
    options.socket.keepalive.idle = Duration{0};
    CHECK(eplb::change_options(listener, address, options) == 0);
    CHECK(option(IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 0);
    CHECK(text_option(IPPROTO_TCP, TCP_CONGESTION) == usual);
    CHECK(option(IPPROTO_TCP, TCP_FASTOPEN) == 0);
    CHECK(option(IPPROTO_TCP, TCP_DEFER_ACCEPT) == 0);
    CHECK(option(SOL_SOCKET, SO_MARK) == 0);
    CHECK(text_option(SOL_SOCKET, SO_BINDTODEVICE).empty());
    CHECK(option(SOL_IP, IP_TRANSPARENT) == 0);
}

TEST_CASE("require_unused: throws where somebody listens, sharing or not, and nowhere else",
          "[reactor][acceptor]") {
    for (const bool share : {false, true}) {
        CAPTURE(share);
        std::optional<Fd> fd{listen_on(Address::parse("127.0.0.1:0"), {.share_port = share})};
        const Address address = local_address(*fd);
        CHECK_THROWS_WITH(eplb::require_unused(address), contains(address.to_string()));
        fd.reset();
        CHECK_NOTHROW(eplb::require_unused(address));
    }
    const eplb::test::RefusingPort bound;  // but nobody listens
    CHECK_NOTHROW(eplb::require_unused(Address::parse("127.0.0.1:0")));
}

TEST_CASE("acceptor: hands on each connection with its peer's address", "[reactor][acceptor]") {
    Fixture f;
    f.connect(3);
    CHECK(f.turn());
    REQUIRE(f.accepted.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(f.peers[i] == eplb::test::address_of(f.clients[i]));
        CHECK(eplb::test::is_nonblocking(f.accepted[i].get()));
        CHECK(eplb::test::is_close_on_exec(f.accepted[i].get()));
    }
    CHECK_FALSE(f.turn());
    f.connect();
    CHECK(f.turn());
    CHECK(f.accepted.size() == 4);
}

TEST_CASE("acceptor: clients that came before it was made are accepted", "[reactor][acceptor]") {
    Fd listener = listen_on(Address::parse("127.0.0.1:0"));
    const Fd client = connect_to(local_address(listener));
    ManualClock clock;
    Reactor reactor{clock};
    int count = 0;
    const Acceptor acceptor{reactor, std::move(listener), [&](Fd, const Address&) { ++count; }};
    reactor.run_once(Duration{0});
    CHECK(count == 1);
}

TEST_CASE("acceptor: takes at most its budget in a turn, and goes on by itself",
          "[reactor][acceptor]") {
    Fixture f;
    const std::size_t budget = Acceptor::budget_per_turn;
    const std::size_t clients = 2 * budget + 7;
    f.connect(clients);
    eplb::test::FunctionTask other;
    f.reactor.schedule(other);
    CHECK(f.turn());
    CHECK(f.accepted.size() == budget);
    CHECK(other.runs() == 1);
    CHECK(f.turn());
    CHECK(f.accepted.size() == 2 * budget);
    CHECK(f.turn());
    CHECK(f.accepted.size() == clients);
    CHECK_FALSE(f.turn());
}

TEST_CASE("acceptor: exactly its budget of clients are all accepted, and the next one too",
          "[reactor][acceptor]") {
    Fixture f;
    f.connect(Acceptor::budget_per_turn);
    while (f.turn()) {}
    CHECK(f.accepted.size() == Acceptor::budget_per_turn);
    f.connect();
    while (f.turn()) {}
    CHECK(f.accepted.size() == Acceptor::budget_per_turn + 1);
}

TEST_CASE("acceptor: paused, it leaves clients in the backlog; resumed, it takes them",
          "[reactor][acceptor]") {
    Fixture f;
    f.acceptor.pause();
    CHECK(f.acceptor.paused());
    f.connect(2);
    f.turn();
    f.turn();
    CHECK(f.accepted.empty());

    f.acceptor.resume();
    CHECK_FALSE(f.acceptor.paused());
    CHECK(f.accepted.empty());  // in the next turn, not in here
    CHECK(f.turn());
    CHECK(f.accepted.size() == 2);
}

TEST_CASE("acceptor: paused, it does not keep the reactor busy", "[reactor][acceptor]") {
    Fixture f;
    f.acceptor.pause();
    f.connect(2);
    f.turn();
    CHECK_FALSE(f.turn());
    CHECK(f.reactor.wait_time() < Duration{0});
}

TEST_CASE("acceptor: a handler may pause it, and the clients behind wait", "[reactor][acceptor]") {
    Fixture f;
    f.on_accept = [&] { f.acceptor.pause(); };
    f.connect(3);
    f.turn();
    CHECK(f.accepted.size() == 1);
    CHECK_FALSE(f.turn());
    for (std::size_t expected = 2; expected <= 3; ++expected) {
        f.acceptor.resume();
        f.turn();
        CHECK(f.accepted.size() == expected);
    }
    f.acceptor.resume();
    f.turn();
    CHECK_FALSE(f.turn());
}

TEST_CASE("acceptor: takes a place before each client, and returns the one that nobody came for",
          "[reactor][acceptor]") {
    Reactor reactor;
    std::size_t places = 3;
    std::vector<Fd> accepted;
    Acceptor acceptor{reactor,
                      listen_on(Address::parse("127.0.0.1:0")),
                      [&](Fd socket, const Address&) { accepted.push_back(std::move(socket)); },
                      {},
                      {.take =
                           [&] {
                               if (places == 0) return false;
                               --places;
                               return true;
                           },
                       .give_back = [&] { ++places; }}};
    const Address address = local_address(acceptor.listener());
    std::vector<Fd> clients;
    const auto connect = [&](int count) {
        for (int i = 0; i < count; ++i) clients.push_back(connect_to(address));
        reactor.run_once(Duration{0});
    };

    connect(2);
    CHECK(accepted.size() == 2);
    CHECK(places == 1);  // the third was taken, and came back
    CHECK_FALSE(acceptor.paused());

    connect(3);
    CHECK(accepted.size() == 3);
    CHECK(places == 0);
    CHECK(acceptor.paused());
    CHECK_FALSE(reactor.run_once(Duration{0}));  // waiting is not busy

    places = 5;
    acceptor.resume();
    reactor.run_once(Duration{0});
    CHECK(accepted.size() == 5);
    CHECK(places == 3);
}

TEST_CASE("acceptor: a place is not lost when accepting fails", "[reactor][acceptor]") {
    Reactor reactor;
    int taken = 0;
    Acceptor acceptor{reactor,
                      listen_on(Address::parse("127.0.0.1:0")),
                      [](Fd, const Address&) {},
                      {},
                      {.take = [&] { return ++taken > 0; }, .give_back = [&] { --taken; }}};
    const Fd client = connect_to(local_address(acceptor.listener()));
    {
        const eplb::test::DescriptorShortage none;
        reactor.run_once(Duration{0});
        CHECK(acceptor.short_of_resources());
        CHECK(taken == 0);
    }
    acceptor.resume();
    reactor.run_once(Duration{0});
    CHECK(taken == 1);
}

TEST_CASE("acceptor: resuming what was not paused changes nothing", "[reactor][acceptor]") {
    Fixture f;
    f.acceptor.resume();
    f.connect();
    f.turn();
    f.acceptor.resume();
    f.turn();
    CHECK(f.accepted.size() == 1);
    CHECK_FALSE(f.turn());
}

TEST_CASE("acceptor: a handler that throws does not strand the clients behind",
          "[reactor][acceptor]") {
    Fixture f;
    bool thrown = false;
    f.on_accept = [&] {
        if (!thrown) {
            thrown = true;
            throw std::runtime_error{"out of a handler"};
        }
    };
    f.connect(3);
    CHECK_THROWS_WITH(f.turn(), "out of a handler");
    f.turn();
    CHECK(f.accepted.size() == 3);
}

TEST_CASE(
    "acceptor: out of descriptors, it tells once, sleeps, and serves later without a new edge",
    "[reactor][acceptor]") {
    Fixture f;
    f.accepted.reserve(10);
    f.peers.reserve(10);
    f.shortages.reserve(10);
    f.connect(3);
    std::size_t accepted_at_first = 0;
    bool busy = false;
    bool retried_early = false;
    std::size_t shortages_after_retry = 0;
    {
        const eplb::test::DescriptorShortage shortage{1};
        f.turn();
        accepted_at_first = f.accepted.size();
        busy = f.turn();
        f.clock.advance(Acceptor::retry_delay - 1ms);
        f.turn();
        retried_early = f.shortages.size() > 1;
        f.clock.advance(1ms);
        f.turn();
        shortages_after_retry = f.shortages.size();
    }
    CHECK(accepted_at_first == 1);
    CHECK_FALSE(busy);
    CHECK_FALSE(retried_early);
    CHECK(shortages_after_retry == 2);
    CHECK(f.shortages.front() == EMFILE);
    CHECK(f.acceptor.short_of_resources());

    SECTION("by its own timer") {
        CHECK_FALSE(f.turn());
        f.clock.advance(Acceptor::retry_delay);
        CHECK(f.turn());
    }
    SECTION("by resume()") {
        f.acceptor.resume();
        CHECK(f.turn());
    }
    CHECK(f.accepted.size() == 3);
    CHECK_FALSE(f.acceptor.short_of_resources());
    CHECK(f.shortages.size() == 2);
    CHECK_FALSE(f.turn());
    f.clock.advance(1h);
    CHECK_FALSE(f.turn());
}

TEST_CASE("acceptor: a new client does not wake it while it is short of descriptors",
          "[reactor][acceptor]") {
    Fixture f;
    f.accepted.reserve(10);
    f.peers.reserve(10);
    f.shortages.reserve(10);
    f.connect(1);
    std::size_t shortages = 0;
    {
        const eplb::test::DescriptorShortage shortage;
        f.turn();
    }
    f.connect(1);  // descriptors are to be had again, but it does not know
    {
        const eplb::test::DescriptorShortage shortage;
        f.turn();
        f.turn();
        shortages = f.shortages.size();
    }
    CHECK(shortages == 1);
    f.clock.advance(Acceptor::retry_delay);
    f.turn();
    CHECK(f.accepted.size() == 2);
}

TEST_CASE("acceptor: paused during a shortage, it stays paused until resume()",
          "[reactor][acceptor]") {
    Fixture f;
    f.accepted.reserve(10);
    f.peers.reserve(10);
    f.shortages.reserve(10);
    f.connect(1);
    {
        const eplb::test::DescriptorShortage shortage;
        f.turn();
    }
    f.acceptor.pause();
    f.clock.advance(1s);
    f.turn();
    CHECK(f.accepted.empty());
    CHECK_FALSE(f.turn());
    f.acceptor.resume();
    f.turn();
    CHECK(f.accepted.size() == 1);
}

TEST_CASE("acceptor: a client that is gone before it was accepted does no harm",
          "[reactor][acceptor]") {
    Fixture f;
    f.connect(3);
    const Address gone = eplb::test::address_of(f.clients[1]);
    eplb::test::reset_connection(std::move(f.clients[1]));
    f.turn();
    // Linux hands out the dead one too: its peer's address is what accept(2) said.
    CHECK(f.accepted.size() >= 2);
    for (std::size_t i = 0; i < f.peers.size(); ++i) CHECK(f.peers[i].port() != 0);
    if (f.accepted.size() == 3) CHECK(f.peers[1] == gone);
    CHECK(f.peers.back() == eplb::test::address_of(f.clients[2]));
    CHECK_FALSE(f.turn());
}

TEST_CASE("acceptor: one that dies closes its listener and refuses clients",
          "[reactor][acceptor]") {
    const eplb::test::DescriptorCheck descriptors;
    ManualClock clock;
    Reactor reactor{clock};
    const eplb::test::DescriptorCheck with_reactor;
    Address address;
    {
        const Acceptor acceptor{reactor, listen_on(Address::parse("127.0.0.1:0")),
                                [](Fd, const Address&) {}};
        address = local_address(acceptor.listener());
    }
    CHECK(with_reactor.leaked() == 0);
    CHECK_FALSE(connect_to(address).valid());
    CHECK_FALSE(reactor.run_once(Duration{0}));
}

TEST_CASE("acceptor: a handler may close what it is given", "[reactor][acceptor]") {
    Fixture f;
    f.on_accept = [&] { f.accepted.clear(); };
    f.connect(2);
    f.turn();
    CHECK(f.peers.size() == 2);
    for (const Fd& client : f.clients) {
        char byte = 0;
        CHECK(::recv(client.get(), &byte, 1, 0) == 0);
    }
}

TEST_CASE("acceptor: a handler may destroy the acceptor, and what it holds itself",
          "[reactor][acceptor]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        ManualClock clock;
        Reactor reactor{clock};
        std::optional<Acceptor> acceptor;
        std::vector<Fd> accepted;
        const auto witness = std::make_shared<int>(1);
        const bool throws = GENERATE(false, true);
        acceptor.emplace(reactor, listen_on(Address::parse("127.0.0.1:0")),
                         [&, witness, throws](Fd socket, const Address&) {
                             accepted.push_back(std::move(socket));
                             acceptor.reset();
                             CHECK(*witness == 1);  // what runs is still there
                             if (throws) throw std::runtime_error{"the last word"};
                         });
        const Address address = local_address(acceptor->listener());
        const Fd first = connect_to(address);
        const Fd second = connect_to(address);
        if (throws) {
            CHECK_THROWS_WITH(reactor.run_once(Duration{0}), "the last word");
        } else {
            CHECK(reactor.run_once(Duration{0}));
        }
        CHECK(accepted.size() == 1);
        CHECK(witness.use_count() == 1);
        CHECK_FALSE(connect_to(address).valid());
        CHECK_FALSE(reactor.run_once(Duration{0}));
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("acceptor: a handler may destroy the acceptor while it closes", "[reactor][acceptor]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::optional<Acceptor> acceptor;
    int accepted = 0;
    acceptor.emplace(reactor, listen_on(Address::parse("127.0.0.1:0")), [&](Fd, const Address&) {
        ++accepted;
        acceptor.reset();
    });
    const Address address = local_address(acceptor->listener());
    const Fd first = connect_to(address);
    const Fd second = connect_to(address);
    acceptor->close();
    CHECK(accepted == 1);
    CHECK_FALSE(acceptor.has_value());
    CHECK_FALSE(reactor.run_once(Duration{0}));
}

TEST_CASE("acceptor: a handler may close it, and those who wait are accepted before",
          "[reactor][acceptor]") {
    Fixture f;
    int depth = 0;
    int deepest = 0;
    f.on_accept = [&] {
        deepest = std::max(deepest, ++depth);
        f.acceptor.close();
        --depth;
    };
    f.connect(20);
    f.turn();
    CHECK(f.accepted.size() == 20);
    CHECK(deepest == 2);  // not one for each who waits
    CHECK_FALSE(connect_to(f.address).valid());
    CHECK_FALSE(f.turn());
    f.acceptor.close();  // once more does nothing
    CHECK(f.accepted.size() == 20);
}

TEST_CASE("acceptor: those who wait when it closes are accepted a few a turn",
          "[reactor][acceptor]") {
    Fixture f;
    const int waiting = 3 * Acceptor::budget_per_turn;
    f.connect(waiting);
    int closed = 0;
    f.acceptor.close([&] { ++closed; });
    for (int turns = 1; turns <= 3; ++turns) {
        CHECK(f.accepted.size() == static_cast<std::size_t>(turns * Acceptor::budget_per_turn));
        CHECK(f.acceptor.listener().valid());
        CHECK(closed == 0);
        CHECK(f.turn());
    }
    CHECK(closed == 1);
    CHECK_FALSE(f.acceptor.listener().valid());
    CHECK_FALSE(f.turn());
    f.acceptor.close([&] { ++closed; });  // it is
    CHECK(closed == 2);
    CHECK(f.accepted.size() == static_cast<std::size_t>(waiting));
}

TEST_CASE("acceptor: nobody who keeps coming keeps it from closing", "[reactor][acceptor]") {
    Fixture f;
    bool closed = false;
    f.connect(1);
    f.on_accept = [&] { f.connect(1); };  // one is always there
    f.acceptor.close([&] { closed = true; });
    for (int turns = 0; turns < 100 && !closed; ++turns) f.turn();
    CHECK(closed);
    CHECK(f.accepted.size() == 4096);
    f.on_accept = {};
}

TEST_CASE("acceptor: one whose handler throws while it closes goes on with that in the next turn",
          "[reactor][acceptor]") {
    Fixture f;
    bool closed = false;
    f.connect(3);
    f.on_accept = [&] {
        if (f.accepted.size() == 1) throw std::runtime_error{"the first one"};
    };
    CHECK_THROWS_WITH(f.acceptor.close([&] { closed = true; }), "the first one");
    CHECK_FALSE(closed);
    CHECK(f.turn());
    CHECK(closed);
    CHECK(f.accepted.size() == 3);
    CHECK_FALSE(f.acceptor.listener().valid());
}

TEST_CASE("acceptor: who is told that it is closed may destroy it", "[reactor][acceptor]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::optional<Acceptor> acceptor;
    acceptor.emplace(reactor, listen_on(Address::parse("127.0.0.1:0")), [&](Fd, const Address&) {});
    acceptor->close([&] { acceptor.reset(); });
    CHECK_FALSE(acceptor.has_value());
    CHECK_FALSE(reactor.run_once(Duration{0}));
}

TEST_CASE("acceptor: who is told of a shortage may destroy it", "[reactor][acceptor]") {
    ManualClock clock;
    Reactor reactor{clock};
    std::optional<Acceptor> acceptor;
    int told = 0;
    acceptor.emplace(
        reactor, listen_on(Address::parse("127.0.0.1:0")), [](Fd, const Address&) {},
        [&](int error) {
            told = error;
            acceptor.reset();
        });
    const Fd client = connect_to(local_address(acceptor->listener()));
    {
        const eplb::test::DescriptorShortage none;
        reactor.run_once(Duration{0});
    }
    CHECK(told == EMFILE);
    clock.advance(1s);
    CHECK_FALSE(reactor.run_once(Duration{0}));
}

TEST_CASE("acceptor: works on a Unix socket, whose clients have no address",
          "[reactor][acceptor]") {
    const Address address = Address::parse("unix:@eplb-unit-accept-" + std::to_string(::getpid()));
    ManualClock clock;
    Reactor reactor{clock};
    std::vector<Address> peers;
    const Acceptor acceptor{reactor, listen_on(address),
                            [&](Fd, const Address& peer) { peers.push_back(peer); }};
    const Fd client = connect_to(address);
    reactor.run_once(Duration{0});
    CHECK(peers == std::vector{Address{}});
}

TEST_CASE("acceptor: what cannot be watched throws", "[reactor][acceptor]") {
    ManualClock clock;
    Reactor reactor{clock};
    CHECK_THROWS_AS((Acceptor{reactor, Fd{}, [](Fd, const Address&) {}}), std::system_error);
}
