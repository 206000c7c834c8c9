#include "eplb/connector.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/full_unix_socket.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

#include <cerrno>
#include <netinet/tcp.h>
#include <optional>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::ConnectOptions;
using eplb::Connector;
using eplb::Duration;
using eplb::Fd;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::test::FunctionTask;
using eplb::test::RefusingPort;

namespace {

struct Fixture {
    ManualClock clock;
    Reactor reactor{clock};
    std::optional<Connector> connector;
    Fd socket;
    std::vector<int> errors;  // of each call of the handler; 0: connected

    template <typename To>
    void connect(const To& to, ConnectOptions options = {}) {
        connector.emplace(
            reactor, to,
            [this](Fd made, int error) {
                socket = std::move(made);
                errors.push_back(error);
            },
            std::move(options));
    }
    bool turn() { return reactor.run_once(Duration{0}); }
    // On the loopback interface it is done, or refused, at once; the event may take its time.
    bool until_told() {
        for (int turns = 0; errors.empty() && turns < 100; ++turns) reactor.run_once(100ms);
        return !errors.empty();
    }
};

// A listener whose backlog is full: further clients get no answer at all.
struct SilentPort {
    SilentPort() {
        for (int i = 0; i < 3; ++i) clients.push_back(eplb::test::connect_to(address));
    }
    Fd listener = eplb::test::listener(0);
    Address address = eplb::test::address_of(listener);
    std::vector<Fd> clients;
};

}  // namespace

TEST_CASE("connector: hands on a connected socket, in a later turn", "[reactor][connector]") {
    Fixture f;
    const Fd listener = eplb::test::listener();
    f.connect(eplb::test::address_of(listener));
    CHECK(f.errors.empty());
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{0});
    REQUIRE(f.socket.valid());
    CHECK(eplb::test::is_nonblocking(f.socket.get()));
    CHECK(eplb::test::is_close_on_exec(f.socket.get()));
    CHECK(eplb::test::get_option(f.socket, IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK(eplb::test::get_option(f.socket, SOL_SOCKET, SO_KEEPALIVE) != 0);
    const Fd accepted = eplb::test::accept_one(listener);
    CHECK(::send(f.socket.get(), "x", 1, MSG_NOSIGNAL) == 1);
    CHECK_FALSE(f.turn());  // it is watched no longer, and its timer is off
    f.clock.advance(1h);
    CHECK_FALSE(f.turn());
    CHECK(f.errors.size() == 1);
}

TEST_CASE("connector: what is wrong is told as an errno, without a socket",
          "[reactor][connector]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        const RefusingPort refusing;
        int expected = 0;
        SECTION("refused") {
            f.connect(refusing.address);
            expected = ECONNREFUSED;
        }
        SECTION("a Unix socket that is not there") {
            f.connect(Address::parse("unix:/nobody/has/this"));
            expected = ENOENT;
        }
        SECTION("no address at all") {
            f.connect(Address{});
            expected = EAFNOSUPPORT;
        }
        SECTION("an option that the kernel does not take") {
            ConnectOptions options;
            options.socket.congestion = "none of that name";
            f.connect(refusing.address, options);
            expected = ENOENT;
        }
        CHECK(f.errors.empty());
        REQUIRE(f.until_told());
        CHECK(f.errors == std::vector{expected});
        CHECK_FALSE(f.socket.valid());
        CHECK_FALSE(f.turn());
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("connector: out of descriptors is told, too", "[reactor][connector]") {
    Fixture f;
    f.errors.reserve(1);
    const Fd listener = eplb::test::listener();
    const Address address = eplb::test::address_of(listener);
    {
        const eplb::test::DescriptorShortage none;
        f.connect(address);
    }
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{EMFILE});
}

TEST_CASE("connector: who does not answer in time is given up", "[reactor][connector]") {
    Fixture f;
    const SilentPort silent;
    ConnectOptions options;
    options.timeout = 3s;
    f.connect(silent.address, options);
    f.turn();
    f.clock.advance(2999ms);
    f.turn();
    CHECK(f.errors.empty());
    f.clock.advance(1ms);
    f.turn();
    CHECK(f.errors == std::vector{ETIMEDOUT});
    CHECK_FALSE(f.socket.valid());
}

TEST_CASE("connector: without a timeout it waits for as long as the kernel",
          "[reactor][connector]") {
    Fixture f;
    const SilentPort silent;
    ConnectOptions options;
    options.timeout = Duration{0};
    f.connect(silent.address, options);
    f.turn();
    CHECK(f.reactor.wait_time() < Duration{0});
    f.clock.advance(24h);
    f.turn();
    CHECK(f.errors.empty());
}

TEST_CASE("connector: who has answered did so in time, even if the turn comes late",
          "[reactor][connector]") {
    Fixture f;
    const Fd listener = eplb::test::listener();
    f.connect(eplb::test::address_of(listener));
    f.clock.advance(1h);
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{0});
}

