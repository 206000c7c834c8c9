#include "discovery/resolver.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"
#include "support/dns.hpp"
#include "support/process.hpp"

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace eplb::control;
using namespace eplb::test;
using eplb::Address;
using eplb::Duration;
using eplb::Reactor;
using Status = NameAnswer::Status;

namespace {

using Lines = std::vector<std::string>;

// A resolver that asks a name server of the test's own. c-ares looks at the real clock.
struct Rig {
    explicit Rig(NameFamily family = NameFamily::automatic, Duration timeout = 20s,
                 SystemNames system = SystemNames::read())
        : resolver{make(family, timeout, std::move(system))} {}

    std::unique_ptr<Resolver> make(NameFamily family, Duration timeout,
                                   SystemNames system = SystemNames::read()) {
        DnsOptions values;
        values.servers = {dns.address()};
        values.family = family;
        values.timeout = timeout;
        return std::make_unique<Resolver>(reactor, values, std::move(system));
    }

    void turn_until(const std::function<bool()>& condition) {
        const auto guard = std::chrono::steady_clock::now() + 30s;
        while (!condition()) {
            reactor.run_once(1ms);
            dns.serve();
            REQUIRE(std::chrono::steady_clock::now() < guard);
        }
    }
    NameAnswer ask(std::string_view address) {
        std::optional<NameAnswer> answer;
        resolver->ask(*NameQuestion::parse(address),
                      [&](const NameAnswer& given) { answer = given; });
        CHECK_FALSE(answer);
        turn_until([&] { return answer.has_value(); });
        return *answer;
    }

    DnsServer dns;
    Reactor reactor;
    std::unique_ptr<Resolver> resolver;
};

// "good 60s: 10.0.0.1:1", or why not.
std::string text_of(const NameAnswer& answer) {
    static constexpr std::string_view words[] = {"good", "no such name", "no data", "unanswered"};
    std::string text{words[static_cast<std::size_t>(answer.status)]};
    if (answer.status != Status::good) return text + ": " + answer.problem;
    text += fmt::format(" {}s:", answer.ttl / 1s);
    for (const NameTarget& target : answer.targets) {
        text += " " + target.address.to_string();
        if (target.priority != 0 || target.weight != 0)
            text += fmt::format("({},{})", target.priority, target.weight);
    }
    return text;
}

}  // namespace

TEST_CASE("resolver: a name stands for all of its addresses, for the shortest TTL",
          "[control][resolver]") {
    Rig rig;
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 60, "10.0.0.2"),
                                                          a_record("db.example", 30, "10.0.0.1"),
                                                          a_record("db.example", 90, "10.0.0.2")}};
    CHECK(text_of(rig.ask("db.example:3306")) == "good 30s: 10.0.0.1:3306 10.0.0.2:3306");
    rig.dns.replies[{"alias.example", dns_a}] = {
        .records = {cname_record("alias.example", 7, "db.example"),
                    a_record("db.example", 60, "10.0.0.1")}};
    CHECK(text_of(rig.ask("alias.example:1")) == "good 7s: 10.0.0.1:1");
    rig.dns.replies[{"zero.example", dns_a}] = {
        .records = {a_record("zero.example", 0xffffffff, "10.0.0.1")}};
    CHECK(text_of(rig.ask("zero.example:1")) == "good 0s: 10.0.0.1:1");
}

