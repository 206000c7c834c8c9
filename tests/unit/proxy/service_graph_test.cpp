#include "proxy/service_graph.hpp"

#include "base/local_interfaces.hpp"
#include "support/catch.hpp"

#include <fmt/format.h>
#include <string>
#include <utility>
#include <vector>

using eplb::Address;
using eplb::ServiceGraph;

namespace {

using Texts = std::vector<std::string>;

struct Service {
    Texts listen;
    Texts backends;
};

ServiceGraph graph_of(const std::vector<Service>& services) {
    ServiceGraph graph;
    for (std::size_t i = 0; i < services.size(); ++i) {
        for (std::size_t n = 0; n < services[i].listen.size(); ++n)
            graph.add_listener(i, Address::parse(services[i].listen[n]), n);
    }
    for (std::size_t i = 0; i < services.size(); ++i) {
        for (std::size_t n = 0; n < services[i].backends.size(); ++n)
            graph.add_backend(i, Address::parse(services[i].backends[n]), n);
    }
    return graph;
}

// Services are called a, b, c...
Texts loops(const std::vector<Service>& services) {
    Texts texts;
    for (const ServiceGraph::Loop& loop : graph_of(services).find_loops())
        texts.push_back(to_text(loop, [](std::size_t i) {
            return std::string(1, static_cast<char>('a' + static_cast<char>(i)));
        }));
    return texts;
}

std::string at(std::size_t port) { return fmt::format("127.0.0.1:{}", port); }

}  // namespace

TEST_CASE("service graph: services may lead to one another as long as none leads back",
          "[proxy][service_graph]") {
    CHECK(loops({}) == Texts{});
    CHECK(loops({{{at(1)}, {at(2)}}, {{at(2)}, {at(3)}}, {{at(3)}, {"10.0.0.1:1"}}}) == Texts{});
    // Two ways to the same one are no loop.
    CHECK(
        loops({{{at(1)}, {at(2), at(3)}}, {{at(2)}, {at(4)}}, {{at(3)}, {at(4)}}, {{at(4)}, {}}}) ==
        Texts{});
    CHECK(loops({{{"unix:/a"}, {"unix:/b"}}, {{"unix:/b"}, {"unix:@b"}}}) == Texts{});
}

TEST_CASE("service graph: a loop is told with the whole way", "[proxy][service_graph]") {
    CHECK(loops({{{at(1)}, {at(1)}}}) == Texts{"a -> a"});
    CHECK(loops({{{at(1)}, {at(2)}}, {{at(2)}, {at(1)}}}) == Texts{"a -> b -> a"});
    CHECK(loops({{{at(9)}, {at(1)}}, {{at(1)}, {at(2)}}, {{at(2)}, {at(3)}}, {{at(3)}, {at(1)}}}) ==
          Texts{"b -> c -> d -> b"});
    CHECK(loops({{{"unix:@a"}, {"unix:/b"}}, {{"unix:/b"}, {"unix:@a"}}}) == Texts{"a -> b -> a"});

    const auto found =
        graph_of({{{at(1)}, {"10.0.0.1:1", at(2)}}, {{at(8), at(2)}, {at(1)}}}).find_loops();
    REQUIRE(found.size() == 1);
    REQUIRE(found[0].size() == 2);
    CHECK(found[0][0].service == 0);
    CHECK(found[0][0].backend == 1);
    CHECK(found[0][0].listener == 1);
    CHECK(found[0][0].next == 1);
    CHECK(found[0][1].next == 0);
}

TEST_CASE("service graph: each step that closes a loop is found, and each once",
          "[proxy][service_graph]") {
    CHECK(loops({{{at(1)}, {at(1), at(2)}}, {{at(2)}, {at(2), at(1)}}}) ==
          Texts{"a -> a", "b -> b", "a -> b -> a"});
    const auto graph = graph_of({{{at(1)}, {at(1), at(1), at(1)}}});
    CHECK(graph.find_loops().size() == 3);
    CHECK(graph.find_loops(2).size() == 2);
}