TEST_CASE("connector: in a turn that is held up, the time to answer begins at its end",
          "[reactor][connector]") {
    const SilentPort silent;
    Fixture f;
    FunctionTask late{FunctionTask::waiting([&] {
        f.clock.advance(1min);
        ConnectOptions options;
        options.timeout = 5s;
        f.connect(silent.address, options);
    })};
    f.reactor.schedule(late);
    f.turn();
    f.turn();
    CHECK(f.errors.empty());
    f.clock.advance(4999ms);
    f.turn();
    CHECK(f.errors.empty());
    f.clock.advance(1ms);
    f.turn();
    CHECK(f.errors == std::vector{ETIMEDOUT});
}

TEST_CASE("connector: destroyed early, it closes the socket and tells nobody",
          "[reactor][connector]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        const Fd listener = eplb::test::listener();
        f.connect(eplb::test::address_of(listener));
        f.connector.reset();
        for (int turns = 0; turns < 3; ++turns) f.turn();
        CHECK(f.errors.empty());
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("connector: the handler may destroy it, connect again, and throw",
          "[reactor][connector]") {
    Fixture f;
    const Fd listener = eplb::test::listener();
    const Address address = eplb::test::address_of(listener);
    int calls = 0;
    f.connector.emplace(f.reactor, address, [&](Fd, int) {
        ++calls;
        f.connect(address);  // destroys the one that calls
        throw std::runtime_error{"out of a handler"};
    });
    CHECK_THROWS_WITH(
        [&] {
            for (int turns = 0; turns < 100; ++turns) f.reactor.run_once(100ms);
        }(),
        "out of a handler");
    REQUIRE(f.until_told());
    CHECK(calls == 1);
    CHECK(f.errors == std::vector{0});
}

TEST_CASE("connector: works on a Unix socket", "[reactor][connector]") {
    Fixture f;
    const Address address =
        Address::parse("unix:@eplb-unit-connector-" + std::to_string(::getpid()));
    const Fd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&raw), length) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    f.connect(address);
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{0});
}

TEST_CASE("connector: a connection to ourselves is nobody's answer", "[reactor][connector]") {
    // In a network of its own, where the only free port for the way out is the one that is dialled:
    // TCP then connects the socket to itself (simultaneous open).
    enum : int { fine = 0, cannot_try = 77 };
    const int code = eplb::test::in_child([]() -> int {
        if (!eplb::test::enter_network_with_ports(40000, 40000)) return cannot_try;
        for (const char* target : {"127.0.0.1:40000", "0.0.0.0:40000", ":40000"}) {
            Fixture f;
            f.connect(Address::parse(target));
            if (!f.until_told()) return 1;
            if (f.errors != std::vector{ECONNREFUSED} || f.socket.valid()) return 2;
        }
        return fine;
    });
    if (code == cannot_try) EPLB_SKIP("no network namespaces");
    CHECK(code == fine);
}

