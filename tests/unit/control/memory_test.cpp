// A program of its own: it replaces operator new, which fails where a test says so. What steers the
// data path must live through that, for the sessions of the process do.

#include "control/control_server.hpp"
#include "control/name_judge.hpp"
#include "control/reloader.hpp"
#include "discovery/names.hpp"
#include "discovery/resolver.hpp"
#include "eplb/reactor.hpp"
#include "health/checker.hpp"
#include "health/rise_fall.hpp"
#include "support/catch.hpp"
#include "support/dns.hpp"
#include "support/folder.hpp"
#include "support/net.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace {

// Asks for memory until one is refused, and the following ones: a process that has none gets none for a
// while. Of this thread; 0: there is memory.
thread_local int asks_left = 0;
thread_local int refusals_left = 0;
// Likewise, of all other threads.
std::atomic<int> asks_left_elsewhere{0};
thread_local bool is_here = false;

bool is_refused() noexcept {
    if (!is_here) return asks_left_elsewhere > 0 && --asks_left_elsewhere == 0;
    if (asks_left > 0 && --asks_left > 0) return false;
    if (refusals_left == 0) return false;
    --refusals_left;
    return true;
}

void* allocate(std::size_t size) {
    if (is_refused()) throw std::bad_alloc{};
    void* const memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) throw std::bad_alloc{};
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
    return operator new(size, tag);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace {

using namespace std::chrono_literals;
using namespace eplb::control;
using eplb::Address;
using eplb::Duration;
using eplb::Fd;
using eplb::LogLevel;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::test::Folder;
using Status = NameAnswer::Status;

constexpr int most_refusals = 3;

// As the loops of the program: what lacks memory leaves the turn, and the next one begins.
void turn(Reactor& reactor) {
    try {
        reactor.run_once(0ms);
    } catch (const std::bad_alloc&) {}
}

// Turns for `what` with the `nth` ask for memory refused, and those right behind it, up to `refusals`.
// Returns whether it came to that.
bool refuse(int nth, int refusals, const std::function<void()>& what) {
    is_here = true;
    asks_left = nth;
    refusals_left = refusals;
    what();
    const bool refused = refusals_left < refusals;
    asks_left = refusals_left = 0;
    return refused;
}

// For every ask that there is, one after the other; so often, that the last time none was refused.
void refuse_each(const std::function<bool(int nth, int refusals)>& run) {
    for (int refusals = 1; refusals <= most_refusals; ++refusals) {
        int nth = 1;
        while (run(nth, refusals)) ++nth;
        CHECK(nth > 3);  // there were some at all
    }
}

std::string received(const Fd& socket) {
    std::string text(4096, '\0');
    const ssize_t got = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
    if (got < 0) return errno == ECONNRESET ? "end" : "nothing yet";
    text.resize(static_cast<std::size_t>(got));
    return text.empty() ? "end" : text;
}

void send_line(const Fd& socket) {
    CHECK(::send(socket.get(), "what is so long that no string has room for it\n", 47, 0) == 47);
}

class Silent final : public eplb::ProxyObserver {
public:
    void on_event(LogLevel, std::string_view) noexcept override {}
};

NameAnswer answer_of(std::string_view address) {
    NameAnswer answer;
    answer.status = Status::good;
    answer.targets = {{Address::parse(address), 0, 0, "a host with a name of some length"}};
    answer.ttl = 10s;
    return answer;
}

// Answers in the next turn, as it is told to.
class Source final : public NameSource {
public:
    explicit Source(NameAnswer& answer) : answer_{answer} {}
    void ask(const NameQuestion&, Done done) override {
        std::vector<Done> more;
        more.push_back(std::move(done));
        waiting_.insert(waiting_.end(), more.begin(), more.end());
    }
    void serve() {
        const std::vector<Done> waiting = std::exchange(waiting_, {});
        for (const Done& done : waiting) done(answer_);
    }

private:
    NameAnswer& answer_;
    std::vector<Done> waiting_;
};

}  // namespace

