#include "eplb/client_hello.hpp"

#include "protocol/fragments.hpp"
#include "protocol/host_name.hpp"

#include <algorithm>
#include <bitset>

namespace eplb {

namespace {

using Problem = ClientHelloProblem;
using Status = ClientHelloResult::Status;

constexpr std::size_t record_header_bytes = 5;  // type, version, length
constexpr std::size_t max_record_bytes = 1 << 14;
constexpr std::size_t message_header_bytes = 4;  // type, length
// Version, random, an empty session id, one cipher suite, one way not to compress.
constexpr std::size_t min_message_bytes = message_header_bytes + 2 + 32 + 1 + 2 + 2 + 1 + 1;

constexpr std::byte handshake_record{22};
constexpr std::byte version_major{3};  // of SSL 3.0 as of all of TLS
constexpr std::uint8_t client_hello_message = 1;

constexpr std::uint16_t server_name_extension = 0;
constexpr std::uint16_t alpn_extension = 16;
constexpr std::uint16_t supported_versions_extension = 43;
constexpr std::uint16_t ech_extension = 0xfe0d;
constexpr std::uint8_t host_name_type = 0;

static_assert(max_client_hello_records == Fragments::max_pieces);
static_assert(ClientHello::max_server_name == max_host_name);

ClientHelloResult incomplete(std::size_t needed_bytes) noexcept {
    ClientHelloResult result;
    result.needed_bytes = needed_bytes;
    return result;
}

ClientHelloResult refused(Status status, Problem problem) noexcept {
    ClientHelloResult result;
    result.status = status;
    result.problem = problem;
    return result;
}

// What does not begin with a record of a handshake. SSL 2.0 has a header of two bytes, the upper bit
// of the first one set, and its CLIENT-HELLO is message 1 (RFC 5246, E.2).
ClientHelloResult other_beginning(std::span<const std::byte> bytes) noexcept {
    const bool maybe_sslv2 = (bytes[0] & std::byte{0x80}) != std::byte{0};
    if (maybe_sslv2 && bytes.size() < 3) return incomplete(3);
    const bool sslv2 = maybe_sslv2 && bytes[2] == std::byte{1};
    return refused(Status::not_tls, sslv2 ? Problem::sslv2_hello : Problem::other_protocol);
}

// What is there of the header of a record. Of its version only the first byte says something: the
// other one is to be ignored (RFC 8446, 5.1), and clients send 1, 3, and sometimes 0.
bool begins_like_a_record(std::span<const std::byte> bytes) noexcept {
    return (bytes.empty() || bytes[0] == handshake_record) &&
           (bytes.size() < 2 || bytes[1] == version_major);
}

}  // namespace

/// Reads the message, when all of it is there.
class ClientHelloReader {
public:
    explicit ClientHelloReader(ClientHello& hello) noexcept : hello_{hello} {}

    /// `message` is the hello behind the header of the message.
    Problem read(FragmentCursor message) noexcept {
        // The newest that it offers, unless there is the extension for that.
        note_version(message.u16());
        hello_.min_version_ = 0;
        message.skip(32);  // random
        const std::size_t session_id_bytes = message.u8();
        message.skip(session_id_bytes);
        const std::size_t cipher_suites_bytes = message.u16();
        message.skip(cipher_suites_bytes);
        const std::size_t compression_bytes = message.u8();
        message.skip(compression_bytes);
        if (message.failed() || session_id_bytes > 32 || cipher_suites_bytes == 0 ||
            cipher_suites_bytes % 2 != 0 || compression_bytes == 0)
            return Problem::bad_length;

        if (message.empty()) return Problem::none;  // up to TLS 1.2 there need not be extensions
        FragmentCursor extensions = message.take(message.u16());
        if (message.failed() || !message.empty()) return Problem::bad_length;
        return read_extensions(extensions);
    }

private:
    Problem read_extensions(FragmentCursor extensions) noexcept {
        // 8 KiB, cleared in a tenth of a microsecond. Comparing each with all the others takes a
        // hostile hello of 4,000 extensions to milliseconds.
        std::bitset<1 << 16> seen;
        while (!extensions.empty()) {
            const std::uint16_t type = extensions.u16();
            const FragmentCursor content = extensions.take(extensions.u16());
            if (extensions.failed()) return Problem::bad_length;
            if (seen.test(type)) return Problem::duplicate_extension;
            seen.set(type);
            if (const Problem problem = read_extension(type, content); problem != Problem::none)
                return problem;
        }
        return Problem::none;
    }

