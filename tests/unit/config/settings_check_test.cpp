#include "config/settings_check.hpp"

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <utility>
#include <vector>

using namespace eplb::control;
using eplb::Address;

// What a file can say is told in config_reader_test.cpp.

namespace {

using Lines = std::vector<std::string>;

// "of LINE 1" is a place in a file, "of --listen" an option.
Place in_line(std::uint32_t line) {
    Place place;
    place.line = line;
    place.column = 1;
    return place;
}

Place of_option(std::string flag) {
    Place place;
    place.flag = std::move(flag);
    return place;
}

Service service(std::string name, const std::vector<Endpoint>& listen) {
    Service result;
    result.values.config.name = std::move(name);
    result.values.listen = listen;
    return result;
}

Section<BackendValues> backend(std::string address, std::uint32_t weight = 1) {
    Section<BackendValues> result;
    result.values.address.text = std::move(address);
    result.values.weight = weight;
    return result;
}

Lines told(const Diagnostics& diagnostics) {
    Lines lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted())
        lines.push_back(to_text(diagnostic, "f", ""));
    return lines;
}

Lines checked(const Settings& settings) {
    Diagnostics diagnostics;
    check_settings(settings, diagnostics);
    return told(diagnostics);
}

Lines required(const Settings& settings) {
    Diagnostics diagnostics;
    warn_of_missing_backends(settings, diagnostics);
    return told(diagnostics);
}

}  // namespace

TEST_CASE("settings check: nothing at all is fine", "[control][settings_check]") {
    CHECK(checked({}) == Lines{});
    CHECK(required({}) == Lines{});
}

TEST_CASE("settings check: what was said by an option is told by its name",
          "[control][settings_check]") {
    Settings settings;
    settings.services.push_back(service("default", {{":1", of_option("--listen")},
                                                    {"127.0.0.1:1", of_option("--listen")},
                                                    {":1", of_option("--listen")}}));
    settings.services[0].backends.push_back(backend("127.0.0.1:1"));
    settings.services[0].backends[0].values.address.place = of_option("--backend");
    CHECK(checked(settings) ==
          Lines{"eplb: --listen: listener 127.0.0.1:1 is in the way of :1 of --listen: one of them "
                "is for all addresses\n",
                "eplb: --listen: listener :1 is given twice; first of --listen\n",
                "eplb: --backend: backend 127.0.0.1:1 is our own listener 127.0.0.1:1 of --listen: "
                "every connection would loop\n"});
}

TEST_CASE("settings check: a backend that is this machine loops through a wildcard listener",
          "[control][settings_check]") {
    ifaddrs* found = nullptr;
    REQUIRE(::getifaddrs(&found) == 0);
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> release{found, ::freeifaddrs};
    for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
        sockaddr_storage raw{};
        std::memcpy(&raw, entry->ifa_addr, sizeof(sockaddr_in));
        const std::string address =
            Address::from(raw, sizeof(sockaddr_in)).with_port(4711).to_string();
        INFO(address);
        Settings settings;
        settings.services.push_back(service("x", {{":4711", in_line(1)}}));
        settings.services[0].backends.push_back(backend(address));
        CHECK(checked(settings).size() == 1);
        settings.services[0].values.listen[0].text = ":4712";
        CHECK(checked(settings) == Lines{});
    }
}

TEST_CASE("settings check: what a codec has rejected is not told again",
          "[control][settings_check]") {
    Settings settings;
    settings.services.push_back(service("", {}));
    settings.services.push_back(service("", {}));
    settings.services[0].backends = {backend(""), backend("")};
    CHECK(checked(settings) == Lines{});
}

TEST_CASE("settings check: each of several that are the same is told once, and the first is not",
          "[control][settings_check]") {
    Settings settings;
    settings.services.push_back(service("x", {}));
    for (std::uint32_t line = 1; line <= 4; ++line) {
        settings.services[0].backends.push_back(backend("10.0.0.1:1"));
        settings.services[0].backends.back().values.address.place = in_line(line);
    }
    const std::string twice =
        "warning: backend 10.0.0.1:1 is given twice, and gets twice its share; weight says that "
        "more plainly\n";
    CHECK(checked(settings) == Lines{"f:2:1: " + twice, "f:3:1: " + twice, "f:4:1: " + twice});

    for (Section<BackendValues>& each : settings.services[0].backends) {
        each.values.name = "db";
        each.place = each.values.address.place;
        each.origins["name"] = {Origin::Kind::file, each.place, false};
    }
    const std::string error = "error: there are two backends \"db\"; the first is in line 1\n";
    CHECK(checked(settings) == Lines{"f:2:1: " + error, "f:3:1: " + error, "f:4:1: " + error});
}

TEST_CASE("settings check: many services, listeners and backends are checked in no time",
          "[control][settings_check]") {
    // About as many as fit into a file. What takes a step for each two of them takes minutes.
    constexpr std::size_t many = 30'000;
    Settings settings;
    settings.services.push_back(service("x", {}));
    for (std::size_t i = 0; i < many; ++i) {
        settings.services[0].values.listen.push_back(
            {fmt::format("10.0.{}.{}:1", i / 256, i % 256), in_line(1)});
        settings.services[0].backends.push_back(backend("192.0.2.1:1"));
        settings.services[0].backends.back().values.address.place =
            in_line(static_cast<std::uint32_t>(i + 1));
        settings.services.push_back(service(fmt::format("s{}", i), {}));
    }
    Diagnostics diagnostics;
    check_settings(settings, diagnostics);
    CHECK(diagnostics.errors() == 0);
    CHECK(diagnostics.warnings() == many - 1);
}

TEST_CASE("settings check: a service without a backend with a weight is warned of",
          "[control][settings_check]") {
    Settings settings;
    settings.services.push_back(service("db", {}));
    settings.services[0].place = in_line(7);
    // That there is none has been told by whoever read it.
    CHECK(required(settings) == Lines{});
    settings.services[0].backends = {backend("10.0.0.1:1", 0), backend("10.0.0.2:1", 0)};
    const Lines expected{
        "f:7:1: warning: service \"db\" has no backend with a weight above 0: its clients are reset\n"};
    CHECK(required(settings) == expected);
    CHECK(checked(settings) == Lines{});
    settings.services.push_back(service("other", {}));
    settings.services[1].backends = {backend("10.0.0.1:1")};
    CHECK(required(settings) == expected);
    settings.services[0].backends[1].values.weight = 1;
    CHECK(required(settings) == Lines{});
}
