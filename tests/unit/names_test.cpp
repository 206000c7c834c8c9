#include "control/names.hpp"

#include "eplb/reactor.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <string>
#include <string_view>
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
    Lines addresses(std::string_view address = "db:1") {
        Lines lines;
        const NameAnswers answers = names->answers();
        const auto found = answers.find(address);
        if (found == answers.end()) return {"unknown"};
        for (const NameTarget& one : found->second.targets)
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

const Lines one{"10.0.0.1:1"};
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
    CHECK(answers.at("a:1").status == Status::good);
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
    CHECK(rig.addresses() == Lines{"10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"});
    CHECK(rig.told() == Lines{"I name db:1: + 10.0.0.3:1 10.0.0.4:1 - 10.0.0.1:1"});
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
    CHECK(rig.told() == Lines{"W name db:1: " + problem + "; its last addresses stay"});
    rig.answer("db", first_answer);
    CHECK(rig.told() == Lines{"I name db:1: answers again"});
    CHECK(rig.changes == 0);
    rig.advance(11s);
    CHECK(rig.asked.waiting.size() == 1);
    rig.answer("db", bad(status, problem));
    CHECK(rig.told().size() == 1);
    rig.advance(2s);
    rig.answer("db", good({target("10.0.0.2:1")}));
    CHECK(rig.told() == Lines{"I name db:1: answers again: + 10.0.0.2:1 - 10.0.0.1:1"});
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
    CHECK(rig.told() == Lines{"I name db:1: answers again: + 10.0.0.1:1"});
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
