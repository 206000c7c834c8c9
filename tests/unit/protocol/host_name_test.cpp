#include "protocol/host_name.hpp"

#include "support/catch.hpp"

#include <string>

using eplb::HostName;
using eplb::normalize_host_name;

using namespace std::string_literals;

namespace {

HostName::Kind kind_of(std::string text) { return normalize_host_name(text).kind; }

std::string normalized(std::string text) {
    const HostName host = normalize_host_name(text);
    return text.substr(0, host.size);
}

}  // namespace

TEST_CASE("host name: the form in which it compares by bytes", "[protocol][host_name]") {
    CHECK(normalized("Example.COM") == "example.com");
    CHECK(normalized("example.com.") == "example.com");
    CHECK(normalized("A_b-9.Z") == "a_b-9.z");
    CHECK(normalized("FE80::A") == "fe80::a");
    CHECK(normalized("example..com").empty());
    CHECK(normalized("").empty());
}

TEST_CASE("host name: names, addresses, and what is neither", "[protocol][host_name]") {
    CHECK(kind_of("example.com") == HostName::Kind::name);
    CHECK(kind_of("1.2.3.4.5") == HostName::Kind::name);
    CHECK(kind_of("01.2.3.4") == HostName::Kind::name);
    CHECK(kind_of(std::string(63, 'a')) == HostName::Kind::name);
    CHECK(kind_of("1.2.3.4") == HostName::Kind::address);
    CHECK(kind_of("::") == HostName::Kind::address);
    CHECK(kind_of("2001:0db8:0000:0000:0000:ffff:192.168.100.228") == HostName::Kind::address);
    for (const std::string& text :
         {"."s, ".."s, ":"s, "::1%lo"s, "::1\0"s, "1.2.3.4\0"s, "a\0"s, "\xc3\xbc"s, "a b"s,
          std::string(64, 'a'), std::string(64, ':'), std::string(1000, 'a')}) {
        CAPTURE(text);
        CHECK(kind_of(text) == HostName::Kind::bad);
    }
}
