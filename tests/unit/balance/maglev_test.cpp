#include "balance/maglev.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

using eplb::Address;
using eplb::Backend;
using eplb::Maglev;
using eplb::test::BackendSet;
using eplb::test::client;

namespace {

constexpr std::uint32_t clients = 100'000;

std::vector<const Backend*> picks(Maglev& balancer, const eplb::Candidates& candidates,
                                  std::uint32_t count = clients) {
    std::vector<const Backend*> out;
    out.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i)
        out.push_back(balancer.pick(candidates, {.client = client(i)}));
    return out;
}

std::map<const Backend*, double> shares(const std::vector<const Backend*>& picked) {
    std::map<const Backend*, double> out;
    for (const Backend* const backend : picked) out[backend] += 1.0;
    for (auto& [backend, share] : out) share /= static_cast<double>(picked.size());
    return out;
}

std::vector<Backend*> without(const std::vector<Backend*>& all, const Backend* missing) {
    std::vector<Backend*> out = all;
    std::erase(out, missing);
    return out;
}

}  // namespace

TEST_CASE("maglev: these clients get these backends on every machine, for ever",
          "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3, 4}};
    Maglev balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    std::string names;
    for (std::uint32_t i = 0; i < 32; ++i)
        names += balancer.pick(backends.candidates, {.client = client(i)})->name();
    CHECK(names == "cdcbdcdcbadcdadddddcddaddbdbdcbd");
    names.clear();
    backends.all_but(backends[3]);
    for (std::uint32_t i = 0; i < 32; ++i)
        names += balancer.pick(backends.candidates, {.client = client(i)})->name();
    CHECK(names == "cccbccccbacccabccbbccaaccbabbcbc");
    std::uint64_t hash = 14695981039346656037U;  // FNV-1a over all of the picks
    for (const Backend* const backend : picks(balancer, backends.everybody()))
        hash = (hash ^ backend->index()) * 1099511628211U;
    CHECK(hash == 0x63a0'8ddb'00bf'559a);
}

TEST_CASE("maglev: a client has one backend, whatever its port, and however its address is written",
          "[proxy][balancer]") {
    BackendSet backends{std::vector<std::uint32_t>(20, 1)};
    Maglev balancer;
    balancer.prepare(backends.all);
    backends.everybody();
    const auto pick = [&](const std::string& address) {
        return balancer.pick(backends.candidates, {.client = Address::parse(address)});
    };
    for (int i = 0; i < 100; ++i) {
        const std::string host = "192.0.2." + std::to_string(i);
        const Backend* const expected = pick(host + ":1");
        CHECK(pick(host + ":65535") == expected);
        CHECK(pick("[::ffff:" + host + "]:80") == expected);
    }
    CHECK(pick("[2001:db8::1]:1") == pick("[2001:db8::1]:2"));
}

// Two parentheses: or Catch would print a hundred thousand pointers.
TEST_CASE("maglev: who gets whom does not depend on the order of the configuration",
          "[proxy][balancer]") {
    BackendSet backends{{3, 1, 4, 1, 5, 9, 2, 6}};
    Maglev one;
    one.prepare(backends.all);
    const auto expected = picks(one, backends.everybody());
    std::vector<Backend*> order = backends.all;
    for (int turn = 0; turn < 3; ++turn) {
        std::ranges::rotate(order, order.begin() + 3);
        std::swap(order[0], order[1]);
        Maglev other;
        other.prepare(order);
        CHECK((picks(other, backends.those(order)) == expected));
    }
}

TEST_CASE("maglev: shares are in proportion to weights", "[proxy][balancer]") {
    const std::vector<std::vector<std::uint32_t>> sets{
        {1, 1}, {1, 2, 3, 4}, {1, 10, 100}, {1000, 999, 1}, std::vector<std::uint32_t>(100, 5)};
    for (const auto& weights : sets) {
        double total = 0;
        for (const std::uint32_t weight : weights) total += weight;
        BackendSet backends{weights};
        Maglev balancer;
        balancer.prepare(backends.all);
        auto seen = shares(picks(balancer, backends.everybody()));
        for (Backend* const backend : backends.all) {
            const double expected = backend->weight() / total;
            // Three standard deviations of a fair draw of so many clients, and a slot or two.
            const double tolerance = 3.5 * std::sqrt(expected / clients) + 2.0 / Maglev::table_size;
            INFO(weights.size() << ' ' << backend->name() << ' ' << expected << ' '
                                << seen[backend]);
            CHECK(std::abs(seen[backend] - expected) < tolerance);
        }
    }
}

TEST_CASE("maglev: when one of N goes, its clients move and at most 2 % besides",
          "[proxy][balancer]") {
    for (const std::size_t count : {2U, 3U, 5U, 10U, 50U, 100U}) {
        BackendSet backends{std::vector<std::uint32_t>(count, 1)};
        Maglev before;
        before.prepare(backends.all);
        const auto old_picks = picks(before, backends.everybody());
        for (const std::size_t gone : {std::size_t{0}, count / 2, count - 1}) {
            const std::vector<Backend*> rest = without(backends.all, backends.all[gone]);
            Maglev after;
            after.prepare(rest);
            const auto new_picks = picks(after, backends.those(rest));
            double moved = 0;
            double orphans = 0;
            for (std::size_t i = 0; i < clients; ++i) {
                if (old_picks[i] != new_picks[i]) ++moved;
                if (old_picks[i] == backends.all[gone]) ++orphans;
            }
            INFO(count << " backends, " << moved << " moved, of " << orphans);
            CHECK(moved / clients <= 1.0 / static_cast<double>(count) + 0.02);
            CHECK(moved >= orphans);
        }
    }
}

TEST_CASE("maglev: when one of N is no candidate, its clients move and nobody else, evenly",
          "[proxy][balancer]") {
    for (const std::size_t count : {2U, 3U, 5U, 10U, 50U, 100U}) {
        BackendSet backends{std::vector<std::uint32_t>(count, 1)};
        Maglev balancer;
        balancer.prepare(backends.all);
        const auto old_picks = picks(balancer, backends.everybody());
        const Backend& missing = backends[count / 2];
        const auto new_picks = picks(balancer, backends.all_but(missing));
        std::vector<const Backend*> orphans;
        int others_moved = 0;
        for (std::size_t i = 0; i < clients; ++i) {
            if (old_picks[i] == &missing) {
                orphans.push_back(new_picks[i]);
            } else if (old_picks[i] != new_picks[i]) {
                ++others_moved;
            }
        }
        CHECK(others_moved == 0);
        auto seen = shares(orphans);
        CHECK(seen.count(&missing) == 0);
        const double expected = 1.0 / static_cast<double>(count - 1);
        for (const Backend* const backend : backends.all) {
            if (backend == &missing) continue;
            const double deviation = std::sqrt(expected / static_cast<double>(orphans.size()));
            INFO(count << ' ' << backend->name() << ' ' << seen[backend] << ' ' << expected);
            CHECK(std::abs(seen[backend] - expected) < 4 * deviation);
        }
        CHECK((picks(balancer, backends.everybody()) == old_picks));  // they come back
    }
}

TEST_CASE("maglev: few candidates of many: still in proportion to the weights, and steady",
          "[proxy][balancer]") {
    BackendSet backends{std::vector<std::uint32_t>(1000, 1)};
    backends[10].set_weight(3);
    Maglev balancer;
    balancer.prepare(backends.all);
    const std::vector<Backend*> three{backends.all[10], backends.all[500], backends.all[999]};
    const auto picked = picks(balancer, backends.those(three));
    auto seen = shares(picked);
    CHECK(std::abs(seen[three[0]] - 0.6) < 0.01);
    CHECK(std::abs(seen[three[1]] - 0.2) < 0.01);
    CHECK(std::abs(seen[three[2]] - 0.2) < 0.01);
    const auto fewer = picks(balancer, backends.those({three[0], three[1]}));
    int others_moved = 0;
    for (std::size_t i = 0; i < clients; ++i)
        if (picked[i] != three[2] && picked[i] != fewer[i]) ++others_moved;
    CHECK(others_moved == 0);
}

TEST_CASE("maglev: a reload that changes nothing, or makes the same backends anew, moves nobody",
          "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3}};
    Maglev balancer;
    balancer.prepare(backends.all);
    const auto before = picks(balancer, backends.everybody());
    balancer.prepare(backends.all);
    CHECK((picks(balancer, backends.everybody()) == before));

    std::vector<std::unique_ptr<Backend>> owned;
    std::vector<Backend*> anew;
    for (const Backend* const old : backends.all) {
        owned.push_back(std::make_unique<Backend>(5 - old->index(), old->name(), old->address(),
                                                  old->weight()));
        anew.push_back(owned.back().get());
    }
    balancer.prepare(anew);
    eplb::Candidates candidates;
    candidates.prepare(6);
    candidates.clear();
    for (Backend* const backend : anew) candidates.add(*backend);
    for (std::uint32_t i = 0; i < 1000; ++i)
        REQUIRE(balancer.pick(candidates, {.client = client(i)})->name() == before[i]->name());
}

TEST_CASE("maglev: a weight that changes is heeded once it is prepared again",
          "[proxy][balancer]") {
    BackendSet backends{{1, 1}};
    Maglev balancer;
    balancer.prepare(backends.all);
    backends[0].set_weight(3);
    balancer.prepare(backends.all);
    CHECK(std::abs(shares(picks(balancer, backends.everybody()))[backends.all[0]] - 0.75) < 0.01);
    backends[0].set_share(1);  // a slow start moves nobody
    balancer.prepare(backends.all);
    CHECK(std::abs(shares(picks(balancer, backends.everybody()))[backends.all[0]] - 0.75) < 0.01);
}

TEST_CASE("maglev: the lightest beside the heaviest get something, and it takes no age",
          "[proxy][balancer]") {
    std::vector<std::uint32_t> weights(1000, 1);
    weights[0] = 0xffff'ffff;
    BackendSet backends{weights};
    Maglev balancer;
    balancer.prepare(backends.all);
    const auto seen = shares(picks(balancer, backends.everybody()));
    CHECK(seen.at(backends.all[0]) > 0.98);
    CHECK(seen.size() > 700);  // a slot each, of which some have no client here
}

TEST_CASE("maglev: twins share evenly", "[proxy][balancer]") {
    Backend a{0, "same", Address::parse("10.0.0.1:1"), 1};
    Backend b{1, "same", Address::parse("10.0.0.1:1"), 1};
    std::vector<Backend*> twins{&a, &b};
    eplb::Candidates candidates;
    candidates.prepare(2);
    candidates.clear();
    candidates.add(a);
    candidates.add(b);
    Maglev balancer;
    balancer.prepare(twins);
    CHECK(std::abs(shares(picks(balancer, candidates))[&a] - 0.5) < 0.01);
}