TEST_CASE("control server: without memory a client is cut off, and the next one is served",
          "[control][memory]") {
    const Folder folder;
    const Address address = folder.socket("control");
    refuse_each([&](int nth, int refusals) {
        Reactor reactor;
        std::vector<ControlServer::Answer> asked;
        ControlServer server{reactor, address,
                             [&](std::string_view line, ControlServer::Answer answer) {
                                 asked.push_back(std::move(answer));
                                 static_cast<void>(std::string{line});
                             }};
        const auto converse = [&](const Fd& client) {
            for (int i = 0; i < 5; ++i) turn(reactor);
            std::vector<ControlServer::Answer> answers = std::exchange(asked, {});
            try {
                for (const auto& answer : answers) answer(std::string(200, 'x') + "\n");
            } catch (const std::bad_alloc&) {}
            answers.clear();
            for (int i = 0; i < 5; ++i) turn(reactor);
            return received(client);
        };
        const Fd first = eplb::test::connect_to(address);
        send_line(first);
        std::string got;
        const bool refused = refuse(nth, refusals, [&] {
            for (int i = 0; i < 5; ++i) turn(reactor);
            std::vector<ControlServer::Answer> answers = std::exchange(asked, {});
            try {
                for (const auto& answer : answers) answer(std::string(200, 'x') + "\n");
            } catch (const std::bad_alloc&) {}
            answers.clear();
            for (int i = 0; i < 5; ++i) turn(reactor);
        });
        got = received(first);
        INFO("ask " << nth << ", refused " << refusals);
        CHECK((got == "end" || got.starts_with("xxx")));
        if (!refused) CHECK(got.starts_with("xxx"));

        const Fd second = eplb::test::connect_to(address);
        send_line(second);
        CHECK(converse(second).starts_with("xxx"));
        return refused;
    });
}

TEST_CASE("control server: a client whose answer nobody owes any more is cut off",
          "[control][memory]") {
    const Folder folder;
    const Address address = folder.socket("control");
    Reactor reactor;
    ControlServer::Answer kept;
    ControlServer server{reactor, address, [&](std::string_view, ControlServer::Answer answer) {
                             kept = std::move(answer);
                         }};
    const Fd client = eplb::test::connect_to(address);
    send_line(client);
    for (int i = 0; i < 5; ++i) turn(reactor);
    CHECK(received(client) == "nothing yet");
    kept = {};
    for (int i = 0; i < 5; ++i) turn(reactor);
    CHECK(received(client) == "end");
}

TEST_CASE("names: what there is no memory for is tried again", "[control][memory]") {
    const std::vector<std::string> name{"a-name-of-some-length.example:1"};
    refuse_each([&](int nth, int refusals) {
        ManualClock clock;
        Reactor reactor{clock};
        NameAnswer answer = answer_of("10.0.0.1:0");
        auto owned = std::make_unique<Source>(answer);
        Source& source = *owned;
        Names names{reactor,
                    std::move(owned),
                    {.min_ttl = 1s, .max_ttl = 60s, .jitter = 0},
                    [](LogLevel, std::string_view) {}};
        bool learnt = false;
        int changes = 0;
        const auto turns = [&] {
            for (int i = 0; i < 4; ++i) {
                turn(reactor);
                source.serve();
            }
        };
        names.learn(name, [&] { learnt = true; });
        bool refused = refuse(nth, refusals, turns);
        for (int i = 0; i < 10; ++i) {
            clock.advance(1s);
            turns();
        }
        INFO("ask " << nth << ", refused " << refusals);
        CHECK(learnt);
        names.keep(name, [&] { ++changes; });
        turns();
        changes = 0;
        answer = answer_of("10.0.0.2:0");
        clock.advance(70s);
        if (!refused) refused = refuse(nth, refusals, turns);
        for (int i = 0; i < 10; ++i) {
            clock.advance(1s);
            turns();
        }
        CHECK(changes >= 1);
        const NameAnswers known = names.answers();
        REQUIRE(known.size() == 1);
        REQUIRE(known.begin()->second.targets.size() == 1);
        CHECK(known.begin()->second.targets.front().address.to_string() == "10.0.0.2:0");
        return refused;
    });
}

