// Any bytes at all as the beginning of a connection, and as the body of a hello, against the promises of
// client_hello.hpp.

#include "eplb/client_hello.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

using eplb::ClientHello;
using eplb::ClientHelloProblem;
using eplb::ClientHelloResult;
using eplb::parse_client_hello;
using Bytes = std::span<const std::byte>;
using Status = eplb::ClientHelloResult::Status;

namespace {

// assert() may be compiled out; what is promised here may not.
void require(bool fact, std::string_view promise) {
    if (fact) return;
    fmt::print(stderr, "broken promise: {}\n", promise);
    std::abort();
}

// In a block of its own, so that a sanitizer sees a read beyond `bytes`.
ClientHelloResult parse_exactly(Bytes bytes) {
    const auto exact = std::make_unique<std::byte[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    return parse_client_hello({exact.get(), bytes.size()});
}

void append_number(std::vector<std::byte>& to, std::size_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) to.push_back(static_cast<std::byte>(value >> 8 * i));
}

void append_record(std::vector<std::byte>& to, Bytes payload) {
    append_number(to, 0x160301, 3);
    append_number(to, payload.size(), 2);
    to.insert(to.end(), payload.begin(), payload.end());
}

std::vector<std::byte> message_in(Bytes stream) {
    std::vector<std::byte> message;
    while (!stream.empty()) {
        const std::size_t size =
            std::to_integer<std::size_t>(stream[3]) << 8 | std::to_integer<std::size_t>(stream[4]);
        const Bytes payload = stream.subspan(5, size);
        message.insert(message.end(), payload.begin(), payload.end());
        stream = stream.subspan(5 + size);
    }
    return message;
}

bool may_be_in_a_name(char c, bool address) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
           (address && c == ':');
}

void check_hello(const ClientHello& hello) {
    const std::string_view name = hello.server_name();
    require(name.size() <= ClientHello::max_server_name, "a name has a limit");
    for (const char c : name) {
        require(may_be_in_a_name(c, hello.server_name_is_address()),
                "a name cannot write into a log");
    }
    require(name.empty() || (name.front() != '.' && name.back() != '.'),
            "a name has no dot around");
    require(name.find("..") == std::string_view::npos, "no empty label");
    require(!name.empty() || !hello.server_name_is_address(), "an address is not empty");
    require(hello.min_version() <= hello.max_version(), "old is older than new");
    require(hello.max_version() == 0 || hello.max_version() >> 8 == 3, "a version is one of TLS");
    std::size_t total = 0;
    for (const std::string_view protocol : hello.alpn()) {
        require(!protocol.empty(), "a protocol has a name");
        require(hello.alpn().contains(protocol), "what is there is found");
        total += 1 + protocol.size();
    }
    require(total <= eplb::AlpnList::max_bytes, "protocols have a limit");
}

// The same message in 2 to 4 records, cut where the input says by its bytes.
void check_other_records(const std::vector<std::byte>& message, const ClientHelloResult& result) {
    std::uint32_t seed = 2166136261;
    for (const std::byte b : message) seed = (seed ^ std::to_integer<std::uint32_t>(b)) * 16777619;
    for (int round = 0; round < 8; ++round) {
        std::array<std::size_t, 3> cuts;
        for (std::size_t& cut : cuts) {
            seed = seed * 1664525 + 1013904223;
            cut = (seed >> 8) % message.size();
        }
        if (round == 0) cuts = {1, 2, 3};
        std::sort(cuts.begin(), cuts.end());
        std::vector<std::byte> stream;
        std::size_t from = 0;
        for (const std::size_t cut : cuts) {
            if (cut == from) continue;
            append_record(stream, Bytes{message}.subspan(from, cut - from));
            from = cut;
        }
        append_record(stream, Bytes{message}.subspan(from));
        ClientHelloResult expected = result;
        if (result.status == Status::complete) expected.hello_bytes = stream.size();
        require(parse_exactly(stream) == expected, "it is the same in other records");
    }
}

void check_waiting(Bytes received, const ClientHelloResult& result) {
    require(result.needed_bytes > received.size(), "waiting is for more");
    require(result.needed_bytes <= eplb::max_client_hello_bytes, "waiting has an end");
    require(result.problem == ClientHelloProblem::none, "nothing is wrong yet");
}

// Each prefix either waits, for no more than there is, or says what the whole says: no answer changes.
void check_prefixes(Bytes received, const ClientHelloResult& result) {
    bool answered = false;
    std::size_t needed = 0;
    // All of them where records and headers are, some of the rest.
    for (std::size_t size = 0; size < received.size(); size += size < 96 ? 1 : 61) {
        const ClientHelloResult early = parse_client_hello(received.first(size));
        if (early.status == Status::incomplete) {
            require(!answered, "an answer stays");
            check_waiting(received.first(size), early);
            require(early.needed_bytes >= needed, "what is needed only grows");
            needed = early.needed_bytes;
        } else {
            answered = true;
            require(early == result, "an answer stays the same");
        }
    }
    if (result.status == Status::complete) {
        require(needed <= result.hello_bytes, "it waits for no more than the hello");
        require(result.hello_bytes <= received.size(), "a hello is within what was received");
    }
}

void check(Bytes received) {
    const ClientHelloResult result = parse_exactly(received);
    check_prefixes(received, result);
    switch (result.status) {
    case Status::incomplete: return check_waiting(received, result);
    case Status::not_tls:
    case Status::bad:
        require(result.problem != ClientHelloProblem::none, "there is a reason");
        require(result.hello == ClientHello{}, "what is refused says nothing");
        return;
    case Status::complete: {
        require(result.hello_bytes <= eplb::max_client_hello_bytes, "a hello has a limit");
        const Bytes hello = received.first(result.hello_bytes);
        require(parse_exactly(hello) == result, "what is behind it is never looked at");
        require(parse_exactly(hello.first(hello.size() - 1)).status == Status::incomplete,
                "a hello that is cut is incomplete");
        check_hello(result.hello);
        check_other_records(message_in(hello), result);
    }
    }
}

// As the part of a hello that is looked at last, so that its lengths need not be guessed.
void check_body(Bytes body) {
    if (body.size() < 41 || body.size() > eplb::max_client_hello_message_bytes - 4) return;
    std::vector<std::byte> message{std::byte{1}};
    append_number(message, body.size(), 3);
    message.insert(message.end(), body.begin(), body.end());
    std::vector<std::byte> stream;
    append_record(stream, message);
    const ClientHelloResult result = parse_exactly(stream);
    require(result.status == Status::complete || result.status == Status::bad,
            "all of it is there");
    check_hello(result.hello);
    check_other_records(message, result);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes received = std::as_bytes(std::span{data, size});
    check(received);
    check_body(received);
    return 0;
}
