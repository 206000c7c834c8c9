#include "config/codec.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using eplb::Duration;
using eplb::Keepalive;
using eplb::Rate;
using namespace eplb::control;

namespace {

Node of_kind(Node::Kind kind) {
    Node node;
    node.kind = kind;
    node.place.line = 1;
    node.place.column = 1;
    return node;
}

Node text(std::string value) {
    Node node = of_kind(Node::Kind::string);
    node.text = std::move(value);
    return node;
}

Node integer(std::int64_t value) {
    Node node = of_kind(Node::Kind::integer);
    node.integer = value;
    return node;
}

Node array(std::vector<Node> items) {
    Node node = of_kind(Node::Kind::array);
    node.items = std::move(items);
    return node;
}

// A word of the command line.
Node word(std::string value) {
    Node node;
    node.text = std::move(value);
    node.untyped = true;
    node.place.flag = "--option";
    return node;
}

// What a ${VARIABLE} became.
Node expanded(std::string value) {
    Node node = text(std::move(value));
    node.untyped = true;
    return node;
}

template <class T>
struct Result {
    std::optional<T> value;
    std::string complaint;  ///< all of them, one below the other
};

template <class T>
Result<T> read(const Codec<T>& codec, const Node& node) {
    Diagnostics diagnostics;
    Result<T> result{codec.read(node, Complaint{diagnostics, "key"}), {}};
    for (const Diagnostic& diagnostic : diagnostics.sorted())
        result.complaint += (result.complaint.empty() ? "" : "\n") + diagnostic.message;
    // Either there is a value, or there is a complaint.
    CHECK(result.value.has_value() == diagnostics.empty());
    return result;
}

template <class T>
std::string complaint(const Codec<T>& codec, const Node& node) {
    return read(codec, node).complaint;
}

// The value's text as it would be dumped, or the complaint.
template <class T>
std::string rewritten(const Codec<T>& codec, const Node& node) {
    const Result<T> result = read(codec, node);
    return result.value ? codec.write(*result.value) : result.complaint;
}

// What is neither a string nor a number, with its name.
std::vector<std::pair<Node, std::string>> odd_kinds() {
    return {
        {of_kind(Node::Kind::floating), "a number with a fraction"},
        {of_kind(Node::Kind::boolean), "a boolean"},
        {of_kind(Node::Kind::date), "a date or time"},
        {of_kind(Node::Kind::table), "a table"},
    };
}

std::vector<std::string> texts(const std::vector<Endpoint>& endpoints) {
    std::vector<std::string> result;
    for (const Endpoint& endpoint : endpoints) result.push_back(endpoint.text);
    return result;
}

}  // namespace

TEST_CASE("codec: a quoted text is a string of TOML on one line", "[control][codec]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a\"b", "\"a\\\"b\""},
        {"a\\b", "\"a\\\\b\""},
        {"a\nb", "\"a\\u000Ab\""},
        {"\t", "\"\\u0009\""},
        {"\0\x1f\x7f"s, "\"\\u0000\\u001F\\u007F\""},
        {"\xc3\xa4", "\"\xc3\xa4\""},
        {"'#$", "\"'#$\""},
    };
    for (const auto& [value, expected] : table) CHECK(quoted(value) == expected);
}

TEST_CASE("codec: words are listed as a sentence has them", "[control][codec]") {
    CHECK(listed({}).empty());
    CHECK(listed({"a"}) == "a");
    CHECK(listed({"a", "b"}) == "a or b");
    CHECK(listed({"a", "b", "c"}) == "a, b or c");
}

TEST_CASE("codec: what is there instead is told by its kind", "[control][codec]") {
    for (const auto& [node, name] : odd_kinds())
        CHECK(unexpected("a name", node) == "expected a name, got " + name);
    CHECK(unexpected("x", text("")) == "expected x, got a string");
    CHECK(unexpected("x", integer(1)) == "expected x, got a number");
    CHECK(unexpected("x", array({})) == "expected x, got an array");
}

