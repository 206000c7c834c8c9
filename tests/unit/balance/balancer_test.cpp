#include "eplb/balancer.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

using eplb::Address;
using eplb::Backend;
using eplb::Balance;
using eplb::make_balancer;
using eplb::RoundRobin;
using eplb::test::BackendSet;
using eplb::test::client;

namespace {

// Backends named a, b, c, ... with these weights.
class Backends {
public:
    explicit Backends(const std::vector<std::uint32_t>& weights) {
        for (const std::uint32_t weight : weights) {
            const auto letter = static_cast<char>('a' + static_cast<int>(all_.size() % 26));
            all_.push_back(std::make_unique<Backend>(all_.size(), std::string(1, letter),
                                                     Address::parse("127.0.0.1:1"), weight));
            all.push_back(all_.back().get());
        }
        balancer.prepare(all);
        candidates.prepare(all.size());
    }

    const Backend* pick(const std::vector<Backend*>& from) {
        candidates.clear();
        for (const Backend* const backend : from) candidates.add(*backend);
        return balancer.pick(candidates, {.client = client});
    }
    std::string picks(int count) { return picks(count, all); }
    std::string picks(int count, const std::vector<Backend*>& from) {
        std::string names;
        for (int i = 0; i < count; ++i) {
            const Backend* const picked = pick(from);
            names += picked == nullptr ? "-" : picked->name();
        }
        return names;
    }
    [[nodiscard]] std::vector<Backend*> some(const std::string& names) const {
        std::vector<Backend*> out;
        for (const char name : names)
            out.push_back(all_[static_cast<std::size_t>(name - 'a')].get());
        return out;
    }

    RoundRobin balancer;
    std::vector<Backend*> all;
    eplb::Candidates candidates;
    Address client = Address::parse("10.0.0.1:40000");

private:
    std::vector<std::unique_ptr<Backend>> all_;
};

constexpr Balance policies[] = {Balance::round_robin, Balance::leastconn,   Balance::random,
                                Balance::first,       Balance::source_hash, Balance::consistent,
                                Balance::least_time,  Balance::peak_ewma};

// Whether a session may be counted on it, or another one made to get or to lose clients.
template <class Shown>
concept Steerable = requires(Shown& backend) { backend.set_down(true); } ||
                    requires(Shown& backend) { backend.set_wanted(Backend::Wanted::drain); } ||
                    requires(Shown& backend) { backend.set_weight(1); } ||
                    requires(Shown& backend) { backend.count_failure(); } ||
                    requires(Shown& backend) { backend.latency().observe({}, {}); } ||
                    std::constructible_from<Backend::Lease, Shown&>;

}  // namespace

TEST_CASE("round robin: sequences are exactly these", "[proxy][balancer]") {
    struct Row {
        std::vector<std::uint32_t> weights;
        std::string sequence;
    };
    const std::vector<Row> table{
        {{1}, "aaaa"},
        {{7}, "aaaa"},
        {{1, 1}, "abababab"},
        {{1, 1, 1}, "abcabcabc"},
        {{4, 4, 4}, "abcabcabc"},
        {{5, 1, 1}, "aabacaaaabacaa"},
        {{3, 1}, "aabaaabaaaba"},
        {{1, 3}, "babbbabbbabb"},
        {{2, 1}, "abaabaaba"},
        {{4, 2, 1}, "abacabaabacaba"},
        {{1, 1, 1, 1, 1}, "abcdeabcde"},
    };
    for (const Row& row : table) {
        INFO(row.sequence);
        Backends backends{row.weights};
        CHECK(backends.picks(static_cast<int>(row.sequence.size())) == row.sequence);
    }
}

TEST_CASE("round robin: no candidate, no backend", "[proxy][balancer]") {
    Backends backends{{1, 1}};
    CHECK(backends.picks(3, {}) == "---");
    CHECK(backends.picks(4) == "abab");  // asking in vain changed nothing
    Backends none{{}};
    CHECK(none.picks(1) == "-");
}

TEST_CASE("round robin: of a subset, only its members are picked", "[proxy][balancer]") {
    Backends backends{{1, 1, 1, 1}};
    CHECK(backends.picks(4, backends.some("bd")) == "bdbd");
    CHECK(backends.picks(3, backends.some("c")) == "ccc");
}