TEST_CASE("resolver: which kinds of addresses count is configured", "[control][resolver]") {
    const auto [family, both, only_v6] = GENERATE(
        std::tuple{NameFamily::automatic, "good 60s: 10.0.0.1:1", "good 60s: [2001:db8::2]:1"},
        std::tuple{NameFamily::both, "good 50s: 10.0.0.1:1 [2001:db8::1]:1",
                   "good 60s: [2001:db8::2]:1"},
        std::tuple{NameFamily::ipv4, "good 60s: 10.0.0.1:1", "no data: it has no address"},
        std::tuple{NameFamily::ipv6, "good 50s: [2001:db8::1]:1", "good 60s: [2001:db8::2]:1"});
    Rig rig{family};
    rig.dns.replies[{"both.example", dns_a}] = {
        .records = {a_record("both.example", 60, "10.0.0.1")}};
    rig.dns.replies[{"both.example", dns_aaaa}] = {
        .records = {aaaa_record("both.example", 50, "2001:db8::1")}};
    rig.dns.replies[{"six.example", dns_a}] = {};
    rig.dns.replies[{"six.example", dns_aaaa}] = {
        .records = {aaaa_record("six.example", 60, "2001:db8::2")}};
    CHECK(text_of(rig.ask("both.example:1")) == both);
    CHECK(text_of(rig.ask("six.example:1")) == only_v6);
}

TEST_CASE("resolver: of two kinds, one that nobody knows makes the answer unknown where it matters",
          "[control][resolver]") {
    const auto [family, no_v4, no_v6] =
        GENERATE(std::tuple{NameFamily::automatic, Status::unanswered, Status::good},
                 std::tuple{NameFamily::both, Status::good, Status::good});
    Rig rig{family};
    rig.dns.replies[{"a.example", dns_a}] = {.rcode = 2};
    rig.dns.replies[{"a.example", dns_aaaa}] = {.records = {aaaa_record("a.example", 1, "::2")}};
    rig.dns.replies[{"b.example", dns_a}] = {.records = {a_record("b.example", 1, "10.0.0.1")}};
    rig.dns.replies[{"b.example", dns_aaaa}] = {.rcode = 2};
    const NameAnswer a = rig.ask("a.example:1");
    const NameAnswer b = rig.ask("b.example:1");
    CHECK(a.status == no_v4);
    CHECK(b.status == no_v6);
    if (family == NameFamily::automatic) return;
    // Of both, the one is no reason to do without the other.
    REQUIRE(a.unanswered.size() == 1);
    CHECK(a.unanswered[0].family == AF_INET);
    CHECK(a.unanswered[0].host == "a.example");
    CHECK(a.problem == "IPv4 addresses: the name server failed (SERVFAIL)");
    CHECK(text_of(a) == "good 1s: [::2]:1");
    REQUIRE(b.unanswered.size() == 1);
    CHECK(b.unanswered[0].family == AF_INET6);
    CHECK(text_of(b) == "good 1s: 10.0.0.1:1");
}

TEST_CASE(
    "resolver: of two kinds, and of a service's hosts, one that is silent is told in time, "
    "beside the others",
    "[control][resolver]") {
    Rig rig{NameFamily::both, 300ms};
    rig.dns.replies[{"a.example", dns_a}] = {.records = {a_record("a.example", 1, "10.0.0.1")}};
    rig.dns.replies[{"a.example", dns_aaaa}] = {.rcode = -1};
    const NameAnswer a = rig.ask("a.example:1");
    CHECK(text_of(a) == "good 1s: 10.0.0.1:1");
    REQUIRE(a.unanswered.size() == 1);
    CHECK(a.problem == "IPv6 addresses: no name server answers");

    rig.dns.replies[{"a.example", dns_aaaa}] = {};
    rig.dns.replies[{"mute.example", dns_a}] = {.rcode = -1};
    rig.dns.replies[{"mute.example", dns_aaaa}] = {.rcode = -1};
    rig.dns.replies[{"s.example", dns_srv}] = {
        .records = {srv_record("s.example", 60, 1, 2, 3, "a.example"),
                    srv_record("s.example", 60, 4, 5, 6, "mute.example")}};
    const NameAnswer s = rig.ask("srv:s.example");
    CHECK(text_of(s) == "good 1s: 10.0.0.1:3(1,2)");
    REQUIRE(s.unanswered.size() == 1);
    CHECK(s.unanswered[0].host == "mute.example");
}