TEST_CASE("codec: a complaint begins with the key, unless an option names itself",
          "[control][codec]") {
    Diagnostics diagnostics;
    const Complaint complain{diagnostics, "weight"};
    CHECK(complain.key() == "weight");
    complain(text(""), "is wrong");
    complain(word(""), "is wrong");
    complain.plain(text(""), "the weight is wrong");
    std::vector<std::string> lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted())
        lines.push_back(to_text(diagnostic, "f", ""));
    CHECK(lines == std::vector<std::string>{"eplb: --option: is wrong\n",
                                            "f:1:1: error: weight: is wrong\n",
                                            "f:1:1: error: the weight is wrong\n"});
}

TEST_CASE("codec: a duration is a text with a unit, or off", "[control][codec]") {
    const Codec<Duration> codec = duration_codec();
    CHECK(codec.type == "duration or \"off\"");
    CHECK(read(codec, text("250ms")).value == Duration{250ms});
    CHECK(read(codec, text("off")).value == Duration{0});
    CHECK(read(codec, text("0")).value == Duration{0});
    CHECK(read(codec, text("0s")).value == Duration{0});
    CHECK(read(codec, word("2h")).value == Duration{2h});
    CHECK(codec.write(90s) == "\"90s\"");
    CHECK(codec.write(Duration{0}) == "\"off\"");

    CHECK(complaint(codec, integer(5)) == "key: a duration needs a unit; did you mean \"5s\"?");
    CHECK(complaint(codec, text("5")) ==
          "key: bad duration \"5\": the unit is missing; did you mean 5s?");
    CHECK(complaint(codec, word("5")) ==
          "bad duration \"5\": the unit is missing; did you mean 5s?");
    CHECK(complaint(codec, text("soon")) ==
          "key: bad duration \"soon\": write a whole number and a unit, like 250ms, 5s, 10m or "
          "2h, or \"off\"");
    for (const auto& [node, name] : odd_kinds())
        CHECK(complaint(codec, node) == "key: expected a duration like \"5s\", got " + name);
    CHECK(complaint(codec, array({text("5s")})) ==
          "key: expected a duration like \"5s\", got an array");
}

TEST_CASE("codec: a duration's range is that of its key", "[control][codec]") {
    const Codec<Duration> codec =
        duration_codec({.may_be_off = false, .least = 10ms, .most = 1min});
    CHECK(codec.type == "duration");
    CHECK(read(codec, text("10ms")).value == Duration{10ms});
    CHECK(read(codec, text("60s")).value == Duration{1min});
    CHECK(complaint(codec, text("off")) == "key: this cannot be turned off");
    CHECK(complaint(codec, text("0")) == "key: this cannot be turned off");
    CHECK(complaint(codec, text("9ms")) == "key: 9ms is shorter than 10ms");
    CHECK(complaint(codec, text("61s")) == "key: 61s is longer than 1m");
    CHECK(read(duration_codec({.least = 10ms}), text("off")).value == Duration{0});
}

TEST_CASE("codec: a negative number of seconds is no duration to suggest", "[control][codec]") {
    const std::string message = complaint(duration_codec(), integer(-5));
    INFO(message);
    CHECK(message.find("-5s") == std::string::npos);
}