TEST_CASE("round robin: one that was left out for a while is not flooded when it comes back",
          "[proxy][balancer]") {
    Backends backends{{1, 1, 1}};
    backends.picks(300, backends.some("ab"));
    const std::string after = backends.picks(9);
    CHECK(std::count(after.begin(), after.end(), 'c') <= 4);
    CHECK(after.find("cc") == std::string::npos);
}

TEST_CASE("round robin: in the long run everybody gets their share, and soon",
          "[proxy][balancer]") {
    const std::vector<std::uint32_t> weights{1, 2, 3, 10, 100, 7};
    std::uint64_t total = 0;
    for (const std::uint32_t weight : weights) total += weight;
    Backends backends{weights};
    std::map<const Backend*, std::uint64_t> picked;
    for (std::uint64_t round = 1; round <= 20 * total; ++round) {
        ++picked[backends.pick(backends.all)];
        for (std::size_t i = 0; i < weights.size(); ++i) {
            // At no time is anybody a whole turn away from the ideal share.
            const double ideal =
                static_cast<double>(round * weights[i]) / static_cast<double>(total);
            const auto real = static_cast<double>(picked[backends.all[i]]);
            REQUIRE(std::abs(real - ideal) < static_cast<double>(weights.size()));
        }
        if (round % total == 0) {
            for (std::size_t i = 0; i < weights.size(); ++i) {
                REQUIRE(picked[backends.all[i]] == round / total * weights[i]);
            }
        }
    }
}

TEST_CASE("round robin: a thousand backends are each picked once in a thousand picks",
          "[proxy][balancer]") {
    Backends backends{std::vector<std::uint32_t>(1000, 3)};
    for (int round = 0; round < 2; ++round) {
        for (Backend* const expected : backends.all) {
            REQUIRE(backends.pick(backends.all) == expected);
        }
    }
}

TEST_CASE("round robin: the heaviest weights there are do not overflow", "[proxy][balancer]") {
    constexpr std::uint32_t heaviest = 0xffff'ffff;
    Backends backends{{heaviest, heaviest, 1}};
    const std::string sequence = backends.picks(1000);
    CHECK(sequence.substr(0, 4) == "abab");
    CHECK(std::count(sequence.begin(), sequence.end(), 'a') == 500);
}

TEST_CASE("round robin: more backends later leave the sequence of the old ones in place",
          "[proxy][balancer]") {
    Backends backends{{1, 1}};
    CHECK(backends.picks(1) == "a");
    Backend late{9, "j", Address::parse("127.0.0.1:1"), 1};
    backends.balancer.prepare(std::vector<Backend*>{backends.all[0], backends.all[1], &late});
    CHECK(backends.picks(3) == "bab");
}

TEST_CASE("round robin: weights that change are followed from the next pick on",
          "[proxy][balancer]") {
    struct Row {
        std::uint32_t before;
        int picks;
    };
    for (const Balance policy : {Balance::round_robin, Balance::leastconn, Balance::least_time}) {
        for (const Row& row : {Row{100, 45}, Row{1000, 400}, Row{1000, 600}, Row{50'000, 20'000}}) {
            INFO("policy " << static_cast<int>(policy) << ", weight " << row.before);
            BackendSet backends{{row.before, 1}};
            const auto balancer = make_balancer(policy, 1);
            balancer->prepare(backends.all);
            backends.everybody();
            static_cast<void>(backends.names(*balancer, row.picks));
            backends[0].set_weight(1);
            balancer->prepare(backends.all);
            const std::string after = backends.names(*balancer, 20);
            INFO(after);
            CHECK(std::ranges::count(after, 'a') >= 9);
            CHECK(std::ranges::count(after, 'a') <= 11);
            CHECK(after.find("aaa") == std::string::npos);
            CHECK(after.find("bbb") == std::string::npos);
        }
    }
}

TEST_CASE("round robin: a change of nothing leaves the sequence as it is", "[proxy][balancer]") {
    Backends backends{{5, 3, 1}};
    Backends same{{5, 3, 1}};
    std::string expected;
    std::string real;
    for (int i = 0; i < 40; ++i) {
        expected += same.picks(1);
        real += backends.picks(1);
        backends.balancer.prepare(backends.all);
    }
    CHECK(real == expected);
}