TEST_CASE("checker: a check for which there is no memory is made again", "[health][memory]") {
    using eplb::health::Checker;
    using eplb::health::CheckResult;
    const Fd listener = eplb::test::listener();
    refuse_each([&](int nth, int refusals) {
        ManualClock clock;
        Reactor reactor{clock};
        eplb::CheckConfig config;
        config.type = eplb::CheckConfig::Type::send_expect;
        config.send = "a question of more than fifteen bytes\n";
        config.expect = "an answer of more than fifteen bytes\n";
        config.interval = 1s;
        config.timeout = 1s;
        int passed = 0;
        int others = 0;
        Checker checker{
            reactor,
            {.backend = eplb::test::address_of(listener), .config = config, .route = {}},
            [&](const CheckResult& result) {
                ++(result.outcome == CheckResult::Outcome::passed ? passed : others);
            }};
        const auto turns = [&] {
            for (int i = 0; i < 4; ++i) turn(reactor);
        };
        const auto answer = [&] {
            const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK);
            if (fd < 0) return;
            const Fd server{fd};
            static_cast<void>(::send(fd, config.expect.data(), config.expect.size(), MSG_NOSIGNAL));
            turns();
        };
        const bool refused = refuse(nth, refusals, [&] {
            turns();
            answer();
        });
        INFO("ask " << nth << ", refused " << refusals);
        for (int i = 0; i < 5; ++i) {
            answer();
            clock.advance(1200ms);
            turns();
            answer();
        }
        CHECK(passed >= 3);
        if (!refused) CHECK(others == 0);
        return refused;
    });
}

TEST_CASE("rise and fall: a change for which there is no memory is told with the next result",
          "[health][memory]") {
    using namespace eplb::health;
    const std::string cause(100, 'c');
    RiseFall state{1, 1};
    state.assume(Health::up);
    const bool refused = refuse(1, 1, [&] {
        try {
            static_cast<void>(state.count(false, cause));
        } catch (const std::bad_alloc&) {}
    });
    CHECK(refused);
    CHECK(state.health() == Health::up);
    CHECK(state.count(false, cause).has_value());
}

TEST_CASE("resolver: a question for which there is no memory is answered all the same, or in time",
          "[control][memory]") {
    eplb::test::DnsServer dns;
    dns.replies[{"_a._tcp.example", eplb::test::dns_srv}] = {
        .records = {eplb::test::srv_record("_a._tcp.example", 60, 1, 2, 3, "a.example"),
                    eplb::test::srv_record("_a._tcp.example", 60, 1, 2, 3, "b.example")}};
    for (const char* const host : {"a.example", "b.example"})
        dns.replies[{host, eplb::test::dns_a}] = {
            .records = {eplb::test::a_record(host, 60, "10.0.0.1")}};
    refuse_each([&](int nth, int refusals) {
        ManualClock clock;
        Reactor reactor{clock};
        DnsOptions values;
        values.servers = {dns.address()};
        values.timeout = 20s;
        Resolver resolver{reactor, values, SystemNames{}};
        const auto turns = [&] {
            for (int i = 0; i < 6; ++i) {
                turn(reactor);
                const int before = std::exchange(asks_left, 0);
                const int left = std::exchange(refusals_left, 0);
                dns.serve();
                asks_left = before;
                refusals_left = left;
            }
        };
        const auto ask = [&](std::optional<Status>& status) {
            try {
                resolver.ask(*NameQuestion::parse("srv:_a._tcp.example"),
                             [&](const NameAnswer& answer) { status = answer.status; });
            } catch (const std::bad_alloc&) {
                status = Status::unanswered;  // whoever asks tries again
            }
        };
        std::optional<Status> first;
        const bool refused = refuse(nth, refusals, [&] {
            ask(first);
            turns();
        });
        for (int i = 0; i < 50 && !first; ++i) {
            clock.advance(1s);
            turns();
        }
        INFO("ask " << nth << ", refused " << refusals);
        CHECK(first.has_value());
        if (!refused) CHECK(first == Status::good);
        std::optional<Status> second;
        ask(second);
        for (int i = 0; i < 50 && !second; ++i) {
            clock.advance(1s);
            turns();
        }
        CHECK(second == Status::good);
        return refused;
    });
}

