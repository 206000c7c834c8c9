#include "eplb/client_hello.hpp"

#include "support/catch.hpp"
#include "test_data.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using eplb::AlpnList;
using eplb::ClientHello;
using eplb::ClientHelloProblem;
using eplb::ClientHelloResult;
using eplb::max_client_hello_bytes;
using eplb::max_client_hello_message_bytes;
using eplb::parse_client_hello;
using Problem = eplb::ClientHelloProblem;
using Status = eplb::ClientHelloResult::Status;

using namespace std::string_literals;

static_assert(std::forward_iterator<AlpnList::Iterator>);

namespace {

// In a block of its own that ends where the bytes end, so that a sanitizer sees a read beyond.
ClientHelloResult parse(std::string_view received) {
    std::vector<std::byte> exact(received.size());
    if (!exact.empty()) std::memcpy(exact.data(), received.data(), exact.size());
    return parse_client_hello(exact);
}

// --- how a hello is made

std::string number(std::size_t value, int bytes) {
    std::string digits;
    for (int i = bytes - 1; i >= 0; --i) digits += static_cast<char>(value >> 8 * i & 0xff);
    return digits;
}

// `content` behind its length.
std::string counted(const std::string& content, int bytes) {
    return number(content.size(), bytes) + content;
}

constexpr unsigned server_name = 0, status_request = 5, groups = 10, alpn = 16, key_share = 51,
                   versions = 43, ech = 0xfe0d, grease = 0x1a1a;

std::string extension(unsigned type, const std::string& content) {
    return number(type, 2) + counted(content, 2);
}

std::string host_name(const std::string& name) { return '\0' + counted(name, 2); }

std::string server_name_list(const std::string& names) {
    return extension(server_name, counted(names, 2));
}

std::string sni(const std::string& name) { return server_name_list(host_name(name)); }

std::string alpn_list(const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names) list += counted(name, 1);
    return extension(alpn, counted(list, 2));
}

std::string version_list(const std::vector<unsigned>& offered) {
    std::string list;
    for (const unsigned version : offered) list += number(version, 2);
    return extension(versions, counted(list, 1));
}

// What may be wrong with a hello, and is not.
struct Parts {
    std::string version = "\x03\x03";
    std::string random = std::string(32, 'r');
    std::string session_id = counted(std::string(32, 's'), 1);
    std::string cipher_suites = counted("\x1a\x1a\x13\x01\x13\x02", 2);
    std::string compression = "\x01\x00"s;
    std::string extensions = counted(sni("www.example.com"), 2);

    [[nodiscard]] std::string body() const {
        return version + random + session_id + cipher_suites + compression + extensions;
    }
};

std::string message_of(const std::string& body) { return '\x01' + counted(body, 3); }

std::string record(const std::string& payload, const std::string& type_version = "\x16\x03\x01") {
    return type_version + counted(payload, 2);
}

std::string hello(const Parts& parts) { return record(message_of(parts.body())); }

std::string hello_with(const std::string& extensions) {
    Parts parts;
    parts.extensions = counted(extensions, 2);
    return hello(parts);
}

// One record ends before each of `cuts`, which are places in the message, in order.
std::string in_records(const std::string& message, const std::vector<std::size_t>& cuts) {
    std::string stream;
    std::size_t from = 0;
    for (const std::size_t cut : cuts) {
        stream += record(message.substr(from, cut - from));
        from = cut;
    }
    return stream + record(message.substr(from));
}

std::string message_in(std::string_view stream) {
    std::string message;
    while (!stream.empty()) {
        const std::size_t size = static_cast<unsigned char>(stream[3]) * std::size_t{256} +
                                 static_cast<unsigned char>(stream[4]);
        message += stream.substr(5, size);
        stream.remove_prefix(5 + size);
    }
    return message;
}

std::string long_hello(std::size_t message_bytes) {
    const std::string front = sni("a.example");
    const std::size_t others = message_of(Parts{.extensions = counted(front, 2)}.body()).size();
    return message_of(
        Parts{.extensions = counted(
                  front + extension(grease, std::string(message_bytes - others - 4, 'x')), 2)}
            .body());
}

// A hello as of a browser: GREASE wherever it may be, keys against quantum computers, ECH.
std::string browser_message() {
    return message_of(
        Parts{.extensions = counted(
                  extension(grease, "") + extension(key_share, counted(std::string(1250, 'k'), 2)) +
                      sni("outer.example") + extension(ech, "\0"s + std::string(200, 'e')) +
                      alpn_list({"\x2a\x2a", "h2", "http/1.1"}) +
                      version_list({0x7a7a, 0x0304, 0x0303}) + extension(0xcaca, "\0"s),
                  2)}
            .body());
}

