#include "discovery/names.hpp"
#include "control/name_judge.hpp"

#include "base/local_interfaces.hpp"
#include "eplb/reactor.hpp"
#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace eplb::control;
using eplb::Address;
using eplb::Duration;
using eplb::LogLevel;
using eplb::ManualClock;
using eplb::Reactor;
using eplb::test::contains;
using Status = NameAnswer::Status;

namespace {

using Lines = std::vector<std::string>;

NameTarget target(std::string_view address, std::uint16_t priority = 0, std::uint16_t weight = 0,
                  std::string host = "h") {
    return {Address::parse(address), priority, weight, std::move(host)};
}

NameAnswer good(std::vector<NameTarget> targets, Duration ttl = 10s) {
    NameAnswer answer;
    answer.status = Status::good;
    answer.targets = std::move(targets);
    answer.ttl = ttl;
    arrange(answer.targets);
    return answer;
}

NameAnswer bad(Status status, std::string problem) {
    NameAnswer answer;
    answer.status = status;
    answer.problem = std::move(problem);
    return answer;
}

// Questions wait here until the test answers them.
struct Asked {
    std::vector<std::pair<NameQuestion, NameSource::Done>> waiting;
    int ever = 0;
};

class FakeSource final : public NameSource {
public:
    explicit FakeSource(Asked& asked) : asked_{asked} {}
    ~FakeSource() override { asked_.waiting.clear(); }
    void ask(const NameQuestion& question, Done done) override {
        ++asked_.ever;
        asked_.waiting.emplace_back(question, std::move(done));
    }

private:
    Asked& asked_;
};

struct Rig {
    explicit Rig(Names::Options options = {.min_ttl = 1s, .max_ttl = 60s, .jitter = 0})
        : names{make(asked, options)} {}

    std::unique_ptr<Names> make(Asked& where, Names::Options options) {
        return std::make_unique<Names>(
            reactor, std::make_unique<FakeSource>(where), options,
            [this](LogLevel level, std::string_view message) {
                log.push_back(
                    fmt::format("{} {}", level == LogLevel::warning ? "W" : "I", message));
            });
    }

    void turn() {
        for (int i = 0; i < 5; ++i) reactor.run_once(0ms);
    }
    void advance(Duration by) {
        clock.advance(by);
        turn();
    }
    // Answers the question that has waited longest, which is about `name`.
    void answer(const std::string& name, const NameAnswer& with) {
        REQUIRE_FALSE(asked.waiting.empty());
        const auto [question, done] = std::move(asked.waiting.front());
        asked.waiting.erase(asked.waiting.begin());
        CHECK(question.name == name);
        done(with);
        turn();
    }
    // Learnt and kept, with this for its first answer.
    void start(const NameAnswer& first, const std::string& address = "db:1") {
        names->learn({address}, [] {});
        answer(NameQuestion::parse(address)->name, first);
        names->keep({address}, [this] { ++changes; });
        turn();
    }
    Lines addresses(std::string_view key = "db") {
        Lines lines;
        const NameAnswers answers = names->answers();
        const auto found = answers.find(key);
        if (found == answers.end()) return {"unknown"};
        for (const NameTarget& one : found->second.targets)
            lines.push_back(one.address.to_string());
        return lines;
    }
    Lines absent(std::string_view key = "db") {
        Lines lines;
        const NameAnswers answers = names->answers();
        for (const NameTarget& one : answers.find(key)->second.absent)
            lines.push_back(one.address.to_string());
        return lines;
    }
    Lines told() { return std::exchange(log, {}); }

    ManualClock clock;
    Reactor reactor{clock};
    Asked asked;
    Lines log;
    int changes = 0;
    std::unique_ptr<Names> names;
};

const Lines one{"10.0.0.1:0"};  // the DNS says nothing of a port
const NameAnswer first_answer = good({target("10.0.0.1:1")});

}  // namespace