    Problem read_extension(std::uint16_t type, FragmentCursor content) noexcept {
        switch (type) {
        case server_name_extension: return read_server_names(content);
        case alpn_extension: return read_alpn(content);
        case supported_versions_extension: return read_versions(content);
        case ech_extension: hello_.offers_ech_ = true; return Problem::none;
        default: return Problem::none;
        }
    }

    // RFC 6066, 3: no two names of a type. All types begin with a length of two bytes.
    Problem read_server_names(FragmentCursor content) noexcept {
        FragmentCursor names = content.take(content.u16());
        if (content.failed() || !content.empty()) return Problem::bad_length;
        if (names.empty()) return Problem::bad_server_name_list;
        bool found = false;
        while (!names.empty()) {
            const std::uint8_t type = names.u8();
            const FragmentCursor name = names.take(names.u16());
            if (names.failed()) return Problem::bad_length;
            if (type != host_name_type) continue;
            if (found) return Problem::bad_server_name_list;
            found = true;
            if (!read_host_name(name)) return Problem::bad_server_name;
        }
        return Problem::none;
    }

    bool read_host_name(FragmentCursor name) noexcept {
        std::array<char, max_host_name + 1> text;  // with a dot at its end
        if (name.size() > text.size()) return false;
        const std::span<char> used{text.data(), name.size()};
        (void)name.copy(std::as_writable_bytes(used));
        const HostName host = normalize_host_name(used);
        if (host.kind == HostName::Kind::bad) return false;
        std::copy_n(text.begin(), host.size, hello_.server_name_.begin());
        hello_.server_name_size_ = static_cast<std::uint8_t>(host.size);
        hello_.server_name_is_address_ = host.kind == HostName::Kind::address;
        return true;
    }

    Problem read_alpn(FragmentCursor content) noexcept {
        FragmentCursor names = content.take(content.u16());
        if (content.failed() || !content.empty()) return Problem::bad_length;
        if (names.empty()) return Problem::bad_alpn;
        while (!names.empty()) {
            std::array<char, 255> text;
            const std::span<char> name{text.data(), names.u8()};
            if (name.empty()) return Problem::bad_alpn;
            if (!names.copy(std::as_writable_bytes(name))) return Problem::bad_length;
            hello_.alpn_.add({name.data(), name.size()});
        }
        return Problem::none;
    }

    // RFC 8446, 4.2.1. What clients make up (RFC 8701) has another first byte, as drafts had.
    Problem read_versions(FragmentCursor content) noexcept {
        FragmentCursor versions = content.take(content.u8());
        if (content.failed() || !content.empty()) return Problem::bad_length;
        if (versions.empty() || versions.size() % 2 != 0) return Problem::bad_versions;
        hello_.max_version_ = 0;
        while (!versions.empty()) {
            note_version(versions.u16());
        }
        return Problem::none;
    }

    void note_version(std::uint16_t version) noexcept {
        if (version >> 8 != std::to_integer<int>(version_major)) return;
        hello_.max_version_ = std::max(hello_.max_version_, version);
        hello_.min_version_ =
            hello_.min_version_ == 0 ? version : std::min(hello_.min_version_, version);
    }