// --- what is said of it

struct Offer {
    std::string name;
    std::vector<std::string> alpn;
    bool operator==(const Offer&) const = default;
};

std::vector<std::string> names(const AlpnList& list) {
    std::vector<std::string> all;
    for (const std::string_view name : list) all.emplace_back(name);
    return all;
}

ClientHello complete(std::string_view received) {
    const ClientHelloResult result = parse(received);
    CAPTURE(to_string(result.problem));
    REQUIRE(result.status == Status::complete);
    CHECK(result.problem == Problem::none);
    return result.hello;
}

std::string name_in(const std::string& name) {
    return std::string{complete(hello_with(sni(name))).server_name()};
}

Problem bad(std::string_view received) {
    const ClientHelloResult result = parse(received);
    CHECK(result.status == Status::bad);
    CHECK(result.needed_bytes == 0);
    CHECK(result.hello_bytes == 0);
    CHECK(result.hello == ClientHello{});
    return result.problem;
}

Problem not_tls(std::string_view received) {
    const ClientHelloResult result = parse(received);
    CHECK(result.status == Status::not_tls);
    CHECK(result.hello == ClientHello{});
    return result.problem;
}

// A hello that is cut waits for the rest, wherever it is cut, and never for more than there will be.
bool waits_for_the_rest(std::string_view stream) {
    std::size_t needed = 0;
    for (std::size_t size = 0; size < stream.size(); ++size) {
        const ClientHelloResult result = parse(stream.substr(0, size));
        const bool fine = result.status == Status::incomplete && result.problem == Problem::none &&
                          result.needed_bytes > size && result.needed_bytes <= stream.size() &&
                          result.needed_bytes >= needed && result.hello == ClientHello{};
        if (!fine) {
            UNSCOPED_INFO("with " << size << " bytes of " << stream.size());
            return false;
        }
        needed = result.needed_bytes;
    }
    return true;
}

// It is waited for until it is refused, within `stream`; and then for the same reason, whatever comes.
bool is_refused_for_good(const std::string& stream, Problem problem) {
    for (const std::string& more : {"\0\0\0\0\0\0"s, "\x16\x03\x01\x00\x01\x01"s, "GET / HTTP"s}) {
        const std::string longer = stream + more;
        bool refused = false;
        for (std::size_t size = 0; size <= longer.size(); ++size) {
            const ClientHelloResult result = parse(std::string_view{longer}.substr(0, size));
            const bool waits = result.status == Status::incomplete;
            const bool refuses = result.problem == problem &&
                                 (result.status == Status::bad || result.status == Status::not_tls);
            const bool fine = refused || size >= stream.size() ? refuses : waits || refuses;
            if (!fine) {
                UNSCOPED_INFO("with " << size << " bytes: " << to_string(result.problem));
                return false;
            }
            refused = refuses;
        }
    }
    return true;
}

std::map<std::string, std::string> recorded() {
    std::map<std::string, std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator{eplb::test::data / "client_hello"}) {
        if (entry.path().extension() != ".bin") continue;
        std::ifstream in{entry.path(), std::ios::binary};
        files[entry.path().stem().string()] = {std::istreambuf_iterator<char>{in}, {}};
    }
    return files;
}

}  // namespace

// --- what it says

TEST_CASE("client hello: the server name, the protocols and the versions are told",
          "[protocol][client_hello]") {
    const std::string stream = hello_with(sni("www.example.com") + alpn_list({"h2", "http/1.1"}) +
                                          version_list({0x0304, 0x0303, 0x0302}));
    const ClientHelloResult result = parse(stream);
    REQUIRE(result.status == Status::complete);
    CHECK(result.problem == Problem::none);
    CHECK(result.hello_bytes == stream.size());
    CHECK(result.hello.server_name() == "www.example.com");
    CHECK_FALSE(result.hello.server_name_is_address());
    CHECK(names(result.hello.alpn()) == std::vector<std::string>{"h2", "http/1.1"});
    CHECK(result.hello.max_version() == 0x0304);
    CHECK(result.hello.min_version() == 0x0302);
    CHECK_FALSE(result.hello.offers_ech());
}