TEST_CASE("names: what is learnt is told when the last answer is there", "[control][names]") {
    Rig rig;
    int done = 0;
    rig.names->learn({"a:1", "10.0.0.1:1", "srv:_b._tcp.c", "a:1", "unix:/x"}, [&] { ++done; });
    rig.turn();
    REQUIRE(rig.asked.waiting.size() == 2);
    rig.answer("a", first_answer);
    CHECK(done == 0);
    rig.answer("_b._tcp.c", bad(Status::no_such_name, "there is no such name"));
    CHECK(done == 1);
    const NameAnswers answers = rig.names->answers();
    REQUIRE(answers.size() == 2);
    CHECK(answers.at("a").status == Status::good);
    CHECK(answers.at("srv:_b._tcp.c").problem == "there is no such name");
    // Who asked tells of these; and what is known is not asked for again.
    CHECK(rig.told().empty());
    rig.names->learn({"a:1", "srv:_b._tcp.c"}, [&] { ++done; });
    CHECK(done == 1);
    rig.turn();
    CHECK(done == 2);
    CHECK(rig.asked.ever == 2);
}

TEST_CASE("names: a name is asked for again when its TTL is over, between floor and ceiling",
          "[control][names]") {
    const auto [ttl, wait] =
        GENERATE(std::pair<Duration, Duration>{10s, 10s}, std::pair<Duration, Duration>{0s, 1s},
                 std::pair<Duration, Duration>{3600s, 60s});
    Rig rig;
    rig.start(good({target("10.0.0.1:1")}, ttl));
    rig.advance(wait - 5ms);
    CHECK(rig.asked.ever == 1);
    rig.advance(10ms);
    CHECK(rig.asked.ever == 2);
    // Not once more while it is asked.
    rig.advance(3600s);
    CHECK(rig.asked.ever == 2);
    rig.answer("db", good({target("10.0.0.1:1")}, ttl));
    rig.advance(wait - 5ms);
    CHECK(rig.asked.ever == 2);
    rig.advance(10ms);
    CHECK(rig.asked.ever == 3);
    CHECK(rig.changes == 0);
    CHECK(rig.told().empty());
}

TEST_CASE("names: the wait is never shorter than the TTL, and not the same for everybody",
          "[control][names]") {
    Rig rig{{.min_ttl = 1s, .max_ttl = 1h, .jitter = 0.1}};
    std::vector<std::string> all;
    for (int i = 0; i < 50; ++i) all.push_back(fmt::format("h{}:1", i));
    rig.names->learn(all, [] {});
    while (!rig.asked.waiting.empty())
        rig.answer(std::string{rig.asked.waiting.front().first.name},
                   good({target("10.0.0.1:1")}, 100s));
    rig.names->keep(all, [] {});
    rig.advance(99'999ms);
    CHECK(rig.asked.waiting.empty());
    rig.advance(5s);
    CHECK_FALSE(rig.asked.waiting.empty());
    CHECK(rig.asked.waiting.size() < 50);
    rig.advance(5002ms);
    CHECK(rig.asked.waiting.size() == 50);
}

TEST_CASE("names: a change is told once, with what came and what went", "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1"), target("10.0.0.2:1")}));
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.3:1"), target("10.0.0.2:1"), target("10.0.0.4:1")}));
    CHECK(rig.changes == 1);
    CHECK(rig.addresses() == Lines{"10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0"});
    CHECK(rig.told() == Lines{"I name db: + 10.0.0.3 10.0.0.4 - 10.0.0.1"});
}

TEST_CASE("names: another order is no change, another weight or priority is", "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1", 1, 5), target("10.0.0.2:1", 1, 5)}), "srv:db");
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.2:1", 1, 5), target("10.0.0.1:1", 1, 5)}));
    CHECK(rig.changes == 0);
    CHECK(rig.told().empty());
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.2:1", 1, 6), target("10.0.0.1:1", 1, 5)}));
    CHECK(rig.changes == 1);
    CHECK(rig.told() == Lines{"I name srv:db: ~ 10.0.0.2:1"});
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.2:1", 1, 6), target("10.0.0.1:1", 2, 5)}));
    CHECK(rig.changes == 2);
    CHECK(rig.told() == Lines{"I name srv:db: ~ 10.0.0.1:1"});
}