TEST_CASE("service graph: a backend is reached through a listener that takes its clients",
          "[proxy][service_graph]") {
    struct Row {
        std::string a;
        std::string b;
        bool expected;
    };
    const std::vector<Row> table{
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {"127.0.0.1:80", "127.0.0.1:81", false},
        {"127.0.0.2:80", "127.0.0.1:80", false},
        {"192.0.2.1:80", "192.0.2.1:80", true},
        {"[::1]:80", "[::1]:80", true},
        // The whole of 127.0.0.0/8 is this machine.
        {"127.0.0.1:80", "0.0.0.0:80", true},
        {"127.1.2.3:80", "0.0.0.0:80", true},
        {"127.0.0.1:80", "[::]:80", true},
        {"[::1]:80", "[::]:80", true},
        {"[::1]:80", "0.0.0.0:80", false},
        {"127.0.0.1:81", ":80", false},
        // Other machines have the same port.
        {"192.0.2.1:80", "0.0.0.0:80", false},
        {"192.0.2.1:80", ":80", false},
        {"[2001:db8::1]:80", ":80", false},
        // Any port is none that anybody connects to.
        {"127.0.0.1:80", "127.0.0.1:0", false},
        {"127.0.0.1:80", ":0", false},
        {"unix:/run/x", "unix:/run/x", true},
        {"unix:/run/x", "unix:/run/y", false},
        {"unix:@x", "unix:@x", true},
        {"unix:/run/x", ":80", false},
        {"127.0.0.1:80", "unix:/run/x", false},
    };
    for (const Row& row : table) {
        INFO(row.a << " through " << row.b);
        CHECK(loops({{{row.b}, {row.a}}}).empty() != row.expected);
    }
}

TEST_CASE("service graph: a wildcard listener takes all addresses of this machine",
          "[proxy][service_graph]") {
    CHECK(loops({{{":1"}, {"127.9.9.9:1"}}}) == Texts{"a -> a"});
    CHECK(loops({{{":1"}, {"[::1]:1"}}}) == Texts{"a -> a"});
    CHECK(loops({{{"0.0.0.0:1"}, {"127.0.0.1:1"}}}) == Texts{"a -> a"});
    CHECK(loops({{{"0.0.0.0:1"}, {"[::1]:1"}}}) == Texts{});
    CHECK(loops({{{":1"}, {"192.0.2.1:1", "127.0.0.1:2"}}}) == Texts{});
    CHECK(loops({{{":1"}, {at(2)}}, {{":2"}, {"127.0.0.2:1"}}}) == Texts{"a -> b -> a"});
    for (const Address& own : eplb::local_addresses()) {
        INFO(own.to_string());
        CHECK(loops({{{":1"}, {own.with_port(1).to_string()}}}) == Texts{"a -> a"});
    }
}

TEST_CASE("service graph: a listener with any port is reached by nobody",
          "[proxy][service_graph]") {
    CHECK(loops({{{"127.0.0.1:0"}, {"127.0.0.1:0"}}}) == Texts{});
}

TEST_CASE("service graph: a chain of a hundred thousand takes no recursion, and is cut short",
          "[proxy][service_graph]") {
    static constexpr std::size_t count = 100'000;
    const auto path = [](std::size_t i) { return Address::parse(fmt::format("unix:@{}", i)); };
    ServiceGraph graph;
    for (std::size_t i = 0; i < count; ++i) graph.add_listener(i, path(i), 0);
    for (std::size_t i = 0; i < count; ++i) graph.add_backend(i, path(i + 1), 0);
    CHECK(graph.find_loops().empty());
    graph.add_backend(count - 1, path(0), 0);
    const auto found = graph.find_loops();
    REQUIRE(found.size() == 1);
    CHECK(found[0].size() == count);
    CHECK(to_text(found[0], [](std::size_t i) { return fmt::format("s{}", i); }) ==
          "s0 -> s1 -> s2 -> s3 -> ... -> s99996 -> s99997 -> s99998 -> s99999 -> s0");
}