TEST_CASE("client hello: without extensions it is one of old, which says no more than its version",
          "[protocol][client_hello]") {
    for (const unsigned version : {0x0300u, 0x0301u, 0x0302u, 0x0303u}) {
        Parts parts;
        parts.version = number(version, 2);
        parts.session_id = "\0"s;
        parts.cipher_suites = counted("\x00\x2f"s, 2);
        for (const std::string& extensions : {""s, "\0\0"s}) {
            parts.extensions = extensions;
            const ClientHello said = complete(hello(parts));
            CHECK(said.server_name().empty());
            CHECK(said.alpn().empty());
            CHECK(said.max_version() == version);
            CHECK(said.min_version() == 0);
        }
    }
}

TEST_CASE("client hello: the list of versions counts, not the version that is always 1.2",
          "[protocol][client_hello]") {
    CHECK(complete(hello_with(version_list({0x0304}))).max_version() == 0x0304);
    CHECK(complete(hello_with(version_list({0x0304}))).min_version() == 0x0304);
    const ClientHello any_order = complete(hello_with(version_list({0x0302, 0x0304, 0x0301})));
    CHECK(any_order.max_version() == 0x0304);
    CHECK(any_order.min_version() == 0x0301);
    const ClientHello made_up = complete(hello_with(version_list({0xfafa, 0x0303, 0x7f1c})));
    CHECK(made_up.max_version() == 0x0303);
    CHECK(made_up.min_version() == 0x0303);
    CHECK(complete(hello_with(version_list({0xfafa, 0x7f1c}))).max_version() == 0);

    CHECK(bad(hello_with(version_list({}))) == Problem::bad_versions);
    CHECK(bad(hello_with(extension(versions, "\x03\x03\x04\x03"))) == Problem::bad_versions);
    CHECK(bad(hello_with(extension(versions, "\x04\x03\x04"))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(versions, "\x02\x03\x04\x03"))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(versions, ""))) == Problem::bad_length);
}

TEST_CASE("client hello: ECH is told, and the name is the outer one", "[protocol][client_hello]") {
    const ClientHello said = complete(record(browser_message()));
    CHECK(said.offers_ech());
    CHECK(said.server_name() == "outer.example");
    CHECK(names(said.alpn()) == std::vector<std::string>{"\x2a\x2a", "h2", "http/1.1"});
    CHECK(said.max_version() == 0x0304);
    CHECK(said.min_version() == 0x0303);
}

// --- server names

TEST_CASE("client hello: server names are lower case, and have no dot at the end",
          "[protocol][client_hello]") {
    CHECK(name_in("WWW.Example.COM") == "www.example.com");
    CHECK(name_in("www.example.com.") == "www.example.com");
    CHECK(name_in("localhost") == "localhost");
    CHECK(name_in("xn--bcher-kva.example") == "xn--bcher-kva.example");
    CHECK(name_in("_sip._tcp.example.com") == "_sip._tcp.example.com");
    CHECK(name_in("-a-.example") == "-a-.example");
    const std::string longest = fmt::format("{0:a>63}.{0:a>63}.{0:a>63}.{0:a>61}", "");
    CHECK(longest.size() == ClientHello::max_server_name);
    CHECK(name_in(longest) == longest);
    CHECK(name_in(longest + '.') == longest);
}

TEST_CASE("client hello: a name that no host can have is refused", "[protocol][client_hello]") {
    const std::string too_long = fmt::format("{0:a>63}.{0:a>63}.{0:a>63}.{0:a>62}", "");
    for (const std::string& name : {""s,
                                    "."s,
                                    "a.."s,
                                    "a..b"s,
                                    ".a"s,
                                    std::string(64, 'a'),
                                    too_long,
                                    too_long + '.',
                                    std::string(300, 'a'),
                                    "a\0b"s,
                                    "www.example.com\0"s,
                                    "\0"s,
                                    "a b"s,
                                    "a/b"s,
                                    "a\nb"s,
                                    "*.example.com"s,
                                    "b\xc3\xbc"s
                                    "cher.example",
                                    "example.com:443"s,
                                    "[::1]"s,
                                    "fe80::1%lo"s,
                                    "user@example.com"s}) {
        CAPTURE(name);
        CHECK(bad(hello_with(sni(name))) == Problem::bad_server_name);
    }
}