TEST_CASE("resolver: what goes wrong is a value", "[control][resolver]") {
    Rig rig;
    rig.dns.replies[{"empty.example", dns_a}] = {};
    rig.dns.replies[{"empty.example", dns_aaaa}] = {};
    rig.dns.replies[{"half.example", dns_a}] = {};
    rig.dns.replies[{"servfail.example", dns_a}] = {.rcode = 2};
    rig.dns.replies[{"refused.example", dns_a}] = {.rcode = 5};
    CHECK(text_of(rig.ask("nosuch.example:1")) == "no such name: there is no such name");
    CHECK(text_of(rig.ask("srv:nosuch.example")) == "no such name: there is no such name");
    CHECK(text_of(rig.ask("empty.example:1")) == "no data: it has no address");
    CHECK(text_of(rig.ask("half.example:1")) == "no data: it has no address");
    CHECK(text_of(rig.ask("servfail.example:1")) ==
          "unanswered: the name server failed (SERVFAIL)");
    CHECK(text_of(rig.ask("refused.example:1")) ==
          "unanswered: the name server refused to answer (REFUSED)");
}

TEST_CASE("resolver: a server that says nothing, or is not there, is told in time",
          "[control][resolver]") {
    Rig silent{NameFamily::automatic, 150ms};
    silent.dns.replies[{"db.example", dns_a}] = {.rcode = -1};
    CHECK(text_of(silent.ask("db.example:1")) == "unanswered: no answer within 150ms");
    CHECK(silent.dns.udp_questions >= 2);  // a lost datagram does no harm

    Reactor reactor;
    DnsOptions values;
    {
        const DnsServer gone;
        values.servers = {gone.address()};
    }
    Resolver resolver{reactor, values};
    std::optional<NameAnswer> answer;
    resolver.ask({"db.example", 1}, [&](const NameAnswer& given) { answer = given; });
    const auto guard = std::chrono::steady_clock::now() + 30s;
    while (!answer && std::chrono::steady_clock::now() < guard) reactor.run_once(1s);
    REQUIRE(answer);
    CHECK(text_of(*answer) == "unanswered: no name server can be reached");
}

TEST_CASE("resolver: the next server is asked when the first is not there", "[control][resolver]") {
    Rig rig;
    DnsOptions values;
    {
        const DnsServer gone;
        values.servers = {gone.address(), rig.dns.address()};
    }
    values.timeout = 20s;
    rig.resolver = std::make_unique<Resolver>(rig.reactor, values);
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 1, "10.0.0.1")}};
    CHECK(text_of(rig.ask("db.example:1")) == "good 1s: 10.0.0.1:1");
}

TEST_CASE("resolver: a service stands for the addresses of all of its hosts",
          "[control][resolver]") {
    Rig rig;
    rig.dns.replies[{"_db._tcp.example", dns_srv}] = {
        .records = {srv_record("_db._tcp.example", 60, 10, 5, 3306, "a.example"),
                    srv_record("_db._tcp.example", 60, 20, 0, 3307, "b.example"),
                    srv_record("_db._tcp.example", 60, 10, 6, 3308, "a.example"),
                    srv_record("_db._tcp.example", 60, 10, 6, 3309, "gone.example")}};
    rig.dns.replies[{"a.example", dns_a}] = {
        .records = {a_record("a.example", 50, "10.0.0.1"), a_record("a.example", 50, "10.0.0.2")}};
    rig.dns.replies[{"b.example", dns_aaaa}] = {.records = {aaaa_record("b.example", 40, "::2")}};
    CHECK(text_of(rig.ask("srv:_db._tcp.example")) ==
          "good 40s: 10.0.0.1:3306(10,5) 10.0.0.1:3308(10,6) 10.0.0.2:3306(10,5) "
          "10.0.0.2:3308(10,6) [::2]:3307(20,0)");
}