TEST_CASE("codec: a size is a text with a unit, or auto", "[control][codec]") {
    const Codec<std::size_t> codec = size_or_auto_codec(64 * 1024, 16 * 1024 * 1024);
    CHECK(codec.type == "size from 64KiB to 16MiB, or \"auto\"");
    CHECK(read(codec, text("auto")).value == std::size_t{0});
    CHECK(read(codec, text("64KiB")).value == std::size_t{65536});
    CHECK(read(codec, text("65536")).value == std::size_t{65536});
    CHECK(read(codec, text("16MiB")).value == std::size_t{16} << 20);
    CHECK(read(codec, word("1MiB")).value == std::size_t{1} << 20);
    CHECK(codec.write(0) == "\"auto\"");
    CHECK(codec.write(1 << 20) == "\"1MiB\"");

    CHECK(complaint(codec, text("65535")) == "key: 65535 is out of range; from 64KiB to 16MiB");
    CHECK(complaint(codec, text("0")) == "key: 0 is out of range; from 64KiB to 16MiB");
    CHECK(complaint(codec, word("17MiB")) == "17MiB is out of range; from 64KiB to 16MiB");
    CHECK(complaint(codec, text("64K")) ==
          "key: bad size \"64K\": unknown unit \"K\"; use KiB, MiB or GiB, or none for bytes");
    CHECK(complaint(codec, text("")) ==
          "key: bad size \"\": write a whole number and a unit, like 64KiB or 1MiB");
    CHECK(complaint(codec, integer(65536)) == "key: expected a size like \"256KiB\", got a number");
    for (const auto& [node, name] : odd_kinds())
        CHECK(complaint(codec, node) == "key: expected a size like \"256KiB\", got " + name);
}

TEST_CASE("codec: a count is a whole number in its range", "[control][codec]") {
    const Codec<std::uint32_t> codec = count_codec(3, 65535);
    CHECK(codec.type == "whole number from 3 to 65535");
    CHECK(read(codec, integer(3)).value == 3u);
    CHECK(read(codec, integer(65535)).value == 65535u);
    CHECK(codec.write(7) == "7");

    for (const std::int64_t bad :
         {std::int64_t{2}, std::int64_t{0}, std::int64_t{-1}, std::int64_t{65536},
          std::int64_t{1} << 32, std::numeric_limits<std::int64_t>::min(),
          std::numeric_limits<std::int64_t>::max()}) {
        CHECK(complaint(codec, integer(bad)) ==
              fmt::format("key: {} is not a whole number from 3 to 65535", bad));
    }
    // In a file, a number is written as one.
    CHECK(complaint(codec, text("7")) ==
          "key: expected a whole number from 3 to 65535, got a string");
    CHECK(complaint(codec, text("auto")) ==
          "key: expected a whole number from 3 to 65535, got a string");
    CHECK(complaint(codec, array({integer(7)})) ==
          "key: expected a whole number from 3 to 65535, got an array");
    for (const auto& [node, name] : odd_kinds())
        CHECK(complaint(codec, node) ==
              "key: expected a whole number from 3 to 65535, got " + name);
}

TEST_CASE("codec: a variable or an option may be a number", "[control][codec]") {
    const Codec<std::uint32_t> codec = count_codec(0, std::numeric_limits<std::uint32_t>::max());
    CHECK(read(codec, expanded("7")).value == 7u);
    CHECK(read(codec, word("7")).value == 7u);
    CHECK(read(codec, word("007")).value == 7u);
    CHECK(read(codec, word("4294967295")).value == 4294967295u);
    for (const std::string bad : {"", " ", "-1", "+1", "1.5", "1e3", "0x10", "7 ", " 7", "seven",
                                  "4294967296", "18446744073709551616", "99999999999999999999"}) {
        INFO('"' << bad << '"');
        CHECK(complaint(codec, expanded(bad)) ==
              fmt::format("key: \"{}\" is not a whole number from 0 to 4294967295", bad));
        CHECK(complaint(codec, word(bad)) ==
              fmt::format("\"{}\" is not a whole number from 0 to 4294967295", bad));
    }
}