TEST_CASE("round robin: whoever has the index of one that left begins anew", "[proxy][balancer]") {
    for (const bool at_once : {false, true}) {
        CAPTURE(at_once);
        BackendSet backends{{1000, 1}};
        RoundRobin balancer;
        balancer.prepare(backends.all);
        backends.everybody();
        static_cast<void>(backends.names(balancer, 400));
        if (!at_once) balancer.prepare(std::vector<Backend*>{&backends[0]});
        Backend late{1, "c", Address::parse("10.0.0.9:1"), 1};
        backends[0].set_weight(1);
        balancer.prepare(std::vector<Backend*>{&backends[0], &late});
        backends.those({&backends[0], &late});
        const std::string after = backends.names(balancer, 20);
        INFO(after);
        CHECK(std::ranges::count(after, 'a') >= 9);
        CHECK(std::ranges::count(after, 'a') <= 11);
    }
}

TEST_CASE("round robin: newcomers do not pay for those who came and left before them",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    RoundRobin balancer;
    std::vector<std::unique_ptr<Backend>> late;
    for (int i = 0; i < 50; ++i) {
        late.push_back(
            std::make_unique<Backend>(1, "b", Address::parse("10.0.0.9:1"), i % 2 == 0 ? 1 : 7));
        balancer.prepare(std::vector<Backend*>{&backends[0], late.back().get()});
        backends.those({&backends[0], late.back().get()});
        static_cast<void>(backends.names(balancer, 3));
    }
    late.push_back(std::make_unique<Backend>(1, "b", Address::parse("10.0.0.9:1"), 1));
    balancer.prepare(std::vector<Backend*>{&backends[0], late.back().get()});
    backends.those({&backends[0], late.back().get()});
    const std::string after = backends.names(balancer, 20);
    INFO(after);
    CHECK(std::ranges::count(after, 'a') >= 9);
    CHECK(std::ranges::count(after, 'a') <= 11);
}

TEST_CASE("round robin: when a heavy one goes down, the light ones share evenly at once",
          "[proxy][balancer]") {
    Backends backends{{1000, 1, 1}};
    for (int i = 0; i < 1002; ++i) {
        backends.picks(1);
        if (i % 50 != 0) continue;
        const std::string after = backends.picks(10, backends.some("bc"));
        INFO(i << ": " << after);
        REQUIRE(std::ranges::count(after, 'b') >= 4);
        REQUIRE(std::ranges::count(after, 'b') <= 6);
    }
}