    ClientHello& hello_;
};

ClientHelloResult parse_client_hello(std::span<const std::byte> bytes) noexcept {
    if (bytes.empty()) return incomplete(1);
    if (!begins_like_a_record(bytes)) return other_beginning(bytes);

    Fragments message;
    std::size_t expected = min_message_bytes;  // of the message; more when its length is there
    bool length_known = false;
    std::size_t announced = 0;  // of the message, by the headers of records
    std::size_t at = 0;         // of the record looked at
    for (std::size_t record = 1;; ++record) {
        const std::span<const std::byte> rest = bytes.subspan(at);
        if (!begins_like_a_record(rest)) return refused(Status::bad, Problem::interrupted);
        if (rest.size() < record_header_bytes)
            return incomplete(at + record_header_bytes + expected - announced);
        const std::size_t length =
            std::to_integer<std::size_t>(rest[3]) << 8 | std::to_integer<std::size_t>(rest[4]);
        if (length == 0) return refused(Status::bad, Problem::empty_record);
        if (length > max_record_bytes) return refused(Status::bad, Problem::record_too_long);
        announced += length;
        const bool last = record == max_client_hello_records;
        if (last && announced < expected) return refused(Status::bad, Problem::too_many_records);

        const auto payload = rest.subspan(record_header_bytes)
                                 .first(std::min(length, rest.size() - record_header_bytes));
        message.add(payload);
        if (message.size() >= 1 && FragmentCursor{message}.u8() != client_hello_message)
            return refused(Status::bad, Problem::other_message);
        if (!length_known && message.size() >= message_header_bytes) {
            FragmentCursor header{message};
            header.skip(1);
            expected = message_header_bytes + header.u24();
            length_known = true;
            if (expected > max_client_hello_message_bytes)
                return refused(Status::bad, Problem::too_long);
            if (expected < min_message_bytes) return refused(Status::bad, Problem::bad_length);
            if (last && announced < expected)
                return refused(Status::bad, Problem::too_many_records);
        }
        // Nothing may follow in the record: behind the hello it is the server's turn, and its keys
        // may change (RFC 8446, 5.1).
        if (length_known && announced > expected)
            return refused(Status::bad, Problem::trailing_bytes);

        at += record_header_bytes + length;
        if (announced < expected) {
            if (payload.size() == length) continue;
            return incomplete(at + record_header_bytes + expected - announced);
        }
        if (message.size() < expected) return incomplete(at - (announced - expected));
        break;
    }

    FragmentCursor body{message};
    body.skip(message_header_bytes);
    ClientHelloResult result;
    if (const Problem problem = ClientHelloReader{result.hello}.read(body);
        problem != Problem::none)
        return refused(Status::bad, problem);
    result.status = Status::complete;
    result.hello_bytes = at;
    return result;
}

std::string_view to_string(ClientHelloProblem problem) noexcept {
    switch (problem) {
    case Problem::none: return "none";
    case Problem::other_protocol: return "the first bytes are no TLS handshake";
    case Problem::sslv2_hello: return "the hello is one of SSL 2.0";
    case Problem::empty_record: return "a record is empty";
    case Problem::record_too_long: return "a record is longer than 16 KiB";
    case Problem::too_many_records: return "the hello is in more than 4 records";
    case Problem::interrupted: return "something else comes between the records of the hello";
    case Problem::other_message: return "the first message of the handshake is no hello";
    case Problem::too_long: return "the hello is longer than 16 KiB";
    case Problem::trailing_bytes: return "something is behind the hello in its record";
    case Problem::bad_length: return "a length in the hello is wrong";
    case Problem::duplicate_extension: return "an extension is there twice";
    case Problem::bad_server_name_list: return "there is not one server name";
    case Problem::bad_server_name: return "the server name is not one that a host can have";
    case Problem::bad_alpn: return "the list of ALPN is empty, or a name in it";
    case Problem::bad_versions: return "the list of versions is empty, or ends within one";
    }
    return "unknown";
}

}  // namespace eplb