TEST_CASE("codec: a count may be auto, where it says so", "[control][codec]") {
    const Codec<std::optional<std::size_t>> codec = optional_count_codec(1, 256);
    CHECK(codec.type == "whole number from 1 to 256, or \"auto\"");
    CHECK(read(codec, integer(256)).value == std::optional<std::size_t>{256});
    const auto automatic = read(codec, text("auto"));
    REQUIRE(automatic.value.has_value());
    CHECK_FALSE(automatic.value->has_value());
    CHECK(rewritten(codec, word("auto")) == "\"auto\"");
    CHECK(rewritten(codec, word("16")) == "16");
    CHECK(complaint(codec, integer(0)) ==
          "key: 0 is not a whole number from 1 to 256, or \"auto\"");
    CHECK(complaint(codec, text("all")) ==
          "key: expected a whole number from 1 to 256, or \"auto\", got a string");
    // A shell would take the quotes away.
    CHECK(complaint(codec, word("all")) == "\"all\" is not a whole number from 1 to 256, or auto");
    CHECK(complaint(codec, expanded("all")) ==
          "key: \"all\" is not a whole number from 1 to 256, or \"auto\"");

    const Codec<std::size_t> plain = count_or_auto_codec(1, 256);
    CHECK(plain.type == codec.type);
    CHECK(read(plain, text("auto")).value == std::size_t{0});
    CHECK(read(plain, integer(7)).value == std::size_t{7});
    CHECK(plain.write(0) == "\"auto\"");
    CHECK(plain.write(7) == "7");
    CHECK(complaint(plain, integer(257)) ==
          "key: 257 is not a whole number from 1 to 256, or \"auto\"");
}

TEST_CASE("codec: a text is one line of something", "[control][codec]") {
    const Codec<std::string> codec = text_codec("a file name");
    CHECK(codec.type == "string");
    for (const std::string good : {"a", "/var/log/a b.log", "\xc3\xa4", "\"", "-", "a\\b"}) {
        CHECK(read(codec, text(good)).value == good);
        CHECK(codec.write(good) == quoted(good));
    }
    CHECK(complaint(codec, text("")) == "key: expected a file name, got nothing");
    for (const std::string& bad : {"a\nb"s, "\t"s, "\0"s, "\x1b[0m"s, "\x7f"s}) {
        CHECK(complaint(codec, text(bad)) == "key: expected a file name, got control characters");
    }
    CHECK(complaint(codec, integer(1)) == "key: expected a file name, got a number");
    CHECK(complaint(codec, array({})) == "key: expected a file name, got an array");
}

TEST_CASE("codec: a name fits into a line of a log", "[control][codec]") {
    const Codec<std::string> codec = name_codec();
    CHECK(codec.type == "name");
    for (const std::string good : {"a", "db-1", "!", "~", ":5555", "a,b=c", "a'b", "a\\b", "[x]"})
        CHECK(read(codec, text(good)).value == good);
    for (const std::string& bad :
         {""s, " "s, "a b"s, "a\tb"s, "a\nb"s, "a\"b"s, "\x7f"s, "\xc3\xa4"s, "\0"s})
        CHECK(complaint(codec, text(bad)) ==
              "key: a name is one or more printable ASCII characters without blanks and quotes");
    CHECK(complaint(codec, integer(1)) == "key: expected a name, got a number");
    CHECK(complaint(codec, array({})) == "key: expected a name, got an array");
}