TEST_CASE("balancer: whatever weights and backends become, shares are even from the next pick on",
          "[proxy][balancer]") {
    const std::vector<std::uint32_t> weights{1, 1, 2, 5, 100, 1000, 65'535};
    for (const Balance policy : {Balance::round_robin, Balance::leastconn, Balance::least_time}) {
        for (std::uint32_t seed = 1; seed <= 30; ++seed) {
            CAPTURE(static_cast<int>(policy), seed);
            std::mt19937 random{seed};
            const auto any_weight = [&] { return weights[random() % weights.size()]; };
            BackendSet all{std::vector<std::uint32_t>(12, 1)};
            std::vector<std::unique_ptr<Backend>> reborn;  // with the index of one of these
            const auto balancer = make_balancer(policy, 1);
            std::vector<Backend*> there{all.all.begin(), all.all.begin() + 3};
            for (int change = 0; change < 40; ++change) {
                for (Backend* const backend : there)
                    if (random() % 3 == 0) backend->set_weight(any_weight());
                if (there.size() > 2 && random() % 3 == 0) there.erase(there.begin());
                if (there.size() < 6 && random() % 3 == 0) {
                    for (std::size_t index = 0; index < 12; ++index) {
                        const auto has_it = [index](const Backend* b) {
                            return b->index() == index;
                        };
                        if (std::ranges::any_of(there, has_it)) continue;
                        reborn.push_back(std::make_unique<Backend>(
                            index, "n", Address::parse("10.0.0.9:1"), any_weight()));
                        there.push_back(reborn.back().get());
                        break;
                    }
                }
                balancer->prepare(there);
                std::vector<Backend*> some = there;
                if (random() % 3 == 0) some.erase(some.begin() + random() % some.size());
                all.those(some);
                double total = 0;
                for (const Backend* const backend : some) total += backend->weight();
                std::map<const Backend*, double> picked;
                const int picks = 1 + static_cast<int>(random() % 200);
                for (int i = 1; i <= picks; ++i) {
                    ++picked[balancer->pick(all.candidates, {.client = client(1)})];
                    for (const Backend* const backend : some) {
                        const double ideal = i * backend->weight() / total;
                        REQUIRE(std::abs(picked[backend] - ideal) <= 3);
                    }
                }
            }
        }
    }
}

TEST_CASE("balancer: clients of Unix sockets have no address, and get each backend in turn",
          "[proxy][balancer]") {
    for (const Balance policy : {Balance::source_hash, Balance::consistent}) {
        INFO("policy " << static_cast<int>(policy));
        BackendSet backends{{3, 1}};
        const auto balancer = make_balancer(policy, 1);
        balancer->prepare(backends.all);
        backends.everybody();
        CHECK(backends.names(*balancer, 8) == "aabaaaba");
        std::string named;
        for (int i = 0; i < 4; ++i)
            named +=
                balancer->pick(backends.candidates, {.client = Address::parse("unix:/x")})->name();
        CHECK(named == "aaba");
    }
}

TEST_CASE("round robin: who asks makes no difference", "[proxy][balancer]") {
    Backends backends{{1, 1}};
    std::string names;
    for (int i = 0; i < 4; ++i) {
        backends.client = Address::parse("10.0.0." + std::to_string(i) + ":1");
        names += backends.picks(1);
    }
    CHECK(names == "abab");
}

TEST_CASE("balancer: a policy of one's own needs nothing but pick()", "[proxy][balancer]") {
    class First final : public eplb::Balancer {
    public:
        [[nodiscard]] const Backend* pick(const eplb::Candidates& candidates,
                                          const eplb::PickContext&) noexcept override {
            return candidates.empty() ? nullptr : candidates.all().front();
        }
    };
    Backends backends{{1, 1}};
    First first;
    first.prepare(backends.all);
    backends.candidates.clear();
    CHECK(first.pick(backends.candidates, {.client = backends.client}) == nullptr);
    backends.candidates.add(*backends.all[1]);
    CHECK(first.pick(backends.candidates, {.client = backends.client}) == backends.all[1]);
}

TEST_CASE("balancer: what a policy looks at, it cannot change", "[proxy][balancer]") {
    STATIC_REQUIRE(Steerable<Backend>);
    const eplb::Candidates candidates;
    STATIC_REQUIRE_FALSE(Steerable<std::remove_reference_t<decltype(*candidates.all().front())>>);
}

TEST_CASE("candidates: those that were added since they were cleared", "[proxy][balancer]") {
    const Backends backends{{1, 1, 1}};
    eplb::Candidates candidates;
    candidates.prepare(3);
    const auto members = [&] {
        std::string names;
        for (const Backend* const backend : backends.all)
            if (candidates.contains(*backend)) names += backend->name();
        return names;
    };
    CHECK(members().empty());
    candidates.clear();
    CHECK(members().empty());
    candidates.add(*backends.all[2]);
    candidates.add(*backends.all[0]);
    CHECK(members() == "ac");
    CHECK(candidates.size() == 2);
    CHECK(candidates.all()[0] == backends.all[2]);
    candidates.clear();
    CHECK(candidates.empty());
    CHECK(members().empty());
    candidates.add(*backends.all[1]);
    CHECK(members() == "b");
    candidates.prepare(3);
    CHECK(members().empty());
}

TEST_CASE("first: the next one gets sessions once those before it are full", "[proxy][balancer]") {
    BackendSet backends{{1, 100, 1}};
    const auto balancer = make_balancer(Balance::first, 0);
    balancer->prepare(backends.all);
    for (Backend* const backend : backends.all) backend->set_max_connections(2);
    std::string names;
    for (int i = 0; i < 7; ++i) {
        backends.candidates.clear();
        for (Backend* const backend : backends.all)
            if (!backend->full()) backends.candidates.add(*backend);
        names += backends.sessions(*balancer, 1);
    }
    CHECK(names == "aabbcc-");
}

TEST_CASE("balancer: every policy, from nobody to a thousand, ends with the right one",
          "[proxy][balancer]") {
    for (const Balance policy : policies) {
        INFO("policy " << static_cast<int>(policy));
        const auto balancer = make_balancer(policy, 1);
        REQUIRE(balancer != nullptr);

        BackendSet none{{}};
        balancer->prepare(none.all);
        CHECK(balancer->pick(none.everybody(), {.client = client(1)}) == nullptr);

        BackendSet one{{7}};
        balancer->prepare(one.all);
        CHECK(balancer->pick(one.everybody(), {.client = client(1)}) == one.all[0]);
        CHECK(balancer->pick(one.those({}), {.client = client(1)}) == nullptr);
        CHECK(balancer->pick(one.everybody(), {.client = client(1)}) == one.all[0]);

        // As Service leaves out those that are full, down or draining.
        BackendSet full{{1, 2, 3}};
        balancer->prepare(full.all);
        for (Backend* const backend : full.all) {
            backend->set_max_connections(1);
            full.hold(*backend);
        }
        full.candidates.clear();
        for (Backend* const backend : full.all)
            if (!backend->full()) full.candidates.add(*backend);
        CHECK(balancer->pick(full.candidates, {.client = client(1)}) == nullptr);
        // And if it did not, because nobody has room: one of them.
        CHECK(balancer->pick(full.everybody(), {.client = client(1)}) != nullptr);
        CHECK(balancer->pick(full.those({full.all[1]}), {.client = client(1)}) == full.all[1]);

        BackendSet many{std::vector<std::uint32_t>(1000, 3)};
        balancer->prepare(many.all);
        for (std::uint32_t i = 0; i < 50; ++i)
            CHECK(balancer->pick(many.everybody(), {.client = client(i)}) != nullptr);
        CHECK(balancer->pick(many.those({many.all[999]}), {.client = client(1)}) == many.all[999]);
        CHECK(balancer->pick(many.those({}), {.client = client(1)}) == nullptr);

        balancer->prepare(one.all);
        CHECK(balancer->pick(one.everybody(), {.client = client(1)}) == one.all[0]);
    }
}

TEST_CASE("balancer: weights that are gone by the time of the pick stop no policy",
          "[proxy][balancer]") {
    for (const Balance policy : policies) {
        INFO("policy " << static_cast<int>(policy));
        BackendSet backends{{1, 2, 3}};
        const auto balancer = make_balancer(policy, 1);
        balancer->prepare(backends.all);
        for (Backend* const backend : backends.all) backend->set_weight(0);
        for (std::uint32_t i = 0; i < 20; ++i)
            CHECK(balancer->pick(backends.everybody(), {.client = client(i)}) != nullptr);
        backends[1].set_weight(1);
        for (std::uint32_t i = 0; i < 20; ++i)
            CHECK(balancer->pick(backends.everybody(), {.client = client(i)}) != nullptr);
    }
}

TEST_CASE("balancer: whatever weights, sessions and candidates there are, the pick is a candidate",
          "[proxy][balancer]") {
    std::mt19937 random{2026};
    for (int round = 0; round < 30; ++round) {
        std::vector<std::uint32_t> weights(1 + random() % 40);
        const std::uint32_t heaviest = 1U << random() % 31;
        for (std::uint32_t& weight : weights)
            weight = static_cast<std::uint32_t>(1 + random() % heaviest);
        BackendSet backends{weights};
        for (Backend* const backend : backends.all) {
            backend->set_share(1 + random() % Backend::full_share);
            if (random() % 2 == 0) backends.hold(*backend, random() % 20);
            if (random() % 2 == 0)
                backend->latency().observe(eplb::Duration{random()}, eplb::TimePoint{});
        }
        for (const Balance policy : policies) {
            INFO("policy " << static_cast<int>(policy) << " round " << round);
            const auto balancer = make_balancer(policy, random());
            balancer->prepare(backends.all);
            for (std::uint32_t i = 0; i < 20; ++i) {
                std::vector<Backend*> some;
                for (Backend* const backend : backends.all)
                    if (random() % 3 != 0) some.push_back(backend);
                const eplb::TimePoint now{std::chrono::milliseconds{random() % 100'000}};
                const Backend* const picked = balancer->pick(
                    backends.those(some),
                    {.client = client(static_cast<std::uint32_t>(random())), .now = now});
                if (some.empty()) {
                    REQUIRE(picked == nullptr);
                } else {
                    REQUIRE(std::ranges::count(some, picked) == 1);
                }
            }
        }
    }
}

TEST_CASE("balancer: with equal weights and nothing known, every policy but first is fair enough",
          "[proxy][balancer]") {
    for (const Balance policy : policies) {
        if (policy == Balance::first) continue;
        INFO("policy " << static_cast<int>(policy));
        BackendSet backends{{2, 2, 2, 2}};
        const auto balancer = make_balancer(policy, 3);
        balancer->prepare(backends.all);
        backends.everybody();
        std::map<const Backend*, int> seen;
        for (std::uint32_t i = 0; i < 4000; ++i)
            ++seen[balancer->pick(backends.candidates, {.client = client(i * 7919)})];
        for (const Backend* const backend : backends.all) {
            CHECK(seen[backend] > 750);
            CHECK(seen[backend] < 1250);
        }
    }
}