TEST_CASE("connector: a Unix socket whose backlog is full is asked again, and connected to in time",
          "[reactor][connector]") {
    Fixture f;
    eplb::test::FullUnixSocket full;
    f.connect(full.address, {.timeout = 10s, .socket = {}});
    for (int i = 0; i < 50; ++i) {
        f.clock.advance(100ms);
        f.turn();
        REQUIRE(f.errors.empty());
    }
    full.accept_one();
    f.clock.advance(100ms);
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{0});
    CHECK(f.socket.valid());
}

TEST_CASE("connector: until its timeout is over", "[reactor][connector]") {
    Fixture f;
    eplb::test::FullUnixSocket full;
    f.connect(full.address, {.timeout = 1s, .socket = {}});
    f.clock.advance(999ms);
    f.turn();
    f.turn();
    REQUIRE(f.errors.empty());
    f.clock.advance(3ms);
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{EAGAIN});
}

TEST_CASE("connector: of several addresses the first that answers is taken",
          "[reactor][connector]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        Fixture f;
        const RefusingPort refusing;
        const SilentPort silent;
        const Fd good = eplb::test::listener();
        const Fd not_asked = eplb::test::listener();
        f.connect(std::vector{refusing.address, silent.address, eplb::test::address_of(good),
                              eplb::test::address_of(not_asked)},
                  {.timeout = 3s, .socket = {}});
        for (int turns = 0; turns < 100 && f.errors.empty(); ++turns) {
            f.reactor.run_once(10ms);
            f.clock.advance(100ms);  // the whole timeout is for each
        }
        CHECK(f.errors == std::vector{0});
        CHECK(eplb::test::accept_one(good).valid());
        CHECK(f.clock.now() - eplb::TimePoint{} >= 3s);
        f.socket.reset();
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("connector: if none of them answers, the last one's error is told",
          "[reactor][connector]") {
    Fixture f;
    const RefusingPort refusing;
    const Address missing = Address::parse("unix:/nobody/has/this");
    f.connect(std::vector{refusing.address, missing});
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{ENOENT});
    CHECK_FALSE(f.socket.valid());
    f.errors.clear();
    f.connect(std::vector<Address>{});
    CHECK(f.errors.empty());
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{EDESTADDRREQ});
}

TEST_CASE("connector: what this machine lacks, no other address has", "[reactor][connector]") {
    Fixture f;
    f.errors.reserve(1);
    const Fd listener = eplb::test::listener();
    const RefusingPort refusing;
    const std::vector to{eplb::test::address_of(listener), refusing.address};
    {
        const eplb::test::DescriptorShortage none;
        f.connect(to);
    }
    REQUIRE(f.until_told());
    CHECK(f.errors == std::vector{EMFILE});
}

TEST_CASE("connector: comes from the source that it is given, whatever its port",
          "[reactor][connector]") {
    Fixture f;
    const Fd listener = eplb::test::listener();
    const Address address = eplb::test::address_of(listener);
    f.connect(address, {.socket = {}, .source = Address::parse("127.0.0.77:1")});
    REQUIRE(f.until_told());
    REQUIRE(f.errors == std::vector{0});
    const Address own = eplb::test::address_of(f.socket);
    CHECK(own.to_string().starts_with("127.0.0.77:"));
    CHECK(own.port() != 1);
    SECTION("but not towards another family") {
        f.errors.clear();
        f.connect(address, {.socket = {}, .source = Address::parse("[::1]:1")});
        REQUIRE(f.until_told());
        CHECK(f.errors == std::vector{0});
    }
    SECTION("one that this machine does not have is refused") {
        f.errors.clear();
        f.connect(address, {.socket = {}, .source = Address::parse("192.0.2.1:1")});
        REQUIRE(f.until_told());
        CHECK(f.errors == std::vector{EADDRNOTAVAIL});
    }
}