TEST_CASE("resolver: a host of a service that cannot be asked for is told beside the others",
          "[control][resolver]") {
    Rig rig;
    rig.dns.replies[{"s.example", dns_srv}] = {
        .records = {srv_record("s.example", 60, 1, 2, 3, "a.example"),
                    srv_record("s.example", 60, 4, 5, 6, "broken.example")}};
    rig.dns.replies[{"a.example", dns_a}] = {.records = {a_record("a.example", 50, "10.0.0.1")}};
    rig.dns.replies[{"broken.example", dns_a}] = {.rcode = 2};
    const NameAnswer answer = rig.ask("srv:s.example");
    CHECK(text_of(answer) == "good 50s: 10.0.0.1:3(1,2)");
    REQUIRE(answer.unanswered.size() == 1);
    CHECK(answer.unanswered[0].host == "broken.example");
    CHECK(answer.unanswered[0].port == 6);
    CHECK_THAT(answer.problem, starts_with("broken.example: "));
}

TEST_CASE("resolver: a service without hosts, or without addresses, has no data",
          "[control][resolver]") {
    Rig rig;
    rig.dns.replies[{"dot.example", dns_srv}] = {
        .records = {srv_record("dot.example", 1, 0, 0, 0, "")}};
    rig.dns.replies[{"empty.example", dns_srv}] = {};
    rig.dns.replies[{"none.example", dns_srv}] = {
        .records = {srv_record("none.example", 1, 0, 0, 1, "gone.example")}};
    CHECK(text_of(rig.ask("srv:dot.example")) == "no data: it has no address");
    CHECK(text_of(rig.ask("srv:empty.example")) == "no data: it has no address");
    CHECK(text_of(rig.ask("srv:none.example")) == "no data: none of its hosts has an address");
}