TEST_CASE("names: changes of one moment are told together", "[control][names]") {
    Rig rig;
    rig.names->learn({"a:1", "b:1"}, [] {});
    rig.answer("a", first_answer);
    rig.answer("b", first_answer);
    rig.names->keep({"a:1", "b:1"}, [&] { ++rig.changes; });
    rig.advance(11s);
    REQUIRE(rig.asked.waiting.size() == 2);
    for (auto& [question, done] : std::exchange(rig.asked.waiting, {}))
        done(good({target("10.0.0.7:1")}));
    rig.turn();
    CHECK(rig.changes == 1);
    CHECK(rig.told().size() == 2);
}

TEST_CASE(
    "names: whatever goes wrong, the last good answer stays, with a line when it begins and "
    "one when it ends",
    "[control][names]") {
    const auto [status, problem] =
        GENERATE(std::pair{Status::unanswered, "no answer within 5s"s},
                 std::pair{Status::no_such_name, "there is no such name"s},
                 std::pair{Status::no_data, "it has no address"s});
    Rig rig;
    rig.start(first_answer);
    rig.advance(11s);
    // Each time later, up to half a minute.
    for (const Duration wait : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
        rig.answer("db", bad(status, problem));
        CHECK(rig.addresses() == one);
        rig.advance(wait - 5ms);
        CHECK(rig.asked.waiting.empty());
        rig.advance(10ms);
        CHECK(rig.asked.waiting.size() == 1);
    }
    CHECK(rig.told() == Lines{"W name db: " + problem + "; its last addresses stay"});
    rig.answer("db", first_answer);
    CHECK(rig.told() == Lines{"I name db: answers again"});
    CHECK(rig.changes == 0);
    rig.advance(11s);
    CHECK(rig.asked.waiting.size() == 1);
    rig.answer("db", bad(status, problem));
    CHECK(rig.told().size() == 1);
    rig.advance(2s);
    rig.answer("db", good({target("10.0.0.2:1")}));
    CHECK(rig.told() == Lines{"I name db: answers again: + 10.0.0.2 - 10.0.0.1"});
    CHECK(rig.changes == 1);
}

TEST_CASE("names: one that had no answer at the start gets its addresses when there is one",
          "[control][names]") {
    Rig rig;
    rig.start(bad(Status::unanswered, "no name server can be reached"));
    CHECK(rig.addresses().empty());
    rig.advance(1005ms);
    rig.answer("db", bad(Status::no_such_name, "there is no such name"));
    CHECK(rig.told().empty());  // that it fails has been told at the start
    CHECK(rig.changes == 0);
    rig.advance(2005ms);
    rig.answer("db", first_answer);
    CHECK(rig.changes == 1);
    CHECK(rig.addresses() == one);
    CHECK(rig.told() == Lines{"I name db: answers again: + 10.0.0.1"});
}

TEST_CASE("names: a host of a service that cannot be asked for keeps the addresses that it had",
          "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1", 1, 1, "a"), target("10.0.0.2:1", 1, 1, "b")}), "srv:db");
    rig.advance(11s);
    NameAnswer answer = good({target("10.0.0.3:1", 1, 1, "a")});
    answer.unanswered = {{.host = "b", .port = 2, .priority = 3, .weight = 4},
                         {.host = "new", .port = 1, .priority = 1, .weight = 1}};
    answer.problem = "b: no name server answers";
    rig.answer("db", answer);
    CHECK(rig.addresses("srv:db") == Lines{"10.0.0.2:2", "10.0.0.3:1"});
    CHECK(rig.names->answers().at("srv:db").targets.front() == target("10.0.0.2:2", 3, 4));
    const Lines told = rig.told();
    REQUIRE(told.size() == 2);
    CHECK(told[0] == "W name srv:db: b: no name server answers; its last addresses stay");
    // It is asked for again soon.
    rig.advance(1005ms);
    rig.answer("db", good({target("10.0.0.3:1", 1, 1, "a")}));
    CHECK(rig.addresses("srv:db") == Lines{"10.0.0.3:1"});
    // With none that could be asked for, nothing has changed.
    rig.advance(11s);
    NameAnswer none = bad(Status::unanswered, "a: no name server answers");
    none.unanswered = {{.host = "a", .port = 1, .priority = 1, .weight = 1}};
    rig.answer("db", none);
    CHECK(rig.addresses("srv:db") == Lines{"10.0.0.3:1"});
    CHECK(rig.changes == 2);
}

