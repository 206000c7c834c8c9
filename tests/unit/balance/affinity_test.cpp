#include "balance/affinity.hpp"

#include "support/backend_set.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using eplb::Address;
using eplb::are_alike;
using eplb::Backend;
using eplb::hash_of;
using eplb::identities_of;
using eplb::key_of;
using eplb::test::BackendSet;

TEST_CASE("affinity: keys and hashes are these on every machine, for ever", "[proxy][balancer]") {
    CHECK(key_of(Address::parse("192.0.2.1:1")) == 0x2c1c'901e'ed9a'dc4a);
    CHECK(key_of(Address::parse("[2001:db8::1]:1")) == 0x275c'8fa5'8c2d'19a0);
    CHECK(key_of(Address{}) == 0x2d06'8005'38d3'94c2);
    CHECK(hash_of(0, 0) == 0xc77b'3abb'6f87'acd9);
    CHECK(hash_of(1, 2) == 0x40ec'3339'838d'6d11);
    BackendSet backends{{1}};
    CHECK(identities_of(backends.all)[0].id == 0xca74'dc8e'5cf2'8caf);
}

TEST_CASE("affinity: a client is its address, whole, without its port", "[proxy][balancer]") {
    CHECK(key_of(Address::parse("192.0.2.1:1")) == key_of(Address::parse("192.0.2.1:65535")));
    CHECK(key_of(Address::parse("[2001:db8::1]:1")) == key_of(Address::parse("[2001:db8::1]:9")));
    CHECK(key_of(Address::parse("[::ffff:192.0.2.1]:7")) == key_of(Address::parse("192.0.2.1:1")));
    CHECK(key_of(Address::parse("192.0.2.1:1")) != key_of(Address::parse("192.0.2.2:1")));
    CHECK(key_of(Address::parse("[2001:db8::1]:1")) != key_of(Address::parse("[2001:db8::2]:1")));
    CHECK(key_of(Address::parse("[2001:db8::1]:1")) != key_of(Address::parse("[2001:db9::1]:1")));
    CHECK(key_of(Address::parse("[fe80::1%lo]:1")) == key_of(Address::parse("[fe80::1]:1")));
}

TEST_CASE("affinity: clients of Unix sockets have no key", "[proxy][balancer]") {
    CHECK_FALSE(has_key(Address{}));
    CHECK_FALSE(has_key(Address::parse("unix:/run/x.sock")));
    CHECK(has_key(Address::parse("127.0.0.1:1")));
    CHECK(has_key(Address::parse("[::1]:1")));
}

TEST_CASE("affinity: backends have the same identities in whatever order", "[proxy][balancer]") {
    BackendSet backends{{1, 2, 3, 4, 5}};
    std::vector<Backend*> turned{backends.all.rbegin(), backends.all.rend()};
    const auto identities = identities_of(backends.all);
    CHECK(are_alike(identities, identities_of(turned)));
    CHECK(std::ranges::is_sorted(identities, {}, &eplb::Identity::id));
}

TEST_CASE("affinity: name and place and weight make a difference, and nothing else does",
          "[proxy][balancer]") {
    const auto identity = [](std::size_t index, const char* name, const char* place,
                             std::uint32_t weight) {
        Backend backend{index, name, Address::parse(place), weight};
        backend.set_share(10);
        std::vector<Backend*> all{&backend};
        return identities_of(all);
    };
    const auto one = identity(0, "a", "10.0.0.1:1", 1);
    CHECK(are_alike(one, identity(7, "a", "10.0.0.1:1", 1)));
    CHECK_FALSE(are_alike(one, identity(0, "b", "10.0.0.1:1", 1)));
    CHECK_FALSE(are_alike(one, identity(0, "a", "10.0.0.1:2", 1)));
    CHECK_FALSE(are_alike(one, identity(0, "a", "10.0.0.2:1", 1)));
    CHECK_FALSE(are_alike(one, identity(0, "a", "10.0.0.1:1", 2)));
    CHECK_FALSE(are_alike(one, {}));
    CHECK(are_alike(one, identity(0, "a", "10.0.0.1:1", 1)));
}

TEST_CASE("affinity: twins are told apart", "[proxy][balancer]") {
    std::vector<std::unique_ptr<Backend>> owned;
    std::vector<Backend*> all;
    for (std::size_t i = 0; i < 5; ++i) {
        owned.push_back(
            std::make_unique<Backend>(i, "same", Address::parse("10.0.0.1:1"), i < 3 ? 1 : 2));
        all.push_back(owned.back().get());
    }
    std::set<std::uint64_t> ids;
    const auto identities = identities_of(all);
    for (const auto& identity : identities) ids.insert(identity.id);
    CHECK(ids.size() == 5);
    std::ranges::reverse(all);
    CHECK(are_alike(identities, identities_of(all)));
}

TEST_CASE("affinity: a weight that was lost meanwhile counts as one", "[proxy][balancer]") {
    BackendSet backends{{0}};
    CHECK(identities_of(backends.all)[0].weight == 1);
}