TEST_CASE("client hello: an address where a name belongs is told as one",
          "[protocol][client_hello]") {
    const auto is_address = [](const std::string& text, const std::string& told) {
        const ClientHello said = complete(hello_with(sni(text)));
        CHECK(said.server_name() == told);
        return said.server_name_is_address();
    };
    CHECK(is_address("192.0.2.7", "192.0.2.7"));
    CHECK(is_address("192.0.2.7.", "192.0.2.7"));
    CHECK(is_address("2001:DB8::7", "2001:db8::7"));
    CHECK(is_address("::ffff:192.0.2.7", "::ffff:192.0.2.7"));
    CHECK_FALSE(is_address("1.2.3", "1.2.3"));
    CHECK_FALSE(is_address("1.2.3.256", "1.2.3.256"));
    CHECK_FALSE(is_address("1.2.3.4.example", "1.2.3.4.example"));
}

TEST_CASE("client hello: of server names there is one, among names of other kinds",
          "[protocol][client_hello]") {
    const std::string other = "\x07" + counted("\x01\x02", 2);
    CHECK(complete(hello_with(server_name_list(other + host_name("a.example") + other)))
              .server_name() == "a.example");
    CHECK(complete(hello_with(server_name_list(other))).server_name().empty());

    CHECK(bad(hello_with(server_name_list(""))) == Problem::bad_server_name_list);
    CHECK(bad(hello_with(server_name_list(host_name("a.example") + host_name("b.example")))) ==
          Problem::bad_server_name_list);
    CHECK(bad(hello_with(server_name_list(host_name("a.example") + host_name("a.example")))) ==
          Problem::bad_server_name_list);
    // What a server answers with.
    CHECK(bad(hello_with(extension(server_name, ""))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(server_name, counted(host_name("a"), 2) + 'x'))) ==
          Problem::bad_length);
    CHECK(bad(hello_with(extension(server_name, "\x00\x05\x00\x00\x01"s))) == Problem::bad_length);
    CHECK(bad(hello_with(server_name_list("\x00\x00\x02"s
                                          "a"))) == Problem::bad_length);
    CHECK(bad(hello_with(server_name_list("\x00\x00"s))) == Problem::bad_length);
}

// --- ALPN

TEST_CASE("client hello: protocols come in the client's order, whatever their bytes",
          "[protocol][client_hello]") {
    const std::vector<std::string> offered{"postgresql", "\0"s, "\x9a\x9a", std::string(200, 'p')};
    const ClientHello said = complete(hello_with(alpn_list(offered)));
    CHECK(names(said.alpn()) == offered);
    CHECK_FALSE(said.alpn().cut());
    CHECK(said.alpn().contains("postgresql"));
    CHECK(said.alpn().contains("\0"s));
    CHECK_FALSE(said.alpn().contains("postgres"));
    CHECK_FALSE(said.alpn().contains("PostgreSQL"));
    CHECK_FALSE(said.alpn().contains(""));
}

TEST_CASE("client hello: protocols beyond what there is room for are left out from the end",
          "[protocol][client_hello]") {
    const std::vector<std::string> exactly{std::string(127, 'a'), std::string(127, 'b')};
    const ClientHello full = complete(hello_with(alpn_list(exactly)));
    CHECK(names(full.alpn()) == exactly);
    CHECK_FALSE(full.alpn().cut());

    std::vector<std::string> more = exactly;
    more.insert(more.begin() + 1, std::string(255, 'c'));
    const ClientHello cut = complete(hello_with(alpn_list(more)));
    CHECK(names(cut.alpn()) == std::vector<std::string>{exactly[0]});
    CHECK(cut.alpn().cut());
    const ClientHello one = complete(hello_with(alpn_list({std::string(255, 'c')})));
    CHECK(names(one.alpn()) == std::vector<std::string>{std::string(255, 'c')});
}

TEST_CASE("client hello: lists of protocols that are none are refused",
          "[protocol][client_hello]") {
    CHECK(bad(hello_with(alpn_list({}))) == Problem::bad_alpn);
    CHECK(bad(hello_with(alpn_list({"h2", ""}))) == Problem::bad_alpn);
    CHECK(bad(hello_with(extension(alpn, ""))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(alpn, "\x00\x03\x03h2"s))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(alpn, "\x00\x04\x02h2"s))) == Problem::bad_length);
    CHECK(bad(hello_with(extension(alpn, "\x00\x02\x02h2"s))) == Problem::bad_length);
}