TEST_CASE("names: another one takes over what is known, and when it is due", "[control][names]") {
    Rig rig;
    rig.start(first_answer);
    Asked asked;
    const auto heir = rig.make(asked, {.min_ttl = 1s, .max_ttl = 60s, .jitter = 0});
    int done = 0;
    rig.advance(4s);
    heir->adopt(*rig.names);
    heir->learn({"db:1", "new:1"}, [&] { ++done; });
    rig.turn();
    CHECK(done == 0);
    REQUIRE(asked.waiting.size() == 1);
    asked.waiting.front().second(good({target("10.0.0.9:1")}));
    rig.turn();
    CHECK(done == 1);
    asked.waiting.clear();
    rig.names.reset();
    heir->keep({"db:1"}, [] {});
    CHECK(heir->answers().size() == 1);
    rig.advance(5995ms);
    CHECK(asked.ever == 1);
    rig.advance(10ms);
    CHECK(asked.ever == 2);
    CHECK(asked.waiting.front().first.name == "db");
}

TEST_CASE("names: it may be destroyed by whoever it tells", "[control][names]") {
    Rig rig;
    rig.names->learn({"db:1"}, [&] { rig.names.reset(); });
    rig.asked.waiting.front().second(first_answer);
    rig.turn();
    CHECK_FALSE(rig.names);

    Rig other;
    other.names->learn({"db:1"}, [] {});
    other.answer("db", first_answer);
    other.names->keep({"db:1"}, [&] { other.names.reset(); });
    other.advance(11s);
    other.answer("db", good({target("10.0.0.2:1")}));
    CHECK_FALSE(other.names);

    Rig untold;
    untold.names->learn({"db:1"}, [] { FAIL("nobody is there any more"); });
    untold.asked.waiting.front().second(first_answer);
    untold.names.reset();
    untold.turn();
}

TEST_CASE("names: a host is asked for once, and known, whatever the port", "[control][names]") {
    Rig rig;
    rig.names->learn({"db:1", "db:2", "DB:3", "srv:db"}, [] {});
    rig.turn();
    REQUIRE(rig.asked.waiting.size() == 2);
    rig.answer("db", first_answer);
    rig.names->keep({"db:1", "db:2"}, [] {});
    CHECK(rig.addresses() == one);
    Asked asked;
    const auto heir = rig.make(asked, {.min_ttl = 1s, .max_ttl = 60s, .jitter = 0});
    int done = 0;
    heir->adopt(*rig.names);
    heir->learn({"db:7"}, [&] { ++done; });
    rig.turn();
    CHECK(done == 1);
    CHECK(asked.ever == 0);
    CHECK(heir->answers().at("db").targets.size() == 1);
}

namespace {

// A service for each listener, with this one name as its backend.
std::unique_ptr<NameJudge> judge_of(const std::string& listener, const std::string& backend,
                                    bool checked = false, std::size_t max_connections = 0) {
    Settings settings;
    eplb::Config config;
    Service service;
    service.values.listen = {{listener, {}}};
    service.backends.emplace_back().values.address = {backend, {}};
    if (checked) service.check.values.type = eplb::CheckConfig::Type::tcp;
    eplb::ServiceConfig resolved;
    resolved.name = "one";
    resolved.listen = {Address::parse(listener)};
    resolved.check = service.check.values;
    settings.services.push_back(service);
    config.services.push_back(resolved);
    config.max_connections = max_connections;
    return std::make_unique<NameJudge>(settings, config, 1);
}

}  // namespace