TEST_CASE("codec: a backend's address has a host and a port", "[control][codec]") {
    const Codec<Endpoint> codec = backend_address_codec();
    CHECK(codec.type == "address");
    for (const std::string good :
         {"127.0.0.1:3306", "[::1]:1", "db.example:65535", "localhost:1", "unix:/run/db.sock",
          "unix:@db", "unix:db.sock", "[fe80::1%1]:3306"}) {
        INFO(good);
        const Result<Endpoint> result = read(codec, text(good));
        REQUIRE(result.value);
        CHECK(result.value->text == good);
        CHECK(result.value->place.line == 1);
        CHECK(codec.write(*result.value) == quoted(good));
    }
    const std::vector<std::pair<std::string, std::string>> table{
        {"", "bad address \"\": it is empty"},
        {"3306", "bad address \"3306\": the port is missing; write host:port, :port or unix:/path"},
        {"db", "bad address \"db\": the port is missing; write host:port, :port or unix:/path"},
        {"db:", "bad address \"db:\": \"\" is not a port; ports are numbers up to 65535"},
        {"db:mysql",
         "bad address \"db:mysql\": \"mysql\" is not a port; ports are numbers up to "
         "65535"},
        {"127.0.0.1:65536",
         "bad address \"127.0.0.1:65536\": \"65536\" is not a port; ports are "
         "numbers up to 65535"},
        {"127.0.0.1:0", "bad address \"127.0.0.1:0\": ports are numbers from 1 to 65535"},
        {"127.0.0.1:00", "bad address \"127.0.0.1:00\": ports are numbers from 1 to 65535"},
        {"[::1]:0", "bad address \"[::1]:0\": ports are numbers from 1 to 65535"},
        {"db:0", "bad address \"db:0\": ports are numbers from 1 to 65535"},
        {":0", "bad address \":0\": ports are numbers from 1 to 65535"},
        {":3306", "\":3306\" names no host; did you mean 127.0.0.1:3306?"},
        {"0.0.0.0:3306", "\"0.0.0.0:3306\" names no host; did you mean 127.0.0.1:3306?"},
        {"[::]:3306", "\"[::]:3306\" names no host; did you mean 127.0.0.1:3306?"},
        {"::1:3306", "bad address \"::1:3306\": an IPv6 address needs brackets: [address]:port"},
        {"300.1.1.1:1", "bad address \"300.1.1.1:1\": \"300.1.1.1\" is not an IP address"},
        {"two words:1",
         "bad address \"two words:1\": \"two words\" is neither an IP address nor a "
         "host name"},
        {"unix:", "bad address \"unix:\": the path is missing; write unix:/path or unix:@name"},
    };
    for (const auto& [bad, problem] : table) {
        INFO(bad);
        CHECK(complaint(codec, text(bad)) == "key: " + problem);
        CHECK(complaint(codec, word(bad)) == problem);
    }
    CHECK(complaint(codec, integer(3306)) ==
          "key: expected an address like \"127.0.0.1:3306\", got a number");
    CHECK(complaint(codec, array({text("127.0.0.1:1")})) ==
          "key: expected an address like \"127.0.0.1:3306\", got an array");
}

TEST_CASE("codec: port 0 of a name is no port, however many zeros it has", "[control][codec]") {
    CHECK(complaint(backend_address_codec(), text("localhost:00")) ==
          "key: bad address \"localhost:00\": ports are numbers from 1 to 65535");
    CHECK(complaint(listen_codec(), text("localhost:000")) ==
          "key: bad address \"localhost:000\": ports are numbers from 1 to 65535");
}

TEST_CASE("codec: listeners are an address or several", "[control][codec]") {
    using Texts = std::vector<std::string>;
    const Codec<std::vector<Endpoint>> codec = listen_codec();
    CHECK(codec.type == "address, or array of addresses");
    const auto read_texts = [&](const Node& node) {
        const auto result = read(codec, node);
        return result.value ? texts(*result.value) : Texts{result.complaint};
    };
    CHECK(read_texts(text(":5555")) == Texts{":5555"});
    CHECK(read_texts(array({text(":1"), text("unix:/x"), text("host:2")})) ==
          Texts{":1", "unix:/x", "host:2"});
    CHECK(read_texts(word(":5555")) == Texts{":5555"});
    // One variable may stand for several; a path with a comma is none.
    CHECK(read_texts(expanded(":1,:2")) == Texts{":1", ":2"});
    CHECK(read_texts(text("unix:/a,b")) == Texts{"unix:/a,b"});
    CHECK(read_texts(array({expanded("unix:/a,b")})) == Texts{"unix:/a,b"});

    CHECK(codec.write({}) == "[]");
    CHECK(codec.write({{":1", {}}, {"unix:/\"", {}}}) == "[\":1\", \"unix:/\\\"\"]");

    CHECK(complaint(codec, array({})) == "key: expected at least one address, got none");
    CHECK(complaint(codec, integer(5555)) ==
          "key: expected addresses like [\":5555\"], got a number");
    for (const auto& [node, name] : odd_kinds())
        CHECK(complaint(codec, node) == "key: expected addresses like [\":5555\"], got " + name);
    CHECK(complaint(codec, text("")) == "key: bad address \"\": it is empty");
    CHECK(complaint(codec, expanded(":1,")) == "key: bad address \"\": it is empty");
    CHECK(complaint(codec, text(":1,:2")) ==
          "key: bad address \":1,:2\": an IPv6 address needs brackets: [address]:port");
    // Each of them is told.
    CHECK(complaint(codec, array({text(":0"), text(":1"), integer(2), array({})})) ==
          "key: bad address \":0\": ports are numbers from 1 to 65535\n"
          "key: expected an address like \":5555\", got a number\n"
          "key: expected an address like \":5555\", got an array");
}