TEST_CASE("alpn list: the default one is empty, and iterators go over the rest",
          "[protocol][client_hello]") {
    AlpnList list;
    CHECK(list.empty());
    CHECK(list.begin() == list.end());
    list.add("h2");
    list.add("h3");
    CHECK_FALSE(list.empty());
    auto it = list.begin();
    CHECK(*it++ == "h2");
    CHECK(*it == "h3");
    CHECK(++it == list.end());
    AlpnList other;
    other.add("h2");
    CHECK_FALSE(list == other);
    other.add("h3");
    CHECK(list == other);
}

// --- lengths

TEST_CASE("client hello: a length that lies is refused", "[protocol][client_hello]") {
    const Parts good;
    const auto with = [&](auto member, const std::string& value) {
        Parts parts;
        parts.*member = value;
        return hello(parts);
    };
    CHECK(bad(with(&Parts::session_id, counted(std::string(33, 's'), 1))) == Problem::bad_length);
    CHECK(bad(with(&Parts::session_id, "\xff")) == Problem::bad_length);
    CHECK(bad(with(&Parts::cipher_suites, counted("", 2))) == Problem::bad_length);
    CHECK(bad(with(&Parts::cipher_suites, counted("\x13\x01\x13", 2))) == Problem::bad_length);
    CHECK(bad(with(&Parts::cipher_suites, "\xff\xfe\x13\x01")) == Problem::bad_length);
    CHECK(bad(with(&Parts::compression, "\0"s)) == Problem::bad_length);
    CHECK(bad(with(&Parts::compression, "\xff")) == Problem::bad_length);
    CHECK(bad(with(&Parts::extensions, "\0"s)) == Problem::bad_length);
    CHECK(bad(with(&Parts::extensions, "\0\x01"s)) == Problem::bad_length);
    CHECK(bad(with(&Parts::extensions, "\0\0\0"s)) == Problem::bad_length);
    CHECK(bad(with(&Parts::extensions, good.extensions + '\0')) == Problem::bad_length);
    CHECK(bad(hello_with("\x12")) == Problem::bad_length);
    CHECK(bad(hello_with("\x12\x34\x00"s)) == Problem::bad_length);
    CHECK(bad(hello_with("\x12\x34\x00\x01"s)) == Problem::bad_length);

    // The message itself: too short for what every hello has, and said at once.
    const std::string least =
        good.version + good.random + "\0"s + counted("\x13\x01", 2) + "\x01\0"s;
    CHECK(least.size() == 41);
    CHECK(complete(record(message_of(least))).max_version() == 0x0303);
    const std::string shorter = record(message_of(least.substr(1)));
    CHECK(bad(shorter.substr(0, 9)) == Problem::bad_length);
    CHECK(parse(shorter.substr(0, 8)).status == Status::incomplete);
}

TEST_CASE("client hello: an extension that is there twice is refused", "[protocol][client_hello]") {
    CHECK(bad(hello_with(sni("a.example") + sni("b.example"))) == Problem::duplicate_extension);
    CHECK(bad(hello_with(alpn_list({"h2"}) + alpn_list({"h2"}))) == Problem::duplicate_extension);
    CHECK(bad(hello_with(extension(status_request, "") + extension(groups, "x") +
                         extension(status_request, "y"))) == Problem::duplicate_extension);
    CHECK(bad(hello_with(extension(grease, "") + extension(grease, "\0"s))) ==
          Problem::duplicate_extension);
    CHECK(complete(hello_with(extension(grease, "") + extension(0xdada, "") + sni("a.example")))
              .server_name() == "a.example");
}

TEST_CASE("client hello: thousands of extensions are read, and the second of a kind is seen",
          "[protocol][client_hello]") {
    std::string many;
    for (unsigned type = 100; type < 4100; ++type) many += extension(type, "");
    CHECK(complete(hello_with(many + sni("a.example"))).server_name() == "a.example");
    CHECK(bad(hello_with(many + extension(100, ""))) == Problem::duplicate_extension);
}

TEST_CASE("client hello: 16 KiB is the longest message", "[protocol][client_hello]") {
    const std::string longest = long_hello(max_client_hello_message_bytes);
    CHECK(complete(record(longest)).server_name() == "a.example");
    const std::string quarters = in_records(longest, {1, 2, 3});
    CHECK(quarters.size() == max_client_hello_bytes);
    CHECK(complete(quarters).server_name() == "a.example");

    const std::string longer = long_hello(max_client_hello_message_bytes + 1);
    const std::string stream = in_records(longer, {1000});
    CHECK(parse(stream.substr(0, 8)).status == Status::incomplete);
    CHECK(bad(stream.substr(0, 9)) == Problem::too_long);
    CHECK(bad(stream) == Problem::too_long);
}

