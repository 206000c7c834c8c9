#include "reactor/listening.hpp"

#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/net.hpp"
#include "support/process.hpp"
#include "support/reserved_port.hpp"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/file.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::Fd;
using eplb::listen_together;
using eplb::ListenOptions;
using eplb::OptionFailure;
using eplb::try_options;
using eplb::try_to_listen;
using eplb::test::Folder;

namespace {

using Refusals = std::vector<std::pair<std::string, int>>;

Refusals told(const std::vector<OptionFailure>& failures) {
    Refusals all;
    for (const OptionFailure& failure : failures) all.emplace_back(failure.option, failure.error);
    return all;
}

ListenOptions with_congestion(const std::string& name) {
    ListenOptions options;
    options.socket.congestion = name;
    return options;
}

bool is_shared(const Fd& fd) {
    int value = 0;
    socklen_t length = sizeof value;
    REQUIRE(::getsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &value, &length) == 0);
    return value != 0;
}

// How many of several that come for an address in the same moment get it.
int winners(const Address& address, std::size_t sockets_each) {
    constexpr int contenders = 4;
    std::atomic<int> waiting{contenders};
    std::atomic<int> left{contenders};
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < contenders; ++i) {
        threads.emplace_back([&] {
            --waiting;
            while (waiting > 0) std::this_thread::yield();
            std::vector<Fd> sockets;
            try {
                sockets = listen_together(address, {}, sockets_each);
                ++won;
            } catch (const std::system_error&) {
                // Somebody else has it.
            }
            --left;
            while (left > 0) std::this_thread::yield();  // and keeps it till then
        });
    }
    for (std::thread& thread : threads) thread.join();
    return won;
}

}  // namespace

TEST_CASE("listening: several sockets share a port of one process", "[reactor][listening]") {
    const std::vector<Fd> sockets = listen_together(Address::parse("127.0.0.1:0"), {}, 3);
    REQUIRE(sockets.size() == 3);
    const Address address = eplb::local_address(sockets[0]);
    for (const Fd& socket : sockets) {
        CHECK(eplb::local_address(socket) == address);
        CHECK(is_shared(socket));
    }
    // The kernel shares the clients out.
    std::vector<Fd> clients;
    for (int i = 0; i < 64; ++i) clients.push_back(eplb::test::connect_to(address));
    std::size_t accepted = 0;
    for (const Fd& socket : sockets) {
        std::size_t own = 0;
        while (Fd{::accept(socket.get(), nullptr, nullptr)}.valid()) ++own;
        CHECK(own > 0);
        accepted += own;
    }
    CHECK(accepted == clients.size());
}

TEST_CASE("listening: one socket alone, or a Unix one, shares nothing", "[reactor][listening]") {
    const std::vector<Fd> alone = listen_together(Address::parse("127.0.0.1:0"), {}, 1);
    REQUIRE(alone.size() == 1);
    CHECK_FALSE(is_shared(alone[0]));
    const Folder folder;
    CHECK(listen_together(folder.socket("s"), {}, 3).size() == 1);
}

TEST_CASE("listening: whoever listens already keeps the address for itself",
          "[reactor][listening]") {
    const std::size_t count = GENERATE(1U, 3U);
    const std::vector<Fd> sockets = listen_together(Address::parse("127.0.0.1:0"), {}, count);
    const Address address = eplb::local_address(sockets[0]);
    for (const std::size_t others : {1U, 3U}) {
        try {
            static_cast<void>(listen_together(address, {}, others));
            FAIL("it was opened");
        } catch (const std::system_error& error) {
            CHECK(error.code().value() == EADDRINUSE);
        }
    }
}

TEST_CASE("listening: of those who come for an address in the same moment one gets it",
          "[reactor][listening]") {
    const Folder folder;
    for (int round = 0; round < 20; ++round) {
        CAPTURE(round);
        const eplb::test::ReservedPort port;  // bound, so nobody else takes it; but not listening
        CHECK(winners(port.address, 1) == 1);
    }
    for (int round = 0; round < 20; ++round) {
        CAPTURE(round);
        const eplb::test::ReservedPort port;
        CHECK(winners(port.address, 4) == 1);
    }
    for (int round = 0; round < 20; ++round) {
        CAPTURE(round);
        CHECK(winners(folder.socket("s"), 1) == 1);  // which then finds what the last one left
    }
}