TEST_CASE("resolver: an answer that is too large for a datagram comes by TCP, in pieces or at once",
          "[control][resolver]") {
    Rig rig;
    DnsReply reply;
    for (int i = 0; i < 250; ++i)
        reply.records.push_back(a_record("many.example", 60, fmt::format("10.0.1.{}", i)));
    rig.dns.replies[{"many.example", dns_a}] = reply;
    rig.dns.tcp_piece_bytes = GENERATE(std::size_t{700}, std::size_t{100'000});
    CHECK(rig.ask("many.example:1").targets.size() == 250);
    CHECK(rig.dns.tcp_questions == 1);
}

TEST_CASE("resolver: an answer that is larger than sense is none", "[control][resolver]") {
    Rig rig;
    DnsReply hosts;
    DnsReply services;
    for (int i = 0; i <= 1000; ++i) {
        hosts.records.push_back(
            a_record("many.example", 60, fmt::format("10.1.{}.{}", i / 250, i % 250)));
        services.records.push_back(srv_record("srv.example", 60, 0, 0, 1, fmt::format("h{}", i)));
    }
    rig.dns.replies[{"many.example", dns_a}] = hosts;
    rig.dns.replies[{"srv.example", dns_srv}] = services;
    CHECK(text_of(rig.ask("many.example:1")) ==
          "unanswered: the answer has more than 1000 addresses");
    CHECK(text_of(rig.ask("srv:srv.example")) ==
          "unanswered: the answer has more than 1000 addresses");
}

TEST_CASE("resolver: localhost is this machine, and nobody is asked", "[control][resolver]") {
    const auto [family, expected] = GENERATE(std::pair{NameFamily::automatic, " 127.0.0.1:1"},
                                             std::pair{NameFamily::both, " 127.0.0.1:1 [::1]:1"},
                                             std::pair{NameFamily::ipv6, " [::1]:1"});
    Rig rig{family};
    CHECK_THAT(text_of(rig.ask("localhost:1")), ends_with(fmt::format("s:{}", expected)));
    rig.dns.replies[{"s.example", dns_srv}] = {
        .records = {srv_record("s.example", 60, 0, 0, 1, "localhost")}};
    CHECK(text_of(rig.ask("srv:s.example")) == fmt::format("good 60s:{}", expected));
    CHECK(rig.dns.udp_questions == 1);
}

TEST_CASE("resolver: nothing is in invalid, and nobody is asked", "[control][resolver]") {
    Rig rig;
    for (const char* const name : {"nosuch.invalid:1", "invalid.:1", "srv:_db._tcp.nosuch.invalid"})
        CHECK(text_of(rig.ask(name)) == "no such name: there is no such name");
    CHECK(rig.dns.udp_questions == 0);
    CHECK(rig.ask("notinvalid:1").status == Status::no_such_name);
    CHECK(rig.dns.udp_questions > 0);
}

TEST_CASE("resolver: /etc/hosts counts, and asks nobody", "[control][resolver]") {
    std::ifstream hosts{"/etc/hosts"};
    std::string address;
    std::string name;
    for (std::string line; std::getline(hosts, line) && (name.empty() || name == "localhost");) {
        if (!line.starts_with("127.")) continue;
        std::istringstream{line} >> address >> name;
    }
    if (name.empty() || name == "localhost") EPLB_SKIP("nobody but localhost is in /etc/hosts");
    Rig rig;
    CHECK_THAT(text_of(rig.ask(name + ":1")), contains(fmt::format(" {}:1", address)));
    CHECK(rig.dns.udp_questions == 0);
}

TEST_CASE("resolver: it may be destroyed at any time, and leaves nothing open",
          "[control][resolver]") {
    const DescriptorCheck descriptors;
    {
        Rig rig;
        rig.dns.replies[{"db.example", dns_a}] = {
            .records = {a_record("db.example", 1, "10.0.0.1")}};
        bool told = false;
        // Inside its callback, with more questions on their way.
        rig.resolver->ask({"db.example", 1}, [&](const NameAnswer&) {
            rig.resolver.reset();
            told = true;
        });
        rig.resolver->ask({"db.example", 2}, [&](const NameAnswer&) { told = true; });
        rig.turn_until([&] { return told; });
        CHECK_FALSE(rig.resolver);
        rig.reactor.run_once(0ms);

        // While it waits, and while an answer of its is waiting to be told.
        for (const std::string_view address : {"db.example:1", "srv:db.example", "localhost:1"}) {
            rig.resolver = rig.make(NameFamily::both, 20s);
            rig.resolver->ask(*NameQuestion::parse(address),
                              [](const NameAnswer&) { FAIL("nobody is there any more"); });
            rig.resolver.reset();
            rig.dns.serve();
            rig.reactor.run_once(0ms);
        }
    }
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("resolver: whoever is told may ask again at once", "[control][resolver]") {
    Rig rig;
    int told = 0;
    NameSource::Done again = [&](const NameAnswer&) {
        if (++told < 3) rig.resolver->ask({"localhost", 1}, again);
    };
    rig.resolver->ask({"localhost", 1}, again);
    rig.turn_until([&] { return told == 3; });
}

TEST_CASE("resolver: no socket is open while nothing is asked", "[control][resolver]") {
    Rig rig;
    const DescriptorCheck descriptors;
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 1, "10.0.0.1")}};
    CHECK(rig.ask("db.example:1").status == Status::good);
    CHECK(descriptors.leaked() == 0);
    rig.reactor.run_once(0ms);
    CHECK(rig.reactor.wait_time() < 0ms);
}

TEST_CASE("resolver: a server that fails is told as that, though another is silent or gone",
          "[control][resolver]") {
    Rig rig;
    DnsServer other;
    DnsOptions values;
    {
        const DnsServer gone;
        values.servers = {gone.address(), rig.dns.address(), other.address()};
    }
    values.timeout = 500ms;
    rig.resolver = std::make_unique<Resolver>(rig.reactor, values, SystemNames{});
    rig.dns.replies[{"db.example", dns_a}] = {.rcode = 2};
    CHECK(text_of(rig.ask("db.example:1")) == "unanswered: the name server failed (SERVFAIL)");
    // And one that fails is no reason not to ask the next.
    values.servers = {rig.dns.address(), other.address()};
    values.timeout = 20s;
    rig.resolver = std::make_unique<Resolver>(rig.reactor, values, SystemNames{});
    other.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 1, "10.0.0.1")}};
    std::optional<NameAnswer> answer;
    rig.resolver->ask({"db.example", 1}, [&](const NameAnswer& given) { answer = given; });
    rig.turn_until([&] {
        other.serve();
        return answer.has_value();
    });
    CHECK(text_of(*answer) == "good 1s: 10.0.0.1:1");
}