// --- records

TEST_CASE("client hello: the version of its records says nothing", "[protocol][client_hello]") {
    const std::string message = message_of(Parts{}.body());
    for (const char minor : {'\0', '\1', '\2', '\3', '\4', '\x2a'}) {
        CHECK(complete(record(message, "\x16\x03"s + minor)).server_name() == "www.example.com");
    }
}

TEST_CASE("client hello: a cut one waits for the rest, wherever it is cut",
          "[protocol][client_hello]") {
    const std::string message = message_of(Parts{}.body());
    CHECK(waits_for_the_rest(record(message)));
    CHECK(waits_for_the_rest(hello({.extensions = ""})));
    CHECK(waits_for_the_rest(in_records(message, {1})));
    CHECK(waits_for_the_rest(in_records(message, {3, 4})));
    CHECK(waits_for_the_rest(in_records(message, {1, 2, 3})));
    CHECK(waits_for_the_rest(in_records(message, {44, 45, 46})));
    CHECK(waits_for_the_rest(in_records(message, {message.size() - 1})));
    CHECK(waits_for_the_rest(record(browser_message())));
    CHECK(waits_for_the_rest(in_records(browser_message(), {512, 1024, 1500})));
}

TEST_CASE("client hello: it says the same in whatever records it comes",
          "[protocol][client_hello]") {
    const std::string small = message_of(Parts{}.body());
    const ClientHello expected = complete(record(small));
    std::size_t different = 0;
    for (std::size_t a = 1; a < small.size(); ++a) {
        different += parse(in_records(small, {a})).hello != expected ? 1 : 0;
        for (std::size_t b = a + 1; b < small.size(); ++b) {
            different += parse(in_records(small, {a, b})).hello != expected ? 1 : 0;
        }
    }
    CHECK(different == 0);

    const std::string large = browser_message();
    const ClientHelloResult whole = parse(record(large));
    std::mt19937 random{7};
    for (int i = 0; i < 500; ++i) {
        std::set<std::size_t> cuts;
        while (cuts.size() < 3) cuts.insert(1 + random() % (large.size() - 1));
        const std::string stream = in_records(large, {cuts.begin(), cuts.end()});
        const ClientHelloResult result = parse(stream);
        const bool same = result.status == Status::complete && result.hello == whole.hello &&
                          result.hello_bytes == stream.size();
        different += same ? 0 : 1;
    }
    CHECK(different == 0);
}

TEST_CASE("client hello: four records are the most", "[protocol][client_hello]") {
    const std::string message = message_of(Parts{}.body());
    CHECK(complete(in_records(message, {10, 20, 30})).server_name() == "www.example.com");
    const std::string five = in_records(message, {10, 20, 30, 40});
    // The header of the fourth says that a fifth one would be needed.
    const std::size_t known = 3 * 15 + 5;
    CHECK(parse(five.substr(0, known - 1)).status == Status::incomplete);
    CHECK(bad(five.substr(0, known)) == Problem::too_many_records);
    CHECK(is_refused_for_good(five, Problem::too_many_records));
    CHECK(is_refused_for_good(in_records(message, {1, 2, 3, 4}), Problem::too_many_records));
    // Long enough for a hello, but not for this one.
    CHECK(is_refused_for_good(in_records(message, {1, 2, 3, 50}), Problem::too_many_records));
}

TEST_CASE("client hello: what cannot be a record of one is refused", "[protocol][client_hello]") {
    const std::string message = message_of(Parts{}.body());
    CHECK(bad("\x16\x03\x01\x00\x00"s) == Problem::empty_record);
    CHECK(is_refused_for_good(record(message.substr(0, 9)) + record(""), Problem::empty_record));
    CHECK(bad("\x16\x03\x01\x40\x01"s) == Problem::record_too_long);
    CHECK(parse("\x16\x03\x01\x40\x00"s).status == Status::incomplete);

    for (const std::string& other :
         {"\x14\x03\x03\x00\x01\x01"s, "\x15\x03\x01\x00\x02\x02\x28"s, "\x17\x03\x03\x00\x01x"s,
          "\x16\x02\x01\x00\x01x"s, "GET / HTTP/1.1\r\n"s}) {
        CHECK(is_refused_for_good(record(message.substr(0, 60)) + other, Problem::interrupted));
    }
}