TEST_CASE("codec: each of several listeners has its own place", "[control][codec]") {
    Node first = text(":1");
    Node second = text(":2");
    second.place.line = 2;
    const auto result = read(listen_codec(), array({first, second}));
    REQUIRE(result.value);
    CHECK(result.value->at(0).place.line == 1);
    CHECK(result.value->at(1).place.line == 2);
}

TEST_CASE("codec: the control socket is a Unix socket, or off", "[control][codec]") {
    const Codec<std::string> codec = unix_socket_codec();
    CHECK(codec.type == "Unix socket, or \"off\"");
    for (const std::string good : {"off", "unix:/run/eplb/control.sock", "unix:@eplb", "unix:x"}) {
        CHECK(read(codec, text(good)).value == good);
        CHECK(codec.write(good) == quoted(good));
    }
    CHECK(complaint(codec, text("127.0.0.1:9000")) ==
          "key: only a Unix socket, like \"unix:/run/eplb/control.sock\": whoever can connect can "
          "reconfigure");
    CHECK(complaint(codec, text("localhost:9000")) ==
          "key: only a Unix socket, like \"unix:/run/eplb/control.sock\": whoever can connect can "
          "reconfigure");
    CHECK(complaint(codec, text("/run/eplb.sock")) ==
          "key: bad address \"/run/eplb.sock\": the port is missing; write host:port, :port or "
          "unix:/path");
    CHECK(complaint(codec, text("unix:")) ==
          "key: bad address \"unix:\": the path is missing; write unix:/path or unix:@name");
    CHECK(complaint(codec, text("unix:/" + std::string(107, 'x'))) ==
          "key: bad address \"unix:/" + std::string(107, 'x') +
              "\": the path has 108 bytes, but a Unix socket's has at most 107");
    CHECK(complaint(codec, of_kind(Node::Kind::boolean)) ==
          "key: expected an address like \"unix:/run/eplb/control.sock\", got a boolean");
}

TEST_CASE("codec: a rate is a text, or off", "[control][codec]") {
    const Codec<Rate> codec = rate_codec();
    CHECK(codec.type == "rate or \"off\"");
    CHECK(read(codec, text("100/s")).value == Rate{100, 1s});
    CHECK(read(codec, word("5/10s")).value == Rate{5, 10s});
    CHECK(rewritten(codec, text("off")) == "\"off\"");
    CHECK(rewritten(codec, text("60/1m")) == "\"60/m\"");
    CHECK(complaint(codec, text("100")) ==
          "key: bad rate \"100\": the period is missing; did you mean 100/s?");
    CHECK(complaint(codec, integer(100)) ==
          "key: expected a rate like \"100/s\", or \"off\", got a number");
}

