#include "proxy/succession.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::BackendConfig;
using eplb::BackendIdentity;
using eplb::match_backends;
using eplb::match_services;
using eplb::no_predecessor;
using eplb::ServiceConfig;

namespace {

using Places = std::vector<std::size_t>;
constexpr std::size_t nobody = no_predecessor;

ServiceConfig service(std::string name, const std::vector<std::string>& listen,
                      const std::vector<std::string>& backends = {}) {
    ServiceConfig config;
    config.name = std::move(name);
    for (const std::string& text : listen) config.listen.push_back(Address::parse(text));
    for (const std::string& text : backends)
        config.backends.push_back({.address = Address::parse(text)});
    return config;
}

using Services = std::vector<ServiceConfig>;

BackendConfig backend(std::string name, std::string_view address) {
    return {.address = Address::parse(address), .name = std::move(name)};
}

Places match(const std::vector<BackendConfig>& old, const std::vector<BackendConfig>& now) {
    std::vector<BackendIdentity> identities;
    for (const BackendConfig& one : old) identities.push_back({&one.name, &one.address});
    return match_backends(identities, now);
}

}  // namespace

TEST_CASE("succession: a service is the one with its name", "[proxy][succession]") {
    const Services old{service("a", {":1"}), service("b", {":2"})};
    CHECK(match_services(old, old) == Places{0, 1});
    CHECK(match_services(old, Services{service("b", {":2"}), service("c", {":3"})}) ==
          Places{1, nobody});
    CHECK(match_services(old, Services{service("a", {":9"})}) == Places{0});
    CHECK(match_services({}, old) == Places{nobody, nobody});
    CHECK(match_services(old, {}).empty());
}

TEST_CASE("succession: a service with another name is the one whose listener it has",
          "[proxy][succession]") {
    const Services old{service("a", {":1"}, {":9"}), service("b", {":2"}, {":8"})};
    CHECK(match_services(old, Services{service("x", {":5", ":2"}), service("a", {":1"})}) ==
          Places{1, 0});
    // Of two of them, the one that has a backend of it, too; else the first.
    const Services two{service("a", {":1", ":2"}, {":9"})};
    CHECK(match_services(two, Services{service("x", {":1"}, {":7"}),
                                       service("y", {":2"}, {":9"})}) == Places{nobody, 0});
    CHECK(match_services(two, Services{service("x", {":1"}), service("y", {":2"})}) ==
          Places{0, nobody});
    // The one that kept its name stays, whoever has its listener now.
    CHECK(match_services(two, Services{service("x", {":1"}, {":9"}),
                                       service("a", {":2"}, {":9"})}) == Places{nobody, 0});
}

TEST_CASE("succession: whoever takes the old name of a service does not take its place",
          "[proxy][succession]") {
    const Services old{service("a", {":1"}, {":9"})};
    CHECK(match_services(old, Services{service("a", {":2"}, {":8"}),
                                       service("b", {":1"}, {":9"})}) == Places{nobody, 0});
}

TEST_CASE("succession: swapped names are renamings, swapped listeners are not",
          "[proxy][succession]") {
    const Services old{service("a", {":1"}, {":9"}), service("b", {":2"}, {":8"})};
    CHECK(match_services(old, Services{service("b", {":1"}, {":9"}),
                                       service("a", {":2"}, {":8"})}) == Places{0, 1});
    CHECK(match_services(old, Services{service("a", {":2"}, {":9"}),
                                       service("b", {":1"}, {":8"})}) == Places{0, 1});
}

TEST_CASE("succession: a backend is the one with its address, and its name if there are several",
          "[proxy][succession]") {
    const std::vector<BackendConfig> old{backend("a", ":1"), backend("b", ":1"),
                                         backend("c", ":2")};
    CHECK(match(old, old) == Places{0, 1, 2});
    CHECK(match(old, {backend("c", ":2"), backend("b", ":1"), backend("a", ":1")}) ==
          Places{2, 1, 0});
    CHECK(match(old, {backend("x", ":1"), backend("a", ":1")}) == Places{1, 0});
    CHECK(match(old, {backend("x", ":1"), backend("y", ":1"), backend("z", ":1")}) ==
          Places{0, 1, nobody});
    CHECK(match(old, {backend("a", ":2"), backend("c", ":1")}) == Places{2, 0});
    CHECK(match(old, {backend("a", ":3")}) == Places{nobody});
    const std::vector<BackendConfig> twins{backend("a", ":1"), backend("a", ":1")};
    CHECK(match(twins, {backend("a", ":1"), backend("a", ":1"), backend("a", ":1")}) ==
          Places{0, 1, nobody});
}

TEST_CASE("succession: nobody has two successors, whatever changes", "[proxy][succession]") {
    std::minstd_rand random{7};
    const auto below = [&](std::size_t end) { return random() % end; };
    for (int round = 0; round < 300; ++round) {
        const auto make = [&] {
            Services all;
            std::vector<std::string> listeners;
            for (int port = 1; port <= 8; ++port) listeners.push_back(":" + std::to_string(port));
            std::shuffle(listeners.begin(), listeners.end(), random);
            while (!listeners.empty()) {
                std::vector<std::string> own;
                for (std::size_t i = below(3) + 1; i > 0 && !listeners.empty(); --i) {
                    own.push_back(listeners.back());
                    listeners.pop_back();
                }
                all.push_back(service(std::string(1, static_cast<char>('a' + below(5))), own,
                                      {":9" + std::to_string(below(4))}));
            }
            return all;
        };
        const Services old = make();
        const Services now = make();
        const Places places = match_services(old, now);
        REQUIRE(places.size() == now.size());
        std::set<std::size_t> taken;
        for (const std::size_t place : places) {
            if (place == nobody) continue;
            CHECK(place < old.size());
            CHECK(taken.insert(place).second);
        }
        CHECK(match_services(old, old).size() == old.size());
    }
}