TEST_CASE("client hello: nothing follows it in its record", "[protocol][client_hello]") {
    const std::string message = message_of(Parts{}.body());
    CHECK(is_refused_for_good(record(message + 'x'), Problem::trailing_bytes));
    CHECK(bad(record(message + 'x').substr(0, 9)) == Problem::trailing_bytes);
    CHECK(is_refused_for_good(record(message + message), Problem::trailing_bytes));
    CHECK(is_refused_for_good(record(message.substr(0, 70)) + record(message.substr(70) + 'x'),
                              Problem::trailing_bytes));
}

TEST_CASE("client hello: what comes behind its record is not looked at",
          "[protocol][client_hello]") {
    const std::string stream = hello({});
    const ClientHelloResult alone = parse(stream);
    for (const std::string& more :
         {"\x17\x03\x03\x00\x10"s + std::string(16, 'e'), "\x14\x03\x03\x00\x01\x01"s, "x"s,
          "\x16\x03\x01\x00\x00"s, hello({}), std::string(max_client_hello_bytes, '\0')}) {
        CHECK(parse(stream + more) == alone);
    }
}

TEST_CASE("client hello: another message of a handshake is refused at its first byte",
          "[protocol][client_hello]") {
    for (int type = 0; type < 256; ++type) {
        if (type == 1) continue;
        const std::string first = "\x16\x03\x01\x00\x40"s + static_cast<char>(type);
        CHECK(bad(first) == Problem::other_message);
    }
    CHECK(parse("\x16\x03\x01\x00\x40"s).status == Status::incomplete);
}

// --- what is no TLS

TEST_CASE("client hello: another protocol is told at its first byte", "[protocol][client_hello]") {
    for (const std::string& beginning :
         {"GET / HTTP/1.1\r\n"s, "PRI * HTTP/2.0\r\n"s, "SSH-2.0-OpenSSH\r\n"s, "EHLO a\r\n"s,
          "\0\0\0\x08\x04\xd2\x16\x2f"s, "PROXY TCP4 "s, "\r\n\r\n\0\r\nQUIT\n"s, "\n"s,
          "\x15\x03\x01\x00\x02\x02\x28"s, "\x17\x03\x03\x00\x01x"s, "\x14\x03\x03\x00\x01\x01"s,
          "\x18\x03\x02\x00\x03\x01\x40\x00"s}) {
        for (std::size_t size = 1; size <= beginning.size(); ++size) {
            CHECK(not_tls(beginning.substr(0, size)) == Problem::other_protocol);
        }
    }
    for (const std::string& dtls_or_worse :
         {"\x16\xfe\xfd"s, "\x16\x02"s, "\x16\x04\x01"s, "\x16\0"s}) {
        CHECK(parse("\x16").status == Status::incomplete);
        CHECK(not_tls(dtls_or_worse) == Problem::other_protocol);
    }
}

TEST_CASE("client hello: that of SSL 2.0 is refused by its name", "[protocol][client_hello]") {
    // Offers TLS 1.0 with one cipher and a challenge of 16 bytes.
    const std::string sslv2 =
        "\x80\x1c\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f"s + std::string(16, 'c');
    CHECK(not_tls(sslv2) == Problem::sslv2_hello);
    CHECK(is_refused_for_good(sslv2, Problem::sslv2_hello));
    CHECK(parse(sslv2.substr(0, 1)).needed_bytes == 3);
    CHECK(parse(sslv2.substr(0, 2)).needed_bytes == 3);
    CHECK(not_tls("\x80\x1c\x02") == Problem::other_protocol);
    CHECK(not_tls("\xff\xff\xff") == Problem::other_protocol);
}

// --- how long to wait

TEST_CASE("client hello: it says how much has to come before it can say more",
          "[protocol][client_hello]") {
    const std::string message = browser_message();
    const std::string stream = record(message);
    const auto needed = [](std::string_view received) { return parse(received).needed_bytes; };
    // The shortest hello that there is, then the shortest in this record, then this one.
    CHECK(needed("") == 1);
    CHECK(needed(stream.substr(0, 1)) == 50);
    CHECK(needed(stream.substr(0, 8)) == 50);
    CHECK(needed(stream.substr(0, 9)) == stream.size());
    CHECK(needed(stream.substr(0, 1400)) == stream.size());

    const std::string pieces = in_records(message, {2, 100});
    CHECK(needed(pieces.substr(0, 5)) == 7 + 5 + 43);
    CHECK(needed(pieces.substr(0, 13)) == 12 + 43);
    CHECK(needed(pieces.substr(0, 14)) == 7 + 5 + 98 + 5 + message.size() - 100);
    CHECK(needed(pieces.substr(0, 115)) == pieces.size());
}