TEST_CASE("resolver: a server that does not know EDNS is asked without, several at a time",
          "[control][resolver]") {
    Rig rig{NameFamily::automatic, 3s, SystemNames{}};
    rig.dns.edns =
        GENERATE(DnsServer::Edns::format_error, DnsServer::Edns::format_error_without_question,
                 DnsServer::Edns::silence);
    std::size_t good = 0;
    for (int i = 0; i < 5; ++i) {
        const std::string name = fmt::format("h{}.example", i);
        rig.dns.replies[{name, dns_a}] = {.records = {a_record(name, 1, "10.0.0.1")}};
        rig.resolver->ask({name, 1}, [&](const NameAnswer& answer) {
            CHECK(text_of(answer) == "good 1s: 10.0.0.1:1");
            ++good;
        });
    }
    rig.turn_until([&] { return good == 5; });
    // That is remembered.
    const int before = rig.dns.udp_questions;
    CHECK(rig.ask("h0.example:1").status == Status::good);
    CHECK(rig.dns.udp_questions == before + 1);
}

TEST_CASE("resolver: hosts and services are looked for in the domains of the search list",
          "[control][resolver]") {
    SystemNames system;
    system.search = {"one.test", "two.test"};
    system.ndots = 2;
    Rig rig{NameFamily::automatic, 20s, system};
    rig.dns.replies[{"db.two.test", dns_a}] = {.records = {a_record("db.two.test", 1, "10.0.0.2")}};
    rig.dns.replies[{"db", dns_a}] = {.records = {a_record("db", 1, "10.0.0.9")}};
    CHECK(text_of(rig.ask("db:1")) == "good 1s: 10.0.0.2:1");
    CHECK(text_of(rig.ask("db.:1")) == "good 1s: 10.0.0.9:1");
    rig.dns.replies[{"_db._tcp.two.test", dns_srv}] = {
        .records = {srv_record("_db._tcp.two.test", 60, 1, 2, 3, "db.two.test"),
                    srv_record("_db._tcp.two.test", 60, 1, 2, 3, "h")}};
    // What an answer names is complete.
    rig.dns.replies[{"h.one.test", dns_a}] = {.records = {a_record("h.one.test", 1, "10.0.0.3")}};
    CHECK(text_of(rig.ask("srv:_db._tcp")) == "good 1s: 10.0.0.2:3(1,2)");
    CHECK(rig.ask("srv:_db._tcp.").status == Status::no_such_name);
    // With dots enough, as it is at first; and a domain that nobody answers for ends it.
    rig.dns.replies[{"a.b.c", dns_a}] = {.records = {a_record("a.b.c", 1, "10.0.0.4")}};
    rig.dns.replies[{"a.b.c.one.test", dns_a}] = {
        .records = {a_record("a.b.c.one.test", 1, "10.0.0.5")}};
    CHECK(text_of(rig.ask("a.b.c:1")) == "good 1s: 10.0.0.4:1");
    rig.dns.replies[{"db.one.test", dns_a}] = {.rcode = 2};
    CHECK(text_of(rig.ask("db:1")) == "unanswered: the name server failed (SERVFAIL)");
}

