#include "discovery/ares_channel.hpp"

#include "support/catch.hpp"
#include "support/dns.hpp"
#include "support/variable.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <functional>
#include <map>
#include <new>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace eplb::control;
using namespace eplb::test;
using eplb::Address;

namespace {

// A channel and its name server. Turns the channel by hand, as the resolver does by its reactor.
struct Rig {
    explicit Rig(bool edns) : channel{dns.address(), edns, 20s, watch()} {}

    AresChannel::OnSocket watch() {
        return [this](AresChannel& of, int fd, bool readable, bool writable) {
            whose = &of;
            if (readable || writable) {
                watched[fd] = writable;
            } else {
                watched.erase(fd);
            }
        };
    }

    void ask(const char* name) {
        ares_query(
            channel.get(), name, 1, dns_a,
            [](void* self, int status, int, unsigned char*, int) {
                static_cast<Rig*>(self)->ends.push_back(status);
            },
            this);
    }

    bool until(const std::function<bool()>& condition) {
        const auto guard = std::chrono::steady_clock::now() + 60s;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > guard) return false;
            dns.serve();
            const std::map<int, bool> sockets = watched;
            for (const auto& [fd, writes] : sockets) {
                pollfd ready{fd, static_cast<short>(POLLIN | (writes ? POLLOUT : 0)), 0};
                if (::poll(&ready, 1, 1) <= 0) continue;
                ares_process_fd(channel.get(), (ready.revents & POLLIN) != 0 ? fd : ARES_SOCKET_BAD,
                                (ready.revents & POLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
            }
        }
        return true;
    }

    DnsServer dns;
    std::map<int, bool> watched;  // and whether for writing, too
    AresChannel* whose = nullptr;
    std::vector<int> ends;
    AresChannel channel;
};

}  // namespace

TEST_CASE("ares channel: what c-ares says of itself is thrown as what it means",
          "[control][ares_channel]") {
    check_ares(ARES_SUCCESS);
    CHECK_THROWS_AS(check_ares(ARES_ENOMEM), std::bad_alloc);
    CHECK_THROWS_AS(check_ares(ARES_ENOTINITIALIZED), std::runtime_error);
    CHECK_THROWS_WITH(check_ares(ARES_EFILE), "cannot ask for names: error 14 of c-ares");
    init_ares();
    init_ares();  // as often as one likes
}

TEST_CASE("ares channel: it asks its server, and nobody whom the system names",
          "[control][ares_channel]") {
    const Variable options{"RES_OPTIONS", "ndots:7 timeout:9"};
    const Variable domains{"LOCALDOMAIN", "nobody.example"};
    for (const char* const text :
         {"127.0.0.1:5353", "192.0.2.1:53", "[::1]:53", "[2001:db8::1]:5300"}) {
        CAPTURE(text);
        const Address server = Address::parse(text);
        const AresChannel channel{server, true, 5s, [](AresChannel&, int, bool, bool) {}};
        CHECK(servers_of(channel.get()) == std::vector{server});
        CHECK(channel.queries == 0);
        CHECK(channel.awaited == 0);

        ares_options saved{};
        int mask = 0;
        REQUIRE(ares_save_options(channel.get(), &saved, &mask) == ARES_SUCCESS);
        CHECK(saved.ndots == 1);
        CHECK(saved.ndomains == 0);
        CHECK(saved.tries == 1);
        CHECK(saved.lookups == std::string{"b"});  // no file of hosts
        CHECK((saved.flags & ARES_FLAG_NOSEARCH) != 0);
        CHECK((saved.flags & ARES_FLAG_NOALIASES) != 0);
        ares_destroy_options(&saved);
    }
}

TEST_CASE("ares channel: time limits are ours: it forgets a minute later what nobody waits for",
          "[control][ares_channel]") {
    struct Row {
        eplb::Duration timeout;
        int milliseconds;
    };
    for (const auto& [timeout, milliseconds] :
         {Row{5s, 65'000}, Row{1ns, 60'001}, Row{eplb::Duration::max(), INT_MAX / 2}}) {
        CAPTURE(milliseconds);
        const AresChannel channel{Address::parse("127.0.0.1:53"), false, timeout,
                                  [](AresChannel&, int, bool, bool) {}};
        ares_options saved{};
        int mask = 0;
        REQUIRE(ares_save_options(channel.get(), &saved, &mask) == ARES_SUCCESS);
        CHECK(saved.timeout == milliseconds);
        ares_destroy_options(&saved);
    }
}

TEST_CASE("ares channel: it says which sockets are to be watched, and when no longer",
          "[control][ares_channel]") {
    Rig rig{false};
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 60, "10.0.0.1")}};
    CHECK(rig.watched.empty());
    rig.ask("db.example");
    CHECK(rig.watched.size() == 1);
    CHECK(rig.whose == &rig.channel);
    REQUIRE(rig.until([&] { return !rig.ends.empty(); }));
    CHECK(rig.ends == std::vector<int>{ARES_SUCCESS});
    CHECK(rig.dns.udp_questions == 1);
    REQUIRE(
        rig.until([&] { return rig.watched.empty(); }));  // it keeps none open that nobody needs
}

TEST_CASE("ares channel: what a server says is told as it is, however little sense it makes",
          "[control][ares_channel]") {
    Rig rig{false};
    rig.dns.replies[{"failed.example", dns_a}] = {.rcode = 2};
    rig.dns.replies[{"refused.example", dns_a}] = {.rcode = 5};
    for (const char* const name : {"failed.example", "refused.example", "nobody.example"})
        rig.ask(name);
    REQUIRE(rig.until([&] { return rig.ends.size() == 3; }));
    std::ranges::sort(rig.ends);
    CHECK(rig.ends == std::vector<int>{ARES_ESERVFAIL, ARES_ENOTFOUND, ARES_EREFUSED});
    CHECK(rig.dns.udp_questions == 3);  // each is asked for once
}

TEST_CASE("ares channel: it asks with EDNS, or without", "[control][ares_channel]") {
    const bool edns = GENERATE(false, true);
    CAPTURE(edns);
    Rig rig{edns};
    rig.dns.edns = DnsServer::Edns::silence;
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 60, "10.0.0.1")}};
    rig.ask("db.example");
    REQUIRE(rig.until([&] { return rig.dns.udp_questions == 1; }));
    if (edns) {
        CHECK(rig.ends.empty());  // the server says nothing to such a question
    } else {
        CHECK(rig.until([&] { return !rig.ends.empty(); }));
    }
}

TEST_CASE("ares channel: destroyed, it gives back what it was asked", "[control][ares_channel]") {
    DnsServer dns;
    std::vector<int> ends;
    std::map<int, bool> watched;
    {
        const AresChannel channel{dns.address(), true, 20s,
                                  [&](AresChannel&, int fd, bool readable, bool writable) {
                                      if (readable || writable) {
                                          watched[fd] = true;
                                      } else {
                                          watched.erase(fd);
                                      }
                                  }};
        for (const char* const name : {"a.example", "b.example"}) {
            ares_query(
                channel.get(), name, 1, dns_a,
                [](void* told, int status, int, unsigned char*, int) {
                    static_cast<std::vector<int>*>(told)->push_back(status);
                },
                &ends);
        }
        CHECK(ends.empty());
        CHECK(watched.size() == 1);
    }
    CHECK(ends == std::vector<int>{ARES_EDESTRUCTION, ARES_EDESTRUCTION});
    CHECK(watched.empty());
}