TEST_CASE(
    "names: an answer that cannot be used leaves the last good one, told once when that begins "
    "and once when it ends",
    "[control][names]") {
    const auto [address, problem] =
        GENERATE(std::pair{"0.0.0.0:1"s, "0.0.0.0 is the address of no server"s},
                 std::pair{"[::]:1"s, ":: is the address of no server"s},
                 std::pair{"127.0.0.9:1"s,
                           "127.0.0.9:5555 is our own listener, and connections would go round: "
                           "one -> one"s});
    Rig rig;
    rig.names->set_judge(judge_of("127.0.0.9:5555", "db:5555"));
    rig.start(first_answer, "db:5555");
    for (int i = 0; i < 3; ++i) {
        rig.advance(31s);
        rig.answer("db", good({target("10.0.0.7:1"), target(address)}));
    }
    CHECK(rig.changes == 0);
    CHECK(rig.addresses() == one);
    CHECK(rig.told() == Lines{"W name db: " + problem + "; its last addresses stay"});
    rig.advance(31s);
    rig.answer("db", good({target("10.0.0.7:1")}));
    CHECK(rig.told() == Lines{"I name db: answers again: + 10.0.0.7 - 10.0.0.1"});
    // At the start it is as if there were none.
    Rig other;
    other.names->set_judge(judge_of("127.0.0.9:5555", "db:5555"));
    other.start(good({target(address)}), "db:5555");
    CHECK(other.names->answers().at("db").status == Status::unusable);
    CHECK(other.names->answers().at("db").problem == problem);
}

namespace {

// The most sessions that go with so many descriptors for other things.
std::size_t most_sessions(std::size_t besides) {
    std::size_t sessions = eplb::descriptor_limit() / 2;
    for (;; --sessions) {
        try {
            static_cast<void>(eplb::work_out_limits(eplb::descriptor_limit(), sessions, besides));
            return sessions;
        } catch (const std::exception&) {}
    }
}

}  // namespace

TEST_CASE("names: more addresses than can be checked are no answer, and what is absent goes first",
          "[control][names]") {
    constexpr std::size_t room = 4;  // or one more, for a session takes two
    Rig rig;
    rig.names->set_judge(judge_of("127.0.0.9:5555", "db:1", true, most_sessions(1 + room)));
    rig.start(good({target("10.0.0.1:1"), target("10.0.0.2:1")}));
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.3:1"), target("10.0.0.4:1")}));
    CHECK(rig.absent() == Lines{"10.0.0.1:0", "10.0.0.2:0"});
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.5:1"), target("10.0.0.6:1")}));
    const Lines absent = rig.absent();
    CHECK((absent == Lines{"10.0.0.3:0", "10.0.0.4:0"} ||
           absent == Lines{"10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0"}));
    static_cast<void>(rig.told());
    std::vector<NameTarget> many;
    for (int i = 0; i < 6; ++i) many.push_back(target(fmt::format("10.0.1.{}:1", i)));
    rig.advance(11s);
    rig.answer("db", good(many));
    CHECK(rig.addresses() == Lines{"10.0.0.5:0", "10.0.0.6:0"});
    CHECK(rig.absent() == absent);
    CHECK_THAT(rig.told().at(0), contains("its addresses are more than can be checked: "));
}

TEST_CASE("names: an address that an answer lacks is absent until it comes again, or is forgotten",
          "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1"), target("10.0.0.2:1")}));
    CHECK_FALSE(rig.names->has_absent());
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.3:1"), target("10.0.0.4:1")}));
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.1:1"), target("10.0.0.5:1")}));
    CHECK(rig.absent() == Lines{"10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0"});
    CHECK(rig.addresses() == Lines{"10.0.0.1:0", "10.0.0.5:0"});
    // What fails says nothing of who is absent.
    rig.advance(11s);
    rig.answer("db", bad(Status::no_such_name, "there is no such name"));
    CHECK(rig.absent().size() == 3);
    // Another one knows it, too.
    Asked asked;
    const auto heir = rig.make(asked, {.min_ttl = 1s, .max_ttl = 60s, .jitter = 0});
    heir->adopt(*rig.names);
    CHECK(heir->has_absent());
    const int changes = rig.changes;
    rig.names->forget_absent(
        [](const NameTarget& one) { return one.address != Address::parse("10.0.0.3:0"); });
    rig.turn();
    CHECK(rig.changes == changes + 1);
    CHECK(rig.absent() == Lines{"10.0.0.3:0"});
    rig.names->forget_absent([](const NameTarget&) { return true; });
    CHECK_FALSE(rig.names->has_absent());
    rig.turn();
    rig.names->forget_absent([](const NameTarget&) { return true; });
    rig.turn();
    CHECK(rig.changes == changes + 2);
}