TEST_CASE("resolver: of many questions a few are asked at a time", "[control][resolver]") {
    Rig rig{NameFamily::automatic, 20s, SystemNames{}};
    DnsReply services;
    for (int i = 0; i < 500; ++i) {
        const std::string name = fmt::format("h{}", i);
        services.records.push_back(srv_record("s.example", 60, 1, 1, 1, name));
        rig.dns.replies[{name, dns_a}] = {
            .records = {a_record(name, 60, fmt::format("10.1.{}.{}", i / 250, i % 250))}};
    }
    rig.dns.replies[{"s.example", dns_srv}] = services;
    CHECK(rig.ask("srv:s.example").targets.size() == 500);
    CHECK(static_cast<std::size_t>(rig.dns.most_at_once) <= Resolver::most_in_flight);
}

namespace {

// A file that is gone with it.
struct TemporaryFile {
    TemporaryFile() {
        const int fd = ::mkstemp(path.data());
        REQUIRE(fd >= 0);
        ::close(fd);
    }
    ~TemporaryFile() { ::unlink(path.c_str()); }
    void write(const std::string& text) const { std::ofstream{path} << text; }
    std::string path = "/tmp/eplb-hosts-XXXXXX";
};

}  // namespace

TEST_CASE("resolver: what is written into the file of hosts counts soon", "[control][resolver]") {
    const TemporaryFile file;
    SystemNames system;
    system.hosts_path = file.path;
    Rig rig{NameFamily::both, 20s, system};
    CHECK(rig.ask("db.example:1").status == Status::no_such_name);
    file.write(
        "10.0.0.1 DB.example db # 10.0.0.9 x\n::5\tdb.example\nnonsense here\n10.0.0.2 db\n");
    rig.turn_until([&] { return rig.ask("db.example:1").status == Status::good; });
    CHECK(text_of(rig.ask("db.example:1")) == "good 0s: 10.0.0.1:1 [::5]:1");
    CHECK(text_of(rig.ask("db.:1")) == "good 0s: 10.0.0.1:1 10.0.0.2:1");
    CHECK(rig.ask("x:1").status == Status::no_such_name);
    CHECK(rig.ask("here:1").status == Status::no_such_name);
}

TEST_CASE("resolver: a file of hosts that cannot be read holds nobody up", "[control][resolver]") {
    const TemporaryFile file;
    REQUIRE(::unlink(file.path.c_str()) == 0);
    REQUIRE(::mkfifo(file.path.c_str(), 0600) == 0);  // to open it takes somebody who writes
    SystemNames system;
    system.hosts_path = file.path;
    Rig rig{NameFamily::automatic, 20s, system};
    rig.dns.replies[{"db.example", dns_a}] = {.records = {a_record("db.example", 1, "10.0.0.1")}};
    const auto begin = std::chrono::steady_clock::now();
    bool asked = false;
    while (!asked) {
        asked =
            std::chrono::steady_clock::now() - begin > 1100ms;  // what is known is older than that
        CHECK(text_of(rig.ask("db.example:1")) == "good 1s: 10.0.0.1:1");
        rig.reactor.run_once(10ms);
    }
    rig.resolver.reset();
    // The thread goes on waiting, and is let go; it may not have come so far.
    const int writer = ::open(file.path.c_str(), O_WRONLY | O_NONBLOCK);
    if (writer >= 0) ::close(writer);
}

namespace {

constexpr Duration short_timeout = 1s;

// As a process that is stopped until every time that it has given is over.
void stand_still() {
    const auto end = std::chrono::steady_clock::now() + 2 * short_timeout;
    while (std::chrono::steady_clock::now() < end) ::usleep(1000);
}

}  // namespace