TEST_CASE("client hello: waiting has an end", "[protocol][client_hello]") {
    std::mt19937 random{11};
    for (int i = 0; i < 200; ++i) {
        // As long as can be, and wrong only in what is looked at last.
        std::string message = long_hello(max_client_hello_message_bytes);
        std::set<std::size_t> cuts;
        while (cuts.size() < 1 + random() % 3) cuts.insert(1 + random() % (message.size() - 1));
        const std::string stream = in_records(message, {cuts.begin(), cuts.end()});
        CHECK(stream.size() <= max_client_hello_bytes);
        const std::size_t size = random() % stream.size();
        const ClientHelloResult result = parse(stream.substr(0, size));
        CHECK(result.status == Status::incomplete);
        CHECK(result.needed_bytes > size);
        CHECK(result.needed_bytes <= stream.size());
    }
}

TEST_CASE("client hello: every problem has a text of its own, for an operator",
          "[protocol][client_hello]") {
    std::set<std::string_view> texts;
    const int last = static_cast<int>(Problem::bad_versions);
    for (int i = 0; i <= last; ++i) texts.insert(to_string(static_cast<Problem>(i)));
    CHECK(texts.size() == static_cast<std::size_t>(last) + 1);
    CHECK(texts.count("unknown") == 0);
    CHECK(to_string(static_cast<Problem>(last + 1)) == "unknown");
}

// --- what clients sent

TEST_CASE("client hello: those of real clients say what the clients were told to",
          "[protocol][client_hello]") {
    const std::map<std::string, Offer> expected{
        {"chromium", {"chromium.example", {"h2", "http/1.1"}}},
        {"curl-address", {"", {"h2", "http/1.1"}}},
        {"curl-http1.1", {"curl.example", {"http/1.1"}}},
        {"curl-http2", {"curl.example", {"h2", "http/1.1"}}},
        {"gnutls", {"gnutls.example", {"h2"}}},
        {"go", {"go.example", {"h2"}}},
        {"node", {"node.example", {"http/1.1"}}},
        {"openssl-default", {"www.example.com", {"h2", "http/1.1"}}},
        {"openssl-idna", {"xn--bcher-kva.example", {}}},
        {"openssl-ipv4", {"192.0.2.7", {}}},
        {"openssl-no-sni", {"", {}}},
        {"openssl-postgresql", {"db.example.com", {"postgresql"}}},
        {"openssl-tls1.0", {"old.example", {}}},
        {"openssl-tls1.2", {"www.example.com", {}}},
        {"openssl-tls1.3", {"www.example.com", {}}},
        {"openssl-upper-case-dot", {"www.example.com", {}}},
        {"python", {"python.example", {"h2", "http/1.1"}}},
    };
    std::map<std::string, std::string> files = recorded();
    for (const auto& [client, offer] : expected) {
        CAPTURE(client);
        REQUIRE(files.count(client) == 1);
        const ClientHello said = complete(files[client]);
        CHECK(said.server_name() == offer.name);
        CHECK(names(said.alpn()) == offer.alpn);
        CHECK(said.offers_ech() == (client == "chromium"));
        CHECK(said.server_name_is_address() == (client == "openssl-ipv4"));
        const bool old = client == "openssl-tls1.0";
        CHECK(said.max_version() == (old ? 0x0301 : client == "openssl-tls1.2" ? 0x0303 : 0x0304));
    }
    // In two records, with more protocols than there is room for.
    const ClientHello pieces = complete(files["openssl-many-records"]);
    CHECK(pieces.server_name() == "pieces.example");
    CHECK(pieces.alpn().cut());
    CHECK(names(pieces.alpn()).size() == 21);
    CHECK(*pieces.alpn().begin() == "protocol-00");
    CHECK(files.size() == expected.size() + 1);
}

TEST_CASE("client hello: those of real clients may be cut, and come in any records",
          "[protocol][client_hello]") {
    for (const auto& [client, stream] : recorded()) {
        CAPTURE(client);
        CHECK(waits_for_the_rest(stream));
        const ClientHelloResult whole = parse(stream);
        CHECK(whole.hello_bytes == stream.size());
        const std::string message = message_in(stream);
        std::size_t different = 0;
        for (std::size_t cut = 1; cut < message.size(); ++cut) {
            different += parse(in_records(message, {cut})).hello != whole.hello ? 1 : 0;
        }
        CHECK(different == 0);
    }
}