TEST_CASE("names: a name that stood for one address and now stands for one other has moved",
          "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1")}));
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.2:1")}));
    CHECK_FALSE(rig.names->has_absent());
    // With both kinds it is one server, too.
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.3:1"), target("[::3]:1")}));
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.4:1"), target("[::4]:1")}));
    CHECK_FALSE(rig.names->has_absent());
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.4:1"), target("10.0.0.5:1")}));
    CHECK(rig.absent() == Lines{"[::4]:0"});
    rig.advance(11s);
    rig.answer("db", good({target("10.0.0.6:1")}));
    CHECK(rig.absent() == Lines{"[::4]:0", "10.0.0.4:0", "10.0.0.5:0"});
}

TEST_CASE(
    "names: of two thousand a few are asked for at a time, and silent ones take half of these",
    "[control][names]") {
    Rig rig{{.min_ttl = 10s, .max_ttl = 60s, .timeout = 5s, .jitter = 0}};
    std::vector<std::string> all;
    for (int i = 0; i < 2000; ++i) all.push_back(fmt::format("h{}:1", i));
    bool done = false;
    rig.names->learn(all, [&] { done = true; });
    // Every other one is silent.
    while (!done) {
        rig.turn();
        REQUIRE(rig.asked.waiting.size() <= Names::most_in_flight);
        if (rig.asked.waiting.empty()) break;
        const std::string name = rig.asked.waiting.front().first.name;
        const bool silent = std::stoi(name.substr(1)) % 2 == 0;
        rig.answer(name, silent ? bad(Status::unanswered, "silence") : first_answer);
    }
    CHECK(done);
    CHECK(rig.asked.ever == 2000);
    rig.names->keep(all, [] {});
    rig.advance(11s);
    REQUIRE(rig.asked.waiting.size() == Names::most_in_flight);
    const auto silent = std::ranges::count_if(rig.asked.waiting, [](const auto& waiting) {
        return std::stoi(waiting.first.name.substr(1)) % 2 == 0;
    });
    CHECK(static_cast<std::size_t>(silent) == Names::most_in_flight / 2);
}

TEST_CASE("names: learning is over in time, however many have not been asked for",
          "[control][names]") {
    Rig rig{{.min_ttl = 1s, .max_ttl = 60s, .timeout = 5s, .jitter = 0}};
    std::vector<std::string> all;
    for (int i = 0; i < 100; ++i) all.push_back(fmt::format("h{}:1", i));
    bool done = false;
    rig.names->learn(all, [&] { done = true; });
    rig.advance(5s);
    CHECK_FALSE(done);
    rig.advance(200ms);
    CHECK(done);
    CHECK(rig.names->answers().size() == 100);
    CHECK(rig.names->answers().at("h99").status == Status::unanswered);
    CHECK(rig.names->answers().at("h99").problem == "no answer within 5s");
    // They are still asked for.
    rig.names->keep(all, [&] { ++rig.changes; });
    while (!rig.asked.waiting.empty())
        rig.answer(std::string{rig.asked.waiting.front().first.name}, first_answer);
    CHECK(rig.asked.ever == 100);
    CHECK(rig.names->answers().at("h99").status == Status::good);
}

TEST_CASE("names: one that is missing is told of once a minute", "[control][names]") {
    Rig rig;
    rig.start(bad(Status::no_such_name, "there is no such name"));
    for (int second = 0; second < 181; ++second) {
        rig.advance(1s);
        while (!rig.asked.waiting.empty())
            rig.answer("db", bad(Status::no_such_name, "there is no such name"));
    }
    const std::string line = "W name db: there is no such name; waiting for it";
    CHECK(rig.told() == Lines{line, line, line});
    rig.advance(31s);
    rig.answer("db", first_answer);
    CHECK(rig.told() == Lines{"I name db: answers again: + 10.0.0.1"});
}