TEST_CASE("codec: a boolean is one, or a variable that says so", "[control][codec]") {
    const Codec<bool> codec = boolean_codec();
    CHECK(codec.type == "boolean");
    Node yes = of_kind(Node::Kind::boolean);
    yes.boolean = true;
    CHECK(read(codec, yes).value == true);
    CHECK(read(codec, of_kind(Node::Kind::boolean)).value == false);
    CHECK(read(codec, expanded("true")).value == true);
    CHECK(read(codec, expanded("false")).value == false);
    CHECK(codec.write(true) == "true");
    CHECK(codec.write(false) == "false");
    CHECK(complaint(codec, text("true")) == "key: expected true or false, got a string");
    CHECK(complaint(codec, expanded("yes")) == "key: expected true or false, got a string");
    CHECK(complaint(codec, integer(1)) == "key: expected true or false, got a number");
}

TEST_CASE("codec: keepalive is a table of three, none of which has to be there",
          "[control][codec]") {
    const Codec<Keepalive> codec = keepalive_codec();
    CHECK(codec.type == "table of idle, interval and count, or \"off\"");
    const auto table = [](std::vector<Member> members) {
        Node node = of_kind(Node::Kind::table);
        node.members = std::move(members);
        return node;
    };
    CHECK(rewritten(codec, table({})) == "{ idle = \"1m\", interval = \"10s\", count = 6 }");
    CHECK(rewritten(codec, table({{"count", {}, integer(127)}, {"idle", {}, text("1s")}})) ==
          "{ idle = \"1s\", interval = \"10s\", count = 127 }");
    CHECK(rewritten(codec, table({{"interval", {}, text("32767s")}})) ==
          "{ idle = \"1m\", interval = \"32767s\", count = 6 }");
    CHECK(rewritten(codec, text("off")) == "\"off\"");
    CHECK(complaint(codec, table({{"idle", {}, text("off")}})) == "key: this cannot be turned off");
    CHECK(complaint(codec, table({{"idle", {}, text("999ms")},
                                  {"interval", {}, text("32768s")},
                                  {"count", {}, integer(128)}})) ==
          "key: 999ms is shorter than 1s\n"
          "key: 32768s is longer than 32767s\n"
          "key: 128 is not a whole number from 1 to 127");
    CHECK(complaint(codec, text("on")) ==
          "key: expected a table like { idle = \"60s\" }, or \"off\", got a string");
}

TEST_CASE("codec: a name of the system's is short, and none of them has a name of its own",
          "[control][codec]") {
    const Codec<std::string> codec = system_name_codec("the name of an interface", "any", 15);
    CHECK(codec.type == "the name of an interface, or \"any\"");
    CHECK(read(codec, text("any")).value == "");
    CHECK(read(codec, text("eth0")).value == "eth0");
    CHECK(read(codec, text("fifteen_letters")).value == "fifteen_letters");
    CHECK(codec.write("") == "\"any\"");
    CHECK(codec.write("eth0") == "\"eth0\"");
    for (const std::string& bad : {""s, "sixteen_letters_"s, "a b"s, "a/b"s, "a\nb"s, "\0"s})
        CHECK(complaint(codec, text(bad)) ==
              "key: \"" + bad + "\" is not the name of an interface");
    CHECK(complaint(codec, integer(0)) == "key: expected the name of an interface, got a number");
}