TEST_CASE("listening: a folder that somebody else keeps locked is used all the same",
          "[reactor][listening]") {
    const Folder folder;
    const Fd lock{::open(folder.file("").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
    CHECK(eplb::listen_on(folder.socket("s")).valid());
}

TEST_CASE("listening: what is refused leaves no file behind", "[reactor][listening]") {
    // Root may give files away.
    CHECK(eplb::test::in_child([] {
              if (!eplb::test::become_unprivileged()) return 1;
              const Folder folder;
              ListenOptions options;
              options.owner = 0;
              try {
                  static_cast<void>(eplb::listen_on(folder.socket("s"), options));
                  return 2;
              } catch (const std::system_error& error) {
                  if (error.code().value() != EPERM) return 3;
              }
              if (std::filesystem::exists(folder.file("s"))) return 4;
              const auto refused = try_to_listen(folder.socket("s"), options);
              if (refused.size() != 1 || refused[0].option != std::string{"unix_owner"}) return 5;
              return std::filesystem::is_empty(folder.file("")) ? 0 : 6;
          }) == 0);
}

TEST_CASE("listening: options are tried on a socket that nobody gets", "[reactor][listening]") {
    CHECK(told(try_options({})) == Refusals{});
    CHECK(told(try_options(with_congestion("reno"))) == Refusals{});
    ListenOptions options = with_congestion("nosuch");
    options.socket.interface = "nosuch0";
    options.fast_open = 5;
    options.defer_accept = std::chrono::seconds{3};
    Refusals refused = told(try_options(options));
    CHECK(refused == Refusals{{"interface", ENODEV}, {"congestion", ENOENT}});
    CHECK(eplb::may_come_later(ENODEV));
    CHECK_FALSE(eplb::may_come_later(ENOENT));
}

TEST_CASE("listening: a source is an address of this machine, or refused", "[reactor][listening]") {
    CHECK(eplb::try_source(Address::parse("127.0.0.9:0"), {}) == 0);
    CHECK(eplb::try_source(Address::parse("192.0.2.1:0"), {}) == EADDRNOTAVAIL);
    CHECK(eplb::may_come_later(EADDRNOTAVAIL));
}

TEST_CASE("listening: whether an address can be listened on is found out without listening",
          "[reactor][listening]") {
    const eplb::test::DescriptorCheck descriptors;
    {
        const Fd taken = eplb::listen_on(Address::parse("127.0.0.1:0"));
        const Refusals in_use{{"listen", EADDRINUSE}};
        CHECK(told(try_to_listen(eplb::local_address(taken), {})) == in_use);
        const eplb::test::ReservedPort free;
        CHECK(told(try_to_listen(free.address, {})) == Refusals{});
        CHECK_FALSE(eplb::test::connect_to(free.address).valid());
        CHECK(told(try_to_listen(Address::parse("192.0.2.1:5"), {})) ==
              Refusals{{"listen", EADDRNOTAVAIL}});

        const Folder folder;
        CHECK(told(try_to_listen(folder.socket("s"), {})) == Refusals{});
        CHECK(std::filesystem::is_empty(folder.file("")));
        CHECK(told(try_to_listen(folder.socket("none/s"), {})) == Refusals{{"listen", ENOENT}});
        const Fd other = eplb::listen_on(folder.socket("other"));
        CHECK(told(try_to_listen(folder.socket("other"), {})) == in_use);
        std::ofstream{folder.file("file")} << "x";
        CHECK(told(try_to_listen(folder.socket("file"), {})) == in_use);
        const Fd abstract = eplb::listen_on(Address::parse("unix:@eplb-listening-test"));
        CHECK(told(try_to_listen(Address::parse("unix:@eplb-listening-test"), {})) == in_use);
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("listening: each change that the kernel refuses is told, and the others are made",
          "[reactor][listening]") {
    const Fd listener = eplb::listen_on(Address::parse("127.0.0.1:0"));
    ListenOptions options = with_congestion("nosuch");
    options.socket.interface = "nosuch0";
    options.socket.no_delay = false;
    CHECK(told(eplb::change_listener(listener, options)) ==
          Refusals{{"interface", ENODEV}, {"congestion", ENOENT}});
    int no_delay = 1;
    socklen_t length = sizeof no_delay;
    REQUIRE(::getsockopt(listener.get(), IPPROTO_TCP, 1, &no_delay, &length) == 0);
    CHECK(no_delay == 0);
    CHECK(eplb::change_options(listener, eplb::local_address(listener), options) == ENODEV);
    CHECK(told(eplb::change_listener(listener, {})) == Refusals{});
}