TEST_CASE("names: the kind of addresses that could not be asked for stays", "[control][names]") {
    Rig rig;
    rig.start(good({target("10.0.0.1:1", 0, 0, "db"), target("[::1]:1", 0, 0, "db")}));
    rig.advance(11s);
    NameAnswer half = good({target("10.0.0.2:1", 0, 0, "db")});
    half.unanswered = {{.host = "db", .port = 1, .family = AF_INET6}};
    half.problem = "IPv6: the name server failed (SERVFAIL)";
    rig.answer("db", half);
    CHECK(rig.addresses() == Lines{"10.0.0.2:0", "[::1]:0"});
    CHECK(rig.told() ==
          Lines{"W name db: IPv6: the name server failed (SERVFAIL); its last addresses stay",
                "I name db: + 10.0.0.2 - 10.0.0.1"});
    CHECK(rig.absent() == Lines{"10.0.0.1:0"});
}

TEST_CASE("names: one may lead to another service, but not back by another name",
          "[control][names]") {
    Settings settings;
    eplb::Config config;
    for (const char* const name : {"a", "b"}) {
        const std::string listener = *name == 'a' ? "127.0.0.9:1111" : "127.0.0.9:2222";
        Service service;
        service.backends.emplace_back().values.address = {*name == 'a' ? "to-b:2222" : "to-a:1111",
                                                          {}};
        eplb::ServiceConfig resolved;
        resolved.name = name;
        resolved.listen = {Address::parse(listener)};
        settings.services.push_back(service);
        config.services.push_back(resolved);
    }
    Rig rig;
    rig.names->set_judge(std::make_unique<NameJudge>(settings, config, 1));
    rig.names->learn({"to-b:2222", "to-a:1111"}, [] {});
    rig.answer("to-a", good({target("127.0.0.9:1")}));
    rig.answer("to-b", good({target("127.0.0.9:1")}));
    const NameAnswers answers = rig.names->answers();
    CHECK(answers.at("to-a").status == Status::good);
    CHECK(answers.at("to-b").status == Status::unusable);
    CHECK(answers.at("to-b").problem ==
          "127.0.0.9:2222 is our own listener, and connections would go round: a -> b -> a");
}

TEST_CASE(
    "names: whoever judges an answer knows this machine's addresses, and asks nobody for them",
    "[control][names]") {
    const auto own = eplb::local_addresses();
    const auto other = std::ranges::find_if(own, [](const Address& address) {
        return !address.is_loopback() && address.family() == AF_INET;
    });
    if (other == own.end()) EPLB_SKIP("it has no address but loopback ones");
    const auto judge = judge_of("[::]:5555", "db:5555");
    const std::vector<NameTarget> targets{target(other->with_port(0).to_string())};
    const auto question = NameQuestion::parse("db:5555");
    const int code = eplb::test::in_child([&] {
        // Without a descriptor nobody can ask for them, netlink(7).
        const rlimit none{0, 0};
        if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
        return judge->problem_of(*question, targets).has_value() ? 0 : 2;
    });
    CHECK(code == 0);
}

TEST_CASE("names: whoever was stopped beyond the end of learning has its time once more",
          "[control][names]") {
    Rig rig{{.min_ttl = 1s, .max_ttl = 60s, .timeout = 5s, .jitter = 0}};
    const bool answers = GENERATE(true, false);
    bool learnt = false;
    rig.names->learn({"db:1"}, [&learnt] { learnt = true; });
    rig.advance(60s);
    CHECK_FALSE(learnt);
    if (answers) {
        rig.answer("db", good({target("10.0.0.1:0")}));
        CHECK(learnt);
        CHECK(rig.addresses() == Lines{"10.0.0.1:0"});
        return;
    }
    rig.advance(5s);
    CHECK_FALSE(learnt);
    rig.advance(60s);  // but once
    CHECK(learnt);
}