TEST_CASE("codec: lists of addresses and networks are written as they are read",
          "[control][codec]") {
    CHECK(rewritten(sources_codec(), array({})) == "[]");
    CHECK(rewritten(sources_codec(), array({text("10.0.0.1"), text("2001:DB8:0::1"),
                                            text("::ffff:10.0.0.2"), text("fe80::1%1")})) ==
          "[\"10.0.0.1\", \"2001:db8::1\", \"10.0.0.2\", \"fe80::1%lo\"]");
    CHECK(rewritten(sources_codec(), expanded("10.0.0.1,::1")) == "[\"10.0.0.1\", \"::1\"]");
    for (const std::string bad : {"::1]:80", "[::1]", "10.0.0.1:80", "10.0.0", "10.0.0.0/8",
                                  "localhost", "0.0.0.0", "::", "", "unix:/x", "1.2.3.4,5.6.7.8"}) {
        INFO(bad);
        CHECK(complaint(sources_codec(), text(bad)) ==
              "key: \"" + bad + "\" is not an IP address of this machine, like 10.0.0.1");
    }
    CHECK(rewritten(networks_codec(), array({})) == "[]");
    CHECK(rewritten(networks_codec(),
                    array({text("10.0.0.0/8"), text("unix"), text("::/0"), text("10.1.2.3/32")})) ==
          "[\"10.0.0.0/8\", \"unix:\", \"::/0\", \"10.1.2.3\"]");
    CHECK(rewritten(networks_codec(), expanded("10.0.0.0/8,unix:")) ==
          "[\"10.0.0.0/8\", \"unix:\"]");
    CHECK(rewritten(proxy_tlvs_codec(), array({text("unique_id"), text("crc32c")})) ==
          "[\"crc32c\", \"unique_id\"]");
    CHECK(rewritten(proxy_tlvs_codec(), text("authority")) == "[\"authority\"]");
}

TEST_CASE("codec: an item that is no text is told as what it is", "[control][codec]") {
    CHECK(complaint(networks_codec(), array({text("10.0.0.0/8"), integer(10)}))
              .ends_with("got a number"));
    CHECK(complaint(sources_codec(), array({integer(10)})).ends_with("got a number"));
    CHECK(complaint(proxy_tlvs_codec(), array({of_kind(Node::Kind::boolean)}))
              .ends_with("got a boolean"));
}

TEST_CASE("codec: a mode is octal digits in quotes, or default", "[control][codec]") {
    const Codec<std::optional<mode_t>> codec = mode_codec();
    CHECK(codec.type == "octal digits, or \"default\"");
    CHECK(rewritten(codec, text("0660")) == "\"0660\"");
    CHECK(rewritten(codec, text("777")) == "\"0777\"");
    CHECK(rewritten(codec, text("0")) == "\"0000\"");
    CHECK(rewritten(codec, text("default")) == "\"default\"");
    for (const std::string bad : {"", "0o660", "8", "0680", "1777", "-1", "+7", " 7", "7 ",
                                  "rw-rw----", "99999999999999999999"}) {
        INFO(bad);
        CHECK(complaint(codec, text(bad)) == "key: expected octal digits in quotes, like \"0660\"");
    }
    CHECK(complaint(codec, integer(432)) == "key: expected octal digits in quotes, like \"0660\"");
}

TEST_CASE("codec: a choice is one of its words", "[control][codec]") {
    const Codec<int> codec = choice_codec<int>({{"auto", 1}, {"splice", 2}, {"copy", 3}});
    CHECK(codec.type == "\"auto\" | \"splice\" | \"copy\"");
    CHECK(read(codec, text("auto")).value == 1);
    CHECK(read(codec, text("copy")).value == 3);
    CHECK(read(codec, word("splice")).value == 2);
    CHECK(codec.write(2) == "\"splice\"");

    CHECK(complaint(codec, text("spilce")) == "unknown key \"spilce\"; did you mean \"splice\"?");
    CHECK(complaint(codec, word("spilce")) == "unknown key \"spilce\"; did you mean \"splice\"?");
    CHECK(complaint(codec, text("zerocopying")) ==
          "unknown key \"zerocopying\"; use auto, splice or copy");
    CHECK(complaint(codec, text("")) == "unknown key \"\"; use auto, splice or copy");
    CHECK(complaint(codec, text("AUTO")) == "unknown key \"AUTO\"; use auto, splice or copy");
    CHECK(complaint(codec, integer(1)) == "key: expected auto, splice or copy, got a number");
    CHECK(complaint(codec, array({text("auto")})) ==
          "key: expected auto, splice or copy, got an array");
    for (const auto& [node, name] : odd_kinds())
        CHECK(complaint(codec, node) == "key: expected auto, splice or copy, got " + name);
}