TEST_CASE("reloader: without memory a reload is refused, and the next one is made",
          "[control][memory]") {
    const Folder folder;
    const std::string file = folder.file("eplb.toml").string();
    const auto write = [&](int weight) {
        std::ofstream{file}
            << "[dns]\nservers = [\"127.0.0.1:9\"]\n[[service]]\nname = \"s\"\nlisten = \""
            << folder.socket("front").to_string()
            << "\"\n[[service.backend]]\naddress = \"127.0.0.1:1\"\nweight = " << weight << "\n";
    };
    const bool here = GENERATE(true, false);
    // Here, all but what the proxy does itself. Thousands on the other thread: some of them.
    const int step = here ? 1 : 23;
    for (int nth = 1;; nth += step) {
        write(1);
        Reactor reactor;
        Silent observer;
        ConfigSource source;
        source.file = file;
        LoadedConfig loaded = load_config(source);
        ResolvedSettings resolved{loaded.settings, {}};
        resolved.config = resolve(resolved.settings, loaded.diagnostics);
        REQUIRE_FALSE(loaded.diagnostics.has_errors());
        set_backends(resolved.config, resolved.settings, {}, loaded.diagnostics);
        eplb::Proxy proxy{reactor, resolved.config, observer};
        Reloader reloader{reactor,  proxy,
                          observer, source,
                          resolved, make_names(reactor, resolved.settings.dns.values, {}, observer),
                          {}};
        write(2);
        using Outcome = Reloader::Outcome;
        // Told, or, without the memory for that, given up.
        const auto reload = [&](std::shared_ptr<int> owed, std::optional<Outcome::Kind>& kind,
                                bool dry_run = false) {
            const std::weak_ptr<int> still = owed;
            const auto ask = [&] {
                try {
                    reloader.request({.dry_run = dry_run, .file = {}},
                                     [owed = std::move(owed), &kind](const Outcome& outcome) {
                                         kind = outcome.kind;
                                     });
                } catch (const std::bad_alloc&) {
                    owed.reset();
                }
            };
            ask();
            const auto guard = std::chrono::steady_clock::now() + 60s;
            while (!still.expired()) {
                try {
                    reactor.run_once(1ms);
                } catch (const std::bad_alloc&) {}
                if (std::chrono::steady_clock::now() > guard) return false;
            }
            return true;
        };
        INFO((here ? "here" : "elsewhere") << ", ask " << nth);
        std::optional<Outcome::Kind> first;
        bool over = false;
        bool refused = false;
        auto owed = std::make_shared<int>();
        if (here) {
            refused = refuse(nth, 1, [&] { over = reload(std::move(owed), first, true); });
        } else {
            is_here = true;
            asks_left_elsewhere = nth;
            over = reload(std::move(owed), first);
            refused = asks_left_elsewhere.exchange(0) <= 0;
        }
        REQUIRE(over);
        if (!refused) CHECK(first == Outcome::Kind::changed);
        std::optional<Outcome::Kind> second;
        REQUIRE(reload(std::make_shared<int>(), second));
        CHECK((second == Outcome::Kind::changed || second == Outcome::Kind::unchanged));
        CHECK(proxy.backends().front().weight == 2);
        if (!refused) break;
    }
}