TEST_CASE("resolver: what came while the process was stopped is read before its time is over",
          "[control][resolver][late]") {
    // Each knows one of the names, and is silent when it is asked for the other.
    Rig rig;
    DnsServer other;
    rig.dns.replies[{"one.example", dns_a}] = {
        .records = {a_record("one.example", 60, "10.0.0.1")}};
    rig.dns.replies[{"two.example", dns_a}] = {.rcode = -1};
    other.replies[{"one.example", dns_a}] = {.rcode = -1};
    other.replies[{"two.example", dns_a}] = {.records = {a_record("two.example", 60, "10.0.0.2")}};
    DnsOptions values;
    values.servers = {rig.dns.address(), other.address()};
    values.family = NameFamily::ipv4;
    values.timeout = short_timeout;
    Resolver resolver{rig.reactor, values, SystemNames{}};
    std::map<std::string, std::string> answers;
    for (const std::string name : {"one.example", "two.example"}) {
        resolver.ask(*NameQuestion::parse(name + ":1"),
                     [&answers, name](const NameAnswer& given) { answers[name] = text_of(given); });
    }
    // Until the second one has been asked for both; neither is served before.
    const auto asked = [&] { return other.waiting() >= 2; };
    const auto guard = std::chrono::steady_clock::now() + 30s;
    while (!asked()) {
        rig.reactor.run_once(1ms);
        REQUIRE(std::chrono::steady_clock::now() < guard);
    }
    rig.dns.serve();
    other.serve();
    stand_still();
    for (int i = 0; i < 20; ++i) rig.reactor.run_once(0ms);
    CHECK(answers["one.example"] == "good 60s: 10.0.0.1:1");
    CHECK(answers["two.example"] == "good 60s: 10.0.0.2:1");
}

TEST_CASE("resolver: an answer of many pieces that came while the process was stopped is read",
          "[control][resolver][late]") {
    Rig rig{NameFamily::ipv4, short_timeout, SystemNames{}};
    DnsReply reply;
    for (int i = 0; i < 250; ++i)
        reply.records.push_back(a_record("many.example", 60, fmt::format("10.0.1.{}", i)));
    rig.dns.replies[{"many.example", dns_a}] = reply;
    rig.dns.tcp_piece_bytes = 100'000;
    std::optional<NameAnswer> answer;
    rig.resolver->ask(*NameQuestion::parse("many.example:1"),
                      [&](const NameAnswer& given) { answer = given; });
    rig.turn_until([&] { return rig.dns.tcp_questions == 1; });
    stand_still();
    for (int i = 0; i < 20; ++i) rig.reactor.run_once(0ms);
    REQUIRE(answer);
    CHECK(answer->targets.size() == 250);
}

TEST_CASE("resolver: what follows from an answer is asked though the process was stopped meanwhile",
          "[control][resolver][late]") {
    Rig rig{NameFamily::ipv4, short_timeout, SystemNames{}};
    rig.dns.replies[{"s.example", dns_srv}] = {
        .records = {srv_record("s.example", 60, 1, 2, 3, "a.example")}};
    rig.dns.replies[{"a.example", dns_a}] = {.records = {a_record("a.example", 50, "10.0.0.1")}};
    std::optional<NameAnswer> answer;
    rig.resolver->ask(*NameQuestion::parse("srv:s.example"),
                      [&](const NameAnswer& given) { answer = given; });
    rig.turn_until([&] { return rig.dns.udp_questions == 1; });
    stand_still();
    rig.turn_until([&] { return answer.has_value(); });
    CHECK(text_of(*answer) == "good 50s: 10.0.0.1:3(1,2)");
}

TEST_CASE("resolver: whoever was silent while the process was stopped is asked again, once",
          "[control][resolver][late]") {
    const bool answers = GENERATE(true, false);
    Rig rig{NameFamily::ipv4, short_timeout, SystemNames{}};
    DnsReply& reply = rig.dns.replies[{"a.example", dns_a}];
    reply.rcode = -1;
    std::optional<NameAnswer> answer;
    rig.resolver->ask(*NameQuestion::parse("a.example:1"),
                      [&](const NameAnswer& given) { answer = given; });
    rig.turn_until([&] { return rig.dns.udp_questions == 1; });
    stand_still();
    if (answers) reply = {.records = {a_record("a.example", 50, "10.0.0.1")}};
    rig.turn_until([&] { return answer.has_value(); });
    CHECK(text_of(*answer) ==
          (answers ? "good 50s: 10.0.0.1:1" : "unanswered: no answer within 1s"));
}
